"""Reads GIF, of which the first picture is taken, and BMP."""

from io import BytesIO

from PIL import BmpImagePlugin, GifImagePlugin

from worker.core.file_refusals import FileCutOff
from worker.documents.pictures.whole import Decoded, decoded, has_black_tail


class Gif:
    pixel_bytes = 1
    orientation = 1
    profile = b""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.sizes = [self._opened().size]
        self.has_end = content.rstrip(b"\0").endswith(b";")

    def decode(self, _index: int, _size: tuple[int, int]) -> Decoded:
        return decoded(self._opened, counts_rows=not self._opened().info.get("interlace"))

    def _opened(self) -> GifImagePlugin.GifImageFile:
        return GifImagePlugin.GifImageFile(BytesIO(self._content))


class Bmp:
    pixel_bytes = 4
    orientation = 1
    profile = b""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.sizes = [self._opened().size]
        self.has_end = len(content) >= int.from_bytes(content[2:6], "little")
        if self._opened().mode == "RGB" and has_black_tail(content):
            raise FileCutOff("only zeros")

    def decode(self, _index: int, _size: tuple[int, int]) -> Decoded:
        return decoded(self._opened)

    def _opened(self) -> BmpImagePlugin.BmpImageFile:
        return BmpImagePlugin.BmpImageFile(BytesIO(self._content))
