"""Turns the bytes of a file into pages for a vision model. The bytes decide on the format, not the name or the declared type.

Runs in the decoder's child and has no effects. A decoder may crash the process that it runs in, so a worker never calls this.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import groupby
from operator import attrgetter
from typing import Protocol

from PIL import Image

from worker.core.file_refusals import FileDamaged, FileEmpty, FileRefused, FileTooLarge, NotADocument, TooManyPages
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents import cutting, legibility
from worker.documents.missing import missing_page, refused_if_all_are_missing
from worker.documents.page import NOTES, Document, Note, Page
from worker.documents.pdf.source import Pdf, is_pdf
from worker.documents.pictures.formats import picture_format
from worker.documents.pictures.source import Pictures

MIN_SIDE_PIXELS = 32  # qwen3-vl's engine panics below 32, qwen2.5vl's below 28, and both at a ratio of 200 between the sides
JPEG_QUALITY = 90


class Source(Protocol):
    """A decoded file. `sizes` has width and height in pixels of each page as it is in the file, known before it is decoded."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...

    def shape(self, index: int) -> tuple[float, float]:
        """Return width and height of a page in whatever unit. Unlike the size, it is known for a page that cannot be decoded."""

    def picture(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Return a page as RGB or L, reduced to `size`, which has the ratio of `sizes[index]` and is not larger.

        Its `info` has no metadata. It may have the notes of the page under NOTES.
        """

    def text(self, index: int, picture: Image.Image) -> str | None:
        """Return the page's own text if it is sound and says what this picture of the page shows. None: a model must read it."""


def open_document(
    content: bytes,
    max_pages: int,
    first_page: int = 1,
    max_side_pixels: int = MAX_SIDE_PIXELS,
    *,
    cuts_long_pages: bool = True,
    takes_own_text: bool = False,
    with_forms: bool = True,
) -> Document:
    """Open a document whose pages begin with `first_page` (counted from 1). Each piece of a long page counts as a page.

    With `takes_own_text` a page has its own text where that is sound. A page that cannot be decoded is a missing page.

    This function raises FileRefused, and so does the iteration if all pages of the document are missing.
    """
    with _decoder_errors_converted():
        source = _source(content, with_forms)
        if not source.sizes:
            raise FileEmpty
        counts = [_piece_count(source, index) if cuts_long_pages else 1 for index in range(len(source.sizes))]
        if sum(counts) > max_pages or max(counts) > cutting.MAX_PIECES:
            raise TooManyPages
    places = [Place(index, piece, count) for index, count in enumerate(counts) for piece in range(count)]
    pages = _Pages(source, max_side_pixels, takes_own_text).at(places[first_page - 1 :])
    continued = tuple(place.piece > 0 for place in places)
    return Document(refused_if_all_are_missing(pages) if first_page == 1 else pages, continued)


def _piece_count(source: Source, index: int) -> int:
    """The size of a page of ordinary ratio is not asked for here: finding it may take long, or fail with the page."""
    return cutting.piece_count(source.sizes[index]) if cutting.may_be_long(source.shape(index)) else 1


@dataclass(frozen=True, slots=True)
class Place:
    """A page's place in the file: the index of the file's page, and the number of the piece, counted from 0, of `count`."""

    index: int
    piece: int
    count: int


@dataclass(frozen=True, slots=True)
class _Pages:
    """The pages of a source, made when they are requested. One that cannot be decoded is a missing page."""

    source: Source
    max_side_pixels: int
    takes_own_text: bool

    def at(self, places: Sequence[Place]) -> Iterator[Page]:
        for index, group in groupby(places, attrgetter("index")):
            wanted = list(group)
            if wanted[0].count == 1:
                yield _or_missing(partial(self._whole, index))
            else:
                yield from self._pieces(index, wanted)

    def _whole(self, index: int) -> Page:
        picture = self.source.picture(index, _fitted(self.source.sizes[index], self.max_side_pixels))
        text = self.source.text(index, picture) if self.takes_own_text and not _notes_of(picture) else None
        return _judged(picture) if text is None else Page(_jpeg(picture), (Note.OWN_TEXT,), text)

    def _pieces(self, index: int, places: Sequence[Place]) -> Iterator[Page]:
        """The pieces of one long page, whose picture is kept until the last piece was made."""
        size = self.source.sizes[index]
        try:
            with _decoder_errors_converted():
                long_page = cutting.LongPage(self.source.picture(index, cutting.fitted(size, self.max_side_pixels)), size)
        except FileRefused as refusal:
            yield from [missing_page(refusal)] * len(places)
            return
        for place in places:
            yield _or_missing(partial(_piece, long_page, place.piece))


def _or_missing(make: Callable[[], Page]) -> Page:
    try:
        with _decoder_errors_converted():
            return make()
    except FileRefused as refusal:
        return missing_page(refusal)


def _piece(long_page: cutting.LongPage, number: int) -> Page:
    piece = long_page.piece(number)
    return _judged(piece.picture, (Note.CUT, Note.OVERLAP) if piece.overlaps else (Note.CUT,))


def _judged(picture: Image.Image, done: tuple[Note, ...] = ()) -> Page:
    """A page with what was done to it and what is wrong with it. A blank one has the empty text as its own: no model is asked."""
    notes = (*done, *_notes_of(picture), *legibility.notes_of(picture))
    return Page(_jpeg(picture), notes, "" if Note.BLANK in notes else None)


def _notes_of(picture: Image.Image) -> tuple[Note, ...]:
    notes: tuple[Note, ...] = picture.info.get(NOTES, ())
    return notes


@contextmanager
def _decoder_errors_converted() -> Iterator[None]:
    """Convert a decoder's exceptions to a reason, without their messages, which may quote the file."""
    try:
        yield
    except FileRefused:
        raise
    except (MemoryError, Image.DecompressionBombError):
        raise FileTooLarge("too large to decode") from None
    except Exception as error:  # noqa: BLE001  decoders raise exceptions of any class
        raise FileDamaged(type(error).__name__) from None


def _source(content: bytes, with_forms: bool) -> Source:
    if not content:
        raise FileEmpty
    if kind := picture_format(content):
        return Pictures(content, kind)
    if is_pdf(content):
        return Pdf(content, with_forms)
    raise NotADocument


def _fitted(size: tuple[int, int], max_side_pixels: int) -> tuple[int, int]:
    """Return a size with no side longer than `max_side_pixels`. It is never enlarged."""
    ratio = min(1.0, max_side_pixels / max(size))
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _pad_to_minimum(picture: Image.Image) -> Image.Image:
    """Add white so that both sides have MIN_SIDE_PIXELS, because the model's engine crashes on a narrower picture."""
    width, height = (max(side, MIN_SIDE_PIXELS) for side in picture.size)
    if (width, height) == picture.size:
        return picture
    paper = Image.new(picture.mode, (width, height), "white")
    paper.paste(picture)
    return paper


def _jpeg(picture: Image.Image) -> bytes:
    target = BytesIO()
    _pad_to_minimum(picture).save(target, "JPEG", quality=JPEG_QUALITY)
    return target.getvalue()
