"""Reads JPEGs: only the parts that make the picture reach the decoder, and a missing part of the picture is noticed.

libjpeg repairs: where data is missing or wrong it makes grey or shifted blocks, and reports nothing. Therefore the decoder gets
the data of the picture without the marker that ends it. Without the marker libjpeg waits for more instead of filling, and the
rows that it has written until then are counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import JpegImagePlugin

from worker.core.file_refusals import FileDamaged
from worker.documents.pictures.orientation import orientation
from worker.documents.pictures.row_marks import RowMarks
from worker.documents.pictures.whole import HOLE, Decoded, partly

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # neither data nor a restart marker
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_CODES = 0xC4
_TABLES = {_CODES, 0xCC, 0xDB, 0xDD}
_AFTER_SCAN = {0xC4, 0xDB, 0xDD, _SCAN, _END}
_JFIF, _EXIF, _PROFILE, _ADOBE = (0xE0, b"JFIF\0"), (0xE1, b"Exif\0"), (0xE2, b"ICC_PROFILE\0"), (0xEE, b"Adobe")
_FILLER = b"\xff\x00" * 16  # ones, which end the last block, are no code, and are too few for a row
_EARLY_SHARE = 0.95  # a picture that is finished with less of its data has lost its place in it
_COEFFICIENT_BYTES = 2
_HEAD_BYTES = 4096  # with the head of the first scan, which ends what is read when a picture is opened
_FINE_BITS = 1  # without the last bit of its coefficients, a picture looks whole
_NEARLY = 0.99


@dataclass(slots=True)
class _Scan:
    components: bytes
    coefficients: range
    low_bit: int
    is_complete: bool


@dataclass(slots=True)
class _Parts:
    """The parts of a file that make its picture."""

    head: bytearray = field(default_factory=lambda: bytearray(_SOI))
    data: bytearray = field(default_factory=bytearray)  # from the first scan on
    frame: int = 0
    size: tuple[int, int] = (0, 0)
    samplings: dict[int, int] = field(default_factory=dict)  # of each component, horizontal times vertical
    exif: bytes = b""
    profile: bytes = b""
    scans: list[_Scan] = field(default_factory=list)
    has_end: bool = False
    codes_blank_as_zeros: bool = True  # the shortest code of each table, which is zeros, is that of a blank block

    @property
    def is_scanned_once(self) -> bool:
        return self.frame not in _PROGRESSIVE and len(self.scans[0].components) == len(self.samplings)


class Jpeg:
    """`has_end` is false if the end of the file is missing."""

    def __init__(self, content: bytes) -> None:
        self._parts = _parts(content)
        _cut_at_hole(self._parts)
        if not self._parts.scans or not self._parts.samplings or not all(self._parts.size):
            raise FileDamaged("no picture data")
        self.sizes, self.has_end = [self._parts.size], self._parts.has_end
        self.orientation = orientation(self._parts.exif)
        self.profile = self._parts.profile

    @property
    def pixel_bytes(self) -> float:
        """Memory for the coefficients of a progressive picture, which are all kept. The others need none but for what is kept."""
        if self._parts.is_scanned_once:
            return 0
        return sum(self._parts.samplings.values()) / max(self._parts.samplings.values()) * _COEFFICIENT_BYTES

    def decode(self, _index: int, size: tuple[int, int]) -> Decoded:
        """Decode to not less than `size`, reduced by the decoder to 1/2, 1/4 or 1/8, which saves time and memory."""
        picture = JpegImagePlugin.JpegImageFile(BytesIO(bytes(self._parts.head + self._parts.data[:_HEAD_BYTES]) + _EOI))
        draft(picture, size)
        return self._by_rows(picture) if self._parts.is_scanned_once else self._by_scans(picture)

    def share(self) -> float:
        """Return the share of the picture that is there. It is decoded to an eighth of its size, if that is needed."""
        if not self._parts.is_scanned_once:
            return _share_of_scans(self._parts)
        width, height = self._parts.size
        return self.decode(0, (max(1, width // 8), max(1, height // 8))).share

    def _by_rows(self, picture: JpegImagePlugin.JpegImageFile) -> Decoded:
        marks = RowMarks(picture)
        try:
            _fed(picture, self._pieces(marks)).load()
        except _RowsMissing:
            return partly(picture, marks)
        return Decoded(picture)

    def _pieces(self, marks: RowMarks) -> Iterator[bytes]:
        early = int(len(self._parts.data) * _EARLY_SHARE)
        yield bytes(self._parts.head + self._parts.data[:early])
        if marks.is_last_row_written():
            raise FileDamaged("the picture has lost its place in the data")
        yield bytes(self._parts.data[early:])
        yield _FILLER
        if marks.share() < 1:
            raise _RowsMissing
        yield _EOI

    def _by_scans(self, picture: JpegImagePlugin.JpegImageFile) -> Decoded:
        share = _share_of_scans(self._parts)
        if share:
            _fed(picture, iter((bytes(self._parts.head + self._parts.data), _EOI))).load()
        return Decoded(picture, share)


def draft(picture: JpegImagePlugin.JpegImageFile, size: tuple[int, int]) -> None:
    if size != picture.size:
        picture.draft(None, size)


class _RowsMissing(Exception):
    """The data ends before the picture does."""


def _fed(picture: JpegImagePlugin.JpegImageFile, pieces: Iterator[bytes]) -> JpegImagePlugin.JpegImageFile:
    """Let the decoder read `pieces`, each after it has used the one before."""
    patched: Any = picture
    patched.load_read = lambda _size_bytes: next(pieces, b"")
    return picture


def _share_of_scans(parts: _Parts) -> float:
    """Return 1 if all bits of all coefficients are there, a little less if only fine ones are missing, otherwise 0."""
    missing_bits = max(_missing_bits(parts, component) for component in parts.samplings)
    if missing_bits == 0:
        return 1.0
    lightness = next(iter(parts.samplings))
    return _NEARLY if _missing_bits(parts, lightness) <= _FINE_BITS else 0.0


def _missing_bits(parts: _Parts, component: int) -> int:
    low_bits = dict.fromkeys(range(64), 16)
    for scan in parts.scans:
        if scan.is_complete and component in scan.components:
            low_bits.update(dict.fromkeys(scan.coefficients, scan.low_bit))
    return max(low_bits.values())


def _parts(content: bytes) -> _Parts:
    """Walk over the markers. Unneeded segments are left out, so damage in them is harmless."""
    parts, at = _Parts(), 2
    while not parts.has_end and (found := _MARKER.search(content, at)):
        marker, start = found[1][0], found.end()
        size = int.from_bytes(content[start : start + 2], "big")
        segment = content[start + 2 : start + size]
        at = start + size
        if marker == _START:
            at = max(start, content.find(_EOI, start))  # a preview whose place is not declared
        elif marker == _END:
            parts.has_end = True
        elif size < 2 or at > len(content):
            at = start
        elif marker == _SCAN:
            at = _take_scan(parts, content, found.start(), at)
        else:
            _take(parts, marker, segment, b"\xff%c" % marker + content[start:at])
    return parts


def _cut_at_hole(parts: _Parts) -> None:
    """End the data where a part of the file never came. Decoders take its zeros for a pattern, and lose their place.

    The later scans of a progressive picture have bits without a code, so zeros may be blank there.
    """
    hole = parts.data.find(HOLE)
    if hole >= 0 and parts.scans and parts.is_scanned_once and not parts.codes_blank_as_zeros:
        del parts.data[hole:]


def _take(parts: _Parts, marker: int, segment: bytes, whole: bytes) -> None:
    target = parts.data if parts.scans else parts.head
    if marker == _CODES:
        parts.codes_blank_as_zeros &= all(first == 0 for first in _first_symbols(segment))
    if marker in _FRAMES and not parts.frame:
        _take_frame(parts, marker, segment)
        target += whole
    elif marker in _TABLES or any(marker == kind and segment.startswith(name) for kind, name in (_JFIF, _ADOBE)):
        target += whole
    elif marker == _EXIF[0] and segment.startswith(_EXIF[1]):
        parts.exif = parts.exif or segment
    elif marker == _PROFILE[0] and segment.startswith(_PROFILE[1]):
        parts.profile += segment[len(_PROFILE[1]) + 2 :]


def _first_symbols(segment: bytes) -> Iterator[int]:
    """Yield the symbol with the shortest code of each table of a segment."""
    at = 0
    while at + 17 < len(segment):
        yield segment[at + 17]
        at += 17 + sum(segment[at + 1 : at + 17])


def _take_frame(parts: _Parts, marker: int, segment: bytes) -> None:
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise FileDamaged("a frame without components")
    parts.frame = marker
    parts.size = int.from_bytes(segment[3:5], "big"), int.from_bytes(segment[1:3], "big")
    parts.samplings = {
        segment[at]: max(1, (segment[at + 1] >> 4) * (segment[at + 1] & 15)) for at in range(6, 6 + 3 * segment[5], 3)
    }


def _take_scan(parts: _Parts, content: bytes, start: int, at: int) -> int:
    """Take a scan with its data, which ends before the next marker. Return where that is."""
    if parts.scans and parts.is_scanned_once:
        return at
    count = content[start + 4] if content[start:].startswith(b"\xff\xda") else 0
    following = _MARKER.search(content, at)
    end = following.start() if following else len(content)
    head = content[start:at]
    if count and parts.frame and len(head) >= 5 + 2 * count + 3:
        first, last, bits = head[5 + 2 * count : 8 + 2 * count]
        is_complete = following is not None and following[1][0] in _AFTER_SCAN
        parts.data += content[start:end]
        components, coefficients = head[5 : 5 + 2 * count : 2], range(first, min(last, 63) + 1)
        parts.scans.append(_Scan(components, coefficients, bits & 15, is_complete))
    return end
