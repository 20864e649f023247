"""Turns the bytes of a file into pages for a vision model. The bytes decide on the format, not the name or the declared type.

Runs in the decoder's child and has no effects. A decoder may crash the process that it runs in, so a worker never calls this.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import Image

from worker.core.file_refusals import FileDamaged, FileEmpty, FileRefused, FileTooLarge, NotADocument, TooManyPages
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents import pdf, pictures
from worker.documents.page import Document, Page


def open_document(content: bytes, max_pages: int, first_page: int = 1, max_side_pixels: int = MAX_SIDE_PIXELS) -> Document:
    """Open a document whose pages begin with `first_page` (counted from 1).

    This function and the iteration over the pages raise FileRefused.
    """
    with _decoder_errors_converted():
        total, page = _page_source(content, max_side_pixels)
        if total > max_pages:
            raise TooManyPages
    return Document(total, _pages(page, range(first_page, total + 1)))


def _pages(page: Callable[[int], Page], numbers: range) -> Iterator[Page]:
    for number in numbers:
        with _decoder_errors_converted():
            decoded = page(number)
        yield decoded


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


def _page_source(content: bytes, max_side_pixels: int) -> tuple[int, Callable[[int], Page]]:
    """Return the number of pages and a function that makes one of them (counted from 1)."""
    if not content:
        raise FileEmpty
    if content.startswith(pictures.SIGNATURES):
        return 1, lambda _number: Page(pictures.picture_page(content, max_side_pixels))
    if b"%PDF-" in content[: pdf.MAX_HEADER_BYTES]:
        document = pdf.open_pdf(content)
        if not len(document):
            raise FileEmpty
        return len(document), lambda number: Page(pdf.pdf_page(document, number, max_side_pixels))
    raise NotADocument
