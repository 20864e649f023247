"""Reads TIFFs: every frame is a page, except previews. A camera's raw photo is a TIFF too, whose first frame is a preview."""

from io import BytesIO

from PIL import TiffImagePlugin

from worker.core.file_refusals import FileCutOff, PhotoFormatUnknown
from worker.documents.pictures.whole import Decoded, decoded, has_black_tail

MAX_FRAMES = 1000  # more than any setting allows, so the file is refused for its pages
_ORIENTATION, _KIND, _PHOTOMETRIC, _SUB_FRAMES, _RAW_VERSION = 274, 254, 262, 330, 50706
_PLACES = (273, 279), (324, 325)  # of strips and of tiles: where they are, and their sizes in bytes
_REDUCED, _MASK = 1, 4
_COMPRESSION, _ZERO_IS_BLACK = 259, {1, 2}
_BIG = (b"+\0", b"\0+")
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
_SENSOR_DATA = {32803, 34892}


class Tiff:
    """Pillow turns its pages upright."""

    orientation = 1

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.has_end, self.pixel_bytes = True, 1
        _require_photo(content)
        self._frames: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        picture = self._opened()
        for frame in range(MAX_FRAMES):
            try:
                picture.seek(frame)
            except EOFError:
                break
            self._take(picture, frame)
        if not self.sizes:
            raise PhotoFormatUnknown

    def _take(self, picture: TiffImagePlugin.TiffImageFile, frame: int) -> None:
        tags = picture.tag_v2
        kind = int(tags.get(_KIND, 0))
        if not kind & (_REDUCED | _MASK):
            self._frames.append(frame)
            self.sizes.append(picture.size)
            self.pixel_bytes = max(self.pixel_bytes, _PIXEL_BYTES.get(picture.mode, 4))
            self.has_end = self.has_end and _data_end(tags) <= len(self._content)

    @property
    def profile(self) -> bytes:
        """Return that of the first page."""
        return bytes(self._sought(self._frames[0]).info.get("icc_profile") or b"")

    def decode(self, index: int, _size: tuple[int, int]) -> Decoded:
        frame = self._frames[index]
        return decoded(lambda: self._sought(frame), counts_rows=self._sought(frame).tag_v2.get(_ORIENTATION, 1) == 1)

    def _sought(self, frame: int) -> TiffImagePlugin.TiffImageFile:
        picture = self._opened()
        picture.seek(frame)
        return picture

    def _opened(self) -> TiffImagePlugin.TiffImageFile:
        return TiffImagePlugin.TiffImageFile(BytesIO(self._content))


def _require_photo(content: bytes) -> None:
    """Refuse a raw photo by the tags of its first frame, because Pillow may read its preview, or fail on its pixels."""
    tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if content[2:4] in _BIG else 8])
    if tags.next >= len(content):
        raise FileCutOff("no description of the picture")
    source = BytesIO(content)
    source.seek(tags.next)
    tags.load(source)
    has_preview = int(tags.get(_KIND, 0)) & _REDUCED and _SUB_FRAMES in tags
    if has_preview or _RAW_VERSION in tags or tags.get(_PHOTOMETRIC) in _SENSOR_DATA:
        raise PhotoFormatUnknown
    if tags.get(_COMPRESSION, 1) == 1 and tags.get(_PHOTOMETRIC) in _ZERO_IS_BLACK and has_black_tail(content):
        raise FileCutOff("only zeros")


def _data_end(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    return max(
        (at + size for place, sizes in _PLACES for at, size in zip(tags.get(place, ()), tags.get(sizes, ()), strict=False)),
        default=0,
    )
