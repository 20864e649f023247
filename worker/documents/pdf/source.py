"""Renders the pages of a PDF."""

import math
from collections.abc import Sequence

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from worker.core.file_refusals import DocumentLocked, FileDamaged
from worker.documents.page import NOTES, Note
from worker.documents.pdf import annotations, fonts, forms, pictures
from worker.documents.pdf import host_fonts as host_fonts  # pdfium uses it from its first document on
from worker.documents.pdf.dictionaries import user_unit
from worker.documents.pdf.text_layer import own_text

MAX_HEADER_BYTES = 1024  # PDF readers accept the signature anywhere in these bytes
_SIGNATURE = b"%PDF-"
_BODY = (b" obj", b"endobj", b"/Pages")
DOTS_PER_INCH = 150
_POINTS_PER_INCH = 72
_MAX_POINTS = 1e7  # a page may claim to be infinite
_PIXELS_PER_POINT = DOTS_PER_INCH / _POINTS_PER_INCH


def is_pdf(content: bytes) -> bool:
    """True for a header in the first bytes, and for the objects of a PDF whose header was lost."""
    begin = content[:MAX_HEADER_BYTES]
    return _SIGNATURE in begin or (_BODY[0] in begin and all(word in content for word in _BODY))


class Pdf:
    """The pages of a PDF, as a source of pages.

    Their sizes are those at DOTS_PER_INCH, more if the pictures on a page have more, and pdfium's for a page without one.
    """

    def __init__(self, content: bytes, with_forms: bool = True) -> None:
        self._document = _opened(_from_header(content), with_forms)
        forms.refuse_unprinted(self._document, content)
        self.sizes: Sequence[tuple[int, int]] = _Sizes(self._document, user_unit(content))
        self._open: annotations.Completed | None = None
        self._open_index = -1

    def shape(self, index: int) -> tuple[float, float]:
        """Return width and height in points, of a square for a page that has none."""
        try:
            width, height = self._document.get_page_size(index)
        except pypdfium2.PdfiumError:  # raised again when the page is rendered
            return 1.0, 1.0
        return width, height

    def picture(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Render a page with the longer side of `size`."""
        completed = self._completed(index)
        page = completed.page
        pictures.refuse_huge(page)
        scale = (max(size) - 0.5) / max(page.get_size())  # pdfium rounds up
        rendered: Image.Image = page.render(scale=scale).to_pil()
        found = {
            Note.INCOMPLETE: not pictures.is_whole(page, rendered),
            Note.ANNOTATION_MISSING: completed.is_any_missing(rendered),
            Note.FONT_MISSING: fonts.is_any_missing(page, rendered),
        }
        rendered.info = {NOTES: tuple(note for note, is_found in found.items() if is_found)}
        return rendered

    def text(self, index: int, picture: Image.Image) -> str | None:
        return own_text(self._document[index], picture)

    def _completed(self, index: int) -> annotations.Completed:
        """Return a page with all its annotations. It is kept until another one is requested, because it is changed only once."""
        if self._open is None or self._open_index != index:
            if self._open:
                self._open.page.close()
            self._open, self._open_index = None, index
            self._open = annotations.completed(self._document, index)
        return self._open


class _Sizes(Sequence[tuple[int, int]]):
    """Sizes of pages in pixels, found when they are needed, because a page that crashes the decoder has a size too."""

    def __init__(self, document: pypdfium2.PdfDocument, user_unit: float) -> None:
        self._document, self._user_unit = document, user_unit
        self._found: dict[int, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._document)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if index not in self._found:
            self._found[index] = self._size(range(len(self))[index])
        return self._found[index]

    def _size(self, index: int) -> tuple[int, int]:
        points = self._document.get_page_size(index)
        size = _pixels(points, _PIXELS_PER_POINT * self._user_unit)
        if pictures.is_large_enough(size):
            return size
        try:
            density = pictures.pixels_per_point(self._document, index)
        except pypdfium2.PdfiumError:  # raised again when the page is rendered
            return size
        return max(size, _pixels(points, density))


def _pixels(points: tuple[float, float], pixels_per_point: float) -> tuple[int, int]:
    width, height = (max(1, math.ceil(min(side, _MAX_POINTS) * pixels_per_point)) for side in points)
    return width, height


def _from_header(content: bytes) -> bytes:
    """Remove what a mail program, a printer or a web server put before the header, because offsets count from it."""
    at = content[:MAX_HEADER_BYTES].find(_SIGNATURE)
    return content[at:] if at >= 0 else _SIGNATURE + b"1.7\n" + content


def _opened(content: bytes, with_forms: bool) -> pypdfium2.PdfDocument:
    """Open a PDF. One with a password is unsupported and not corrupt, because a pupil can hand it in again without one.

    A PDF that is only protected against changes opens without a password.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}:
            raise DocumentLocked from None
        raise
    if with_forms:
        _init_forms(document)
    if not len(document):
        raise FileDamaged("no page")
    return document


def _init_forms(document: pypdfium2.PdfDocument) -> None:
    """Without this, fields of a form are not rendered. pypdfium2's own function does nothing if the catalogue has no form.

    Documents that were joined have the fields on their pages and no form. A form that cannot be read is left out.
    """
    config = raw.FPDF_FORMFILLINFO(version=2)
    environment = raw.FPDFDOC_InitFormFillEnvironment(document, config)
    if environment:
        document.formenv = pypdfium2.PdfFormEnv(environment, config)
