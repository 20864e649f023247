"""Reads WebP: the picture, or the first one of an animation. Metadata is left out, so damage in it is harmless."""

import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import WebPImagePlugin

from worker.core.file_refusals import FileCutOff, FileDamaged
from worker.documents.pictures.orientation import orientation
from worker.documents.pictures.whole import HOLE, Decoded

_DATA, _HEADER, _FRAME = {b"VP8 ", b"VP8L", b"ANMF"}, b"VP8X", b"ANMF"
_KEPT = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM"}
_FLAGS = 0b0001_0010  # an alpha channel, an animation. The other bits declare metadata
_BLOCK_PIXELS = 16 * 16
_BLOCKS_OF_ZERO = 24  # blocks of white paper that one byte of zeros codes: 42 and more


class Webp:
    """libwebp decodes a whole picture or nothing."""

    pixel_bytes = 16  # the canvas twice, its copy, and Pillow's picture

    def __init__(self, content: bytes) -> None:
        self._hole = _hole(_size(content))
        is_long_enough = len(content) >= 8 + int.from_bytes(content[4:8], "little")
        self.has_end = is_long_enough and not content.endswith(self._hole)
        self.orientation, self.profile = 1, b""
        kept = b"".join(self._kept(content))
        self._content = b"RIFF" + struct.pack("<I", len(kept) + 4) + b"WEBP" + kept
        self.sizes = [_size(self._content)]

    def decode(self, _index: int, _size: tuple[int, int]) -> Decoded:
        picture = WebPImagePlugin.WebPImageFile(BytesIO(self._content))
        picture.load()
        return Decoded(picture)

    def _kept(self, content: bytes) -> Iterator[bytes]:
        has_picture = False
        for kind, body, is_whole in _chunks(content):
            if kind in _DATA and not is_whole:
                break
            if kind in _DATA and self._hole in body:
                raise (FileDamaged if self.has_end else FileCutOff)("a part of the picture data is missing")
            if kind == b"EXIF":
                self.orientation = orientation(body if body.startswith(b"Exif\0\0") else b"Exif\0\0" + body)
            elif kind == b"ICCP" and is_whole:
                self.profile = body
            elif kind == _HEADER and is_whole:
                yield _chunk(kind, bytes([body[0] & _FLAGS]) + body[1:])
            elif kind in _KEPT or (kind == _FRAME and not has_picture):
                has_picture = has_picture or kind in _DATA
                yield _chunk(kind, body)
        if not has_picture:
            raise FileDamaged("no picture data") if self.has_end else FileCutOff("no picture data")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    at = 12
    while at + 8 <= len(content):
        kind, size_bytes = struct.unpack_from("<4sI", content, at)
        body = content[at + 8 : at + 8 + size_bytes]
        yield kind, body, len(body) == size_bytes
        at += 8 + size_bytes + size_bytes % 2


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _hole(size: tuple[int, int]) -> bytes:
    """More zeros than white paper of this size has."""
    return bytes(max(len(HOLE), size[0] * size[1] // _BLOCK_PIXELS // _BLOCKS_OF_ZERO))


def _size(content: bytes) -> tuple[int, int]:
    """Return the size from the header, because the decoder takes its memory when it is made."""
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        raise FileDamaged("a header that is too short")
    if kind == _HEADER:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF
