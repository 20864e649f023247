"""Turns the bytes of a file into pages for a vision model. The bytes decide on the format, not the name or the declared type.

Runs in the decoder's child and has no effects. A decoder may crash the process that it runs in, so a worker never calls this.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Protocol

from PIL import Image

from worker.core.file_refusals import FileDamaged, FileEmpty, FileRefused, FileTooLarge, NotADocument, TooManyPages
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents import pdf, pictures
from worker.documents.missing import missing_page, refused_if_all_are_missing
from worker.documents.page import Document, Page

MIN_SIDE_PIXELS = 32  # qwen3-vl's engine panics below 32, qwen2.5vl's below 28, and both at a ratio of 200 between the sides
JPEG_QUALITY = 90


class Source(Protocol):
    """A decoded file. `sizes` has width and height in pixels of each page as it is in the file, known before it is decoded."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...

    def image(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Return a page as RGB or L, reduced to `size`, which has the ratio of `sizes[index]` and is not larger.

        Its `info` may have the notes of the page under `pictures.NOTES`.
        """


def open_document(
    content: bytes, max_pages: int, first_page: int = 1, max_side_pixels: int = MAX_SIDE_PIXELS, with_forms: bool = True
) -> Document:
    """Open a document whose pages begin with `first_page` (counted from 1). A page that cannot be decoded is a missing page.

    This function raises FileRefused, and so does the iteration if all pages of the document are missing.
    """
    with _decoder_errors_converted():
        source = _source(content, with_forms)
        total = len(source.sizes)
        if not total:
            raise FileEmpty
        if total > max_pages:
            raise TooManyPages
    pages = _pages(source, range(first_page, total + 1), max_side_pixels)
    return Document(total, refused_if_all_are_missing(pages) if first_page == 1 else pages)


def _pages(source: Source, numbers: range, max_side_pixels: int) -> Iterator[Page]:
    for number in numbers:
        try:
            with _decoder_errors_converted():
                picture = _image(source, number - 1, max_side_pixels)
                page = Page(_jpeg(picture), picture.info.get(pictures.NOTES, ()))
        except FileRefused as refusal:
            page = missing_page(refusal)
        yield page


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
    if content.startswith(pictures.SIGNATURES):
        return pictures.Pictures(content)
    if pdf.is_pdf(content):
        return pdf.Pdf(content, with_forms)
    raise NotADocument


def _image(source: Source, index: int, max_side_pixels: int) -> Image.Image:
    """A page with no side longer than `max_side_pixels`, and never enlarged."""
    return source.image(index, _fitted(source.sizes[index], max_side_pixels))


def _fitted(size: tuple[int, int], max_side_pixels: int) -> tuple[int, int]:
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
