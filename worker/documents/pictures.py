"""Turns a picture into a page for a vision model: upright, opaque, of 8 bits, not larger than needed."""

import math
from io import BytesIO

from PIL import Image, ImageFile

from worker.core.file_refusals import FileTooLarge

MIN_SIDE_PIXELS = 32  # qwen3-vl's engine panics below 32, qwen2.5vl's below 28, and both at a ratio of 200 between the sides
MAX_PIXELS = 40_000_000  # phones take 12 or 24 million. Decoding 40 million takes up to 350 MiB of the child's 512
JPEG_QUALITY = 90
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
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

Image.preinit()  # before the fork, so that the child has nothing to import


def picture_page(content: bytes, max_side_pixels: int) -> bytes:
    """Return the file unchanged if it is upright, opaque, of 8 bits and of a fitting size, otherwise a new JPEG.

    The whole picture is decoded in either case, so that a damaged one is found here.
    """
    picture = Image.open(BytesIO(content), formats=("JPEG", "PNG"))
    if picture.width * picture.height > MAX_PIXELS:
        raise FileTooLarge("too many pixels")
    is_plain = _raw_mode(picture) in {"RGB", "L"}
    draft(picture, max_side_pixels)
    picture.load()
    turn = _TURNS.get(_orientation(picture))
    is_fitting = min(picture.size) >= MIN_SIDE_PIXELS and max(picture.size) <= max_side_pixels
    if is_plain and is_fitting and turn is None and not picture.has_transparency_data:
        return content
    flat = _downscale(_flatten_alpha(picture), max_side_pixels)
    return jpeg(flat if turn is None else flat.transpose(turn))


def _raw_mode(picture: ImageFile.ImageFile) -> object:
    """Return the pixel format of the file, before load(). An RGB picture may have 16 bits, which some models cannot read."""
    arguments = picture.tile[0].args
    return arguments[0] if isinstance(arguments, tuple) else arguments


def draft(picture: Image.Image, max_side_pixels: int) -> None:
    """Let the JPEG decoder reduce the picture to 1/2, 1/4 or 1/8, but not below the longest side. It saves time and memory."""
    ratio = max_side_pixels / max(picture.size)
    if ratio < 1:
        picture.draft(None, (max(1, math.ceil(picture.width * ratio)), max(1, math.ceil(picture.height * ratio))))


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


def _downscale(picture: Image.Image, max_side_pixels: int) -> Image.Image:
    picture.thumbnail((max_side_pixels, max_side_pixels))  # never enlarges
    return picture


def _pad_to_minimum(picture: Image.Image) -> Image.Image:
    """Add white so that both sides have MIN_SIDE_PIXELS, because the model's engine crashes on a narrower picture."""
    width, height = (max(side, MIN_SIDE_PIXELS) for side in picture.size)
    if (width, height) == picture.size:
        return picture
    paper = Image.new(picture.mode, (width, height), "white")
    paper.paste(picture)
    return paper


def jpeg(picture: Image.Image) -> bytes:
    target = BytesIO()
    _pad_to_minimum(picture).save(target, "JPEG", quality=JPEG_QUALITY)
    return target.getvalue()
