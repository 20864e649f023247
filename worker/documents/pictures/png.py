"""Reads PNGs: only the chunks that make the picture reach the decoder, and a missing part of the picture is noticed."""

import contextlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import chain

from PIL import PngImagePlugin

from worker.core.file_refusals import FileDamaged
from worker.documents.pictures.formats import PNG_SIGNATURE
from worker.documents.pictures.orientation import orientation
from worker.documents.pictures.whole import Decoded, decoded

_NEEDED, _KEPT = {b"IHDR", b"PLTE"}, {b"IHDR", b"PLTE", b"tRNS", b"gAMA"}
_MAX_PROFILE_BYTES = 2**22
_COUNT_BYTES = 2**18
_COLOURED = {2, 4, 6}  # Pillow keeps four bytes of each pixel, for grey with alpha too


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    body: memoryview
    is_whole: bool = True
    is_sound: bool = True  # its checksum is right


class Png:
    """`has_end` is false if the end of the picture data is missing."""

    def __init__(self, content: bytes) -> None:
        chunks = [*_chunks(content)]
        self._head = b"".join(chain.from_iterable(_packed(chunk.kind, chunk.body) for chunk in chunks if _is_kept(chunk)))
        data = [chunk for chunk in chunks if chunk.kind == b"IDAT"]
        if not data or not self._head or chunks[0].kind != b"IHDR" or len(chunks[0].body) != 13:
            raise FileDamaged("no picture data")
        self._data = b"".join(chunk.body for chunk in data)
        self._sound_bytes = _sound_bytes(data)
        self._header = struct.unpack("!IIBBBBB", chunks[0].body)
        self.sizes: list[tuple[int, int]] = [self._header[:2]]
        self.has_end = chunks[-1].is_whole and chunks[-1].kind != b"IDAT"
        self.orientation = _orientation(content, chunks)
        self.profile = _profile(chunks)
        if not all(self.sizes[0]):
            raise FileDamaged("a picture without a size")

    @property
    def is_interlaced(self) -> bool:
        return bool(self._header[6])

    @property
    def pixel_bytes(self) -> int:
        return 4 if self._header[3] in _COLOURED else self._header[2] // 8 or 1

    def decode(self, _index: int, _size: tuple[int, int]) -> Decoded:
        data = self._data
        if self._sound_bytes < len(data) and not is_zlib_sound(data):
            data = data[: self._sound_bytes]
        return decoded(lambda: self._opened(data), counts_rows=not self.is_interlaced)

    def _opened(self, data: bytes) -> PngImagePlugin.PngImageFile:
        parts = PNG_SIGNATURE, self._head, *_packed(b"IDAT", data), *_packed(b"IEND", b"")
        return PngImagePlugin.PngImageFile(BytesIO(b"".join(parts)))


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """Yield the chunks up to the end of the picture. The last one may be cut off."""
    at, view = len(PNG_SIGNATURE), memoryview(content)
    while at + 8 <= len(content):
        size_bytes, kind = struct.unpack_from("!I4s", content, at)
        end = at + 8 + size_bytes
        body, checksum = view[at + 8 : end], int.from_bytes(view[end : end + 4], "big")
        yield _Chunk(kind, body, len(body) == size_bytes, checksum == zlib.crc32(body, zlib.crc32(kind)))
        if kind == b"IEND":
            return
        at = end + 4


def _packed(kind: bytes, body: bytes | memoryview) -> tuple[bytes, bytes, bytes | memoryview, bytes]:
    return struct.pack("!I", len(body)), kind, body, struct.pack("!I", zlib.crc32(body, zlib.crc32(kind)))


def _is_kept(chunk: _Chunk) -> bool:
    """A wrong checksum of a chunk that is not needed leaves the chunk out. Of one that is needed, it is damage."""
    is_usable = chunk.is_whole and chunk.is_sound
    if chunk.kind in _NEEDED and not is_usable:
        raise FileDamaged("a needed chunk is damaged")
    return chunk.kind in _KEPT and is_usable


def _sound_bytes(data: list[_Chunk]) -> int:
    """Size of the data before the first chunk with a wrong checksum. A chunk that is cut off has none."""
    sound = 0
    for chunk in data:
        if chunk.is_whole and not chunk.is_sound:
            break
        sound += len(chunk.body)
    return sound


def is_zlib_sound(data: bytes) -> bool:
    """Unpack the data, without keeping it, to compare it with the checksum at its end."""
    unpacking, rest = zlib.decompressobj(), data
    with contextlib.suppress(zlib.error):
        while rest and not unpacking.eof:
            unpacking.decompress(rest, _COUNT_BYTES)
            rest = unpacking.unconsumed_tail
        return unpacking.eof
    return False


def _orientation(content: bytes, chunks: list[_Chunk]) -> int:
    for chunk in chunks:
        if chunk.kind == b"eXIf":
            return orientation(b"Exif\0\0" + bytes(chunk.body))
    with contextlib.suppress(Exception):  # some programs write it as text
        return orientation(PngImagePlugin.PngImageFile(BytesIO(content)).getexif())
    return 1


def _profile(chunks: list[_Chunk]) -> bytes:
    for chunk in chunks:
        if chunk.kind == b"iCCP":
            with contextlib.suppress(zlib.error):
                return zlib.decompressobj().decompress(bytes(chunk.body).partition(b"\0")[2][1:], _MAX_PROFILE_BYTES)
    return b""
