"""Entries of a PDF's dictionaries that pdfium has no function for, found in the file's bytes.

Dictionaries of an encrypted file may be unreadable here, and then the entry counts as absent.
"""

import re
import zlib
from collections.abc import Iterator

MAX_UNPACKED_BYTES = 32 * 2**20  # of all packed dictionaries together
_PACKED = re.compile(rb"/ObjStm\b.{0,512}?stream\r?\n", re.DOTALL)
_USER_UNIT = re.compile(rb"/UserUnit\s+(\d{1,6}(?:\.\d{1,6})?)")
_COLLECTION = re.compile(rb"/Collection\s*(?:<<|\d+\s+\d+\s+R)")
_MAX_USER_UNIT = 100.0


def user_unit(content: bytes) -> float:
    """Return the factor of the page's measure, the largest of all pages, and 1 if there is none."""
    found = [float(number) for part in _dictionaries(content, b"UserUnit") for number in _USER_UNIT.findall(part)]
    return min(max([1.0, *found]), _MAX_USER_UNIT)


def has_collection(content: bytes) -> bool:
    """True if a dictionary declares the file to be a collection of attached files."""
    return any(_COLLECTION.search(part) for part in _dictionaries(content, b"Collection"))


def _dictionaries(content: bytes, word: bytes) -> Iterator[bytes]:
    yield content
    left_bytes = MAX_UNPACKED_BYTES
    for packed in _PACKED.finditer(content):
        unpacked = _unpacked(content, packed.end(), left_bytes)
        left_bytes -= len(unpacked)
        if left_bytes <= 0:
            return
        if word in unpacked:
            yield unpacked


def _unpacked(content: bytes, at: int, max_bytes: int) -> bytes:
    end = content.find(b"endstream", at)
    try:
        return zlib.decompressobj().decompress(content[at : end if end > at else None], max(1, max_bytes))
    except zlib.error:
        return b""
