"""Reads where the data of a HEIF or AVIF picture is. libheif paints a missing tile green, and reports nothing."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from worker.core.file_refusals import FileCutOff, FileDamaged
from worker.documents.pictures.whole import HOLE

_MAX_ITEMS = 20_000


@dataclass(slots=True)
class _Items:
    """Items of a file by their number."""

    primary: int = 0
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # begin and end in the file
    parts: dict[int, list[int]] = field(default_factory=dict)  # items of which a picture is made, as a grid of its tiles


def require_picture_data(content: bytes) -> None:
    """Raise FileCutOff if the file ends before the data of its picture, and FileDamaged if a part of the data is zeros.

    Other items, as a preview, may be missing.
    """
    try:
        items = _items(content)
    except (struct.error, IndexError):
        raise FileDamaged("boxes that cannot be read") from None
    wanted, seen = [items.primary], set[int]()
    while wanted:
        number = wanted.pop()
        if number in seen:
            continue
        seen.add(number)
        for start, end in items.places.get(number, []):
            if end > len(content):
                raise FileCutOff("the picture's data is missing")
            if content.find(HOLE, start, end) >= 0:
                raise FileDamaged("a part of the picture's data is missing")
        wanted += items.parts.get(number, [])


def without_exif(content: bytes) -> bytes:
    """Rename the type of the EXIF item, so that no decoder parses it."""
    meta = next((body for kind, body in _boxes(content, 0, len(content)) if kind == b"meta"), (0, 0))
    return content[: meta[0]] + content[meta[0] : meta[1]].replace(b"Exif", b"none") + content[meta[1] :]


def _items(content: bytes) -> _Items:
    items = _Items()
    meta = next((body for kind, body in _boxes(content, 0, len(content)) if kind == b"meta"), None)
    if meta is None:
        raise FileCutOff("no description of the picture")
    for kind, (start, end) in _boxes(content, meta[0] + 4, meta[1]):
        if end > len(content):
            raise FileCutOff("the description of the picture is missing")
        match kind:
            case b"pitm":
                items.primary = int.from_bytes(content[start + 4 : start + (8 if content[start] else 6)], "big")
            case b"iloc":
                _take_places(items, content[start:end])
            case b"iref":
                _take_parts(items, content[start:end])
    return items


def _boxes(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield the kind of each box, and where its body begins and ends."""
    while start + 8 <= min(end, len(content)):
        size, kind = struct.unpack_from("!I4s", content, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from("!Q", content, body)
            body += 8
        size = size or end - start
        if size < body - start:
            raise FileDamaged("a box without a size")
        yield kind, (body, start + size)
        start += size


def _take_places(items: _Items, box: bytes) -> None:
    version = box[0]
    sizes = box[4] >> 4, box[4] & 15, box[5] >> 4, box[5] & 15 if version in {1, 2} else 0
    reader = _Reader(box, 6)
    number_bytes = 4 if version == 2 else 2
    for _ in range(min(reader.take(number_bytes), _MAX_ITEMS)):
        number = reader.take(number_bytes)
        method = reader.take(2) & 15 if version in {1, 2} else 0
        reader.take(2)
        base = reader.take(sizes[2])
        places = []
        for _ in range(min(reader.take(2), _MAX_ITEMS)):
            reader.take(sizes[3])
            start = base + reader.take(sizes[0])
            places.append((start, start + reader.take(sizes[1])))
        items.places[number] = places if method == 0 else []  # other items are inside of the description


def _take_parts(items: _Items, box: bytes) -> None:
    number_bytes = 4 if box[0] else 2
    for kind, (start, end) in _boxes(box, 4, len(box)):
        if kind == b"dimg":
            reader = _Reader(box[:end], start)
            number = reader.take(number_bytes)
            items.parts.setdefault(number, []).extend(reader.take(number_bytes) for _ in range(reader.take(2)))


@dataclass(slots=True)
class _Reader:
    content: bytes
    at: int

    def take(self, size_bytes: int) -> int:
        """Return the next number. Raises IndexError behind the end."""
        self.at += size_bytes
        if self.at > len(self.content):
            raise IndexError
        return int.from_bytes(self.content[self.at - size_bytes : self.at], "big")
