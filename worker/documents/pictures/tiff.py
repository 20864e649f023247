"""Reads TIFFs: every frame is a page, except previews. A camera's raw photo is a TIFF too, whose first frame is a preview."""

import struct
from io import BytesIO

from PIL import TiffImagePlugin

from worker.core.file_refusals import FileCutOff, FileDamaged, PhotoFormatUnknown
from worker.documents.pictures.whole import NEARLY_WHOLE_SHARE, Decoded, decoded, has_black_tail

MAX_FRAMES = 1000  # more than any setting allows, so the file is refused for its pages
_ORIENTATION, _KIND, _PHOTOMETRIC, _SUB_FRAMES, _RAW_VERSION = 274, 254, 262, 330, 50706
_PLACES = (273, 279), (324, 325)  # of strips and of tiles: where they are, and their sizes in bytes
_REDUCED, _MASK = 1, 4
_COMPRESSION, _ZERO_IS_BLACK = 259, {1, 2}
_BIG = (b"+\0", b"\0+")
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
_SENSOR_DATA = {32803, 34892}
_HEIGHT = 257  # as stored. That of the picture is the height after its turn
_LOST = -1  # in place of the frames that cannot be found, because the description of one of them is broken


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
        frames, is_broken = _described_frames(content)
        for frame in range(frames):
            try:
                picture.seek(frame)
            except Exception:  # noqa: BLE001  Pillow raises exceptions of any class
                is_broken = True
                break
            self._take(picture, frame)
        if is_broken:
            self._lose_rest()
        if not self.sizes:
            raise PhotoFormatUnknown

    def _lose_rest(self) -> None:
        """Only a frame's description tells where the next one is."""
        self._frames.append(_LOST)
        self.sizes.append((1, 1))

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
        first = self._frames[0]
        return b"" if first == _LOST else bytes(self._sought(first).info.get("icc_profile") or b"")

    def decode(self, index: int, _size: tuple[int, int]) -> Decoded:
        frame = self._frames[index]
        if frame == _LOST:
            raise FileDamaged("a page without a description")
        picture = self._sought(frame)
        _require_tiles(picture)
        return decoded(lambda: self._sought(frame), counts_rows=picture.tag_v2.get(_ORIENTATION, 1) == 1)

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


def _described_frames(content: bytes) -> tuple[int, bool]:
    """Count the frames up to a broken description, and return whether there is one. Raises FileCutOff if the file ends before it.

    Pillow takes a missing description for the end, or goes on with what it has found of a broken one.
    """
    order, is_big = ">" if content.startswith(b"MM") else "<", content[2:4] in _BIG
    count_format, place_format, entry_bytes = (order + "Q", order + "Q", 20) if is_big else (order + "H", order + "I", 12)
    (at,) = struct.unpack_from(place_format, content, 8 if is_big else 4)
    frames = 0
    while at and frames < MAX_FRAMES:
        end = at + struct.calcsize(count_format)
        if end > len(content):
            raise FileCutOff("the description of a page is missing")
        (count,) = struct.unpack_from(count_format, content, at)
        end += count * entry_bytes
        if not count or end > len(content):
            return frames, True
        frames += 1
        following = content[end : end + struct.calcsize(place_format)]
        at = int.from_bytes(following, "big" if order == ">" else "little")
    return frames, False


def _require_tiles(picture: TiffImagePlugin.TiffImageFile) -> None:
    """Raise if the file has no data for a part of a frame, because Pillow leaves that part black."""
    bottom = max((tile.extents[3] for tile in picture.tile if tile.extents), default=0)
    has_places = any(picture.tag_v2.get(place) for place, _ in _PLACES)
    if not has_places or bottom < NEARLY_WHOLE_SHARE * int(picture.tag_v2.get(_HEIGHT, 0)):
        raise FileDamaged("a page without data")


def _data_end(tags: TiffImagePlugin.ImageFileDirectory_v2) -> int:
    return max(
        (at + size for place, sizes in _PLACES for at, size in zip(tags.get(place, ()), tags.get(sizes, ()), strict=False)),
        default=0,
    )
