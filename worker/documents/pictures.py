"""Decodes pictures: upright, opaque, of 8 bits."""

from io import BytesIO

from PIL import Image

from worker.core.file_refusals import FileTooLarge

MAX_PIXELS = 40_000_000  # phones take 12 or 24 million. Decoding 40 million takes up to 350 MiB of the child's 512
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
NOTES = "notes"  # the key in `info` of a page
_EXIF_ORIENTATION = 0x0112
_TURNS = {  # because ImageOps.exif_transpose writes the EXIF data back and fails on the data of some cameras
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIDEWAYS = {Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90}

Image.preinit()  # before the fork, so that the child has nothing to import


class Pictures:
    """The picture of a file, as a source of pages. The format is found in the bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        picture = Image.open(BytesIO(content), formats=("JPEG", "PNG"))
        if picture.width * picture.height > MAX_PIXELS:
            raise FileTooLarge("too many pixels")
        width, height = picture.size
        self._turn = _TURNS.get(_orientation(picture))
        self.sizes: list[tuple[int, int]] = [(height, width) if self._turn in _SIDEWAYS else (width, height)]

    def image(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Decode a picture and reduce it to `size`. It is upright, opaque, and of 8 bits."""
        del index
        size = size if self._turn not in _SIDEWAYS else (size[1], size[0])
        picture = Image.open(BytesIO(self._content), formats=("JPEG", "PNG"))
        draft(picture, size)
        picture.load()
        flat = _flatten_alpha(picture)
        flat = flat if flat.size == size else flat.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
        return flat if self._turn is None else flat.transpose(self._turn)


def draft(picture: Image.Image, size: tuple[int, int]) -> None:
    """Let the JPEG decoder reduce the picture to 1/2, 1/4 or 1/8, but not below `size`. It saves time and memory."""
    if size != picture.size:
        picture.draft(None, size)


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation, or 1 (upright) if the EXIF data is broken, because the picture itself is readable."""
    try:
        return int(picture.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  EXIF parsers raise exceptions of any class
        return 1


def _flatten_alpha(picture: Image.Image) -> Image.Image:
    """Convert to RGB or L of 8 bits. Transparent parts become white, so that black ink stays readable."""
    if picture.mode.startswith("I"):  # 16 bits: Pillow's own conversion clips instead of scaling, and leaves white
        return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if picture.has_transparency_data:
        inked = picture.convert("RGBA")
        paper = Image.new("RGB", picture.size, "white")
        paper.paste(inked, mask=inked)
        return paper
    return picture if picture.mode in {"RGB", "L"} else picture.convert("RGB")
