"""Decodes a picture and says which share of its rows was decoded, so that a missing part is never taken for blank paper."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile

from worker.documents.pictures.row_marks import RowMarks

NEARLY_WHOLE_SHARE = 0.95
HOLE = bytes(256)  # packed data has no such run of zeros, so a part of the file never came
_MAX_BLACK_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Decoded:
    """`share` is that of the rows that were decoded. The others are white."""

    picture: Image.Image
    share: float = 1.0

    @property
    def is_nearly_whole(self) -> bool:
        return self.share >= NEARLY_WHOLE_SHARE


def has_black_tail(content: bytes) -> bool:
    """Return whether a quarter of a file whose zeros are black is zeros, at its end. So black is no paper, and no border."""
    return len(content) - len(content.rstrip(b"\0")) > _MAX_BLACK_SHARE * len(content)


def decoded(opened: Callable[[], ImageFile.ImageFile], counts_rows: bool = True) -> Decoded:
    """Decode a picture. If its decoder fails and writes whole rows, decode again as far as it gets."""
    picture = opened()
    try:
        picture.load()
    except MemoryError:
        raise
    except Exception as error:
        if counts_rows and (part := _part(opened())).is_nearly_whole:
            return part
        raise error from None
    return Decoded(picture)


def _part(picture: ImageFile.ImageFile) -> Decoded:
    marks = RowMarks(picture)
    with _tolerant(), contextlib.suppress(OSError, SyntaxError, ValueError, EOFError, IndexError):
        picture.load()
    return partly(picture, marks)


def partly(picture: ImageFile.ImageFile, marks: RowMarks) -> Decoded:
    """Return what a decoder that has stopped has written."""
    if not marks.are_laid:
        return Decoded(picture, 0.0)
    picture.tile = []  # otherwise the next method would decode again
    share = marks.share()
    marks.whiten()
    return Decoded(picture, share)


@contextmanager
def _tolerant() -> Iterator[None]:
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
