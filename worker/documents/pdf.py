"""Renders the pages of a PDF."""

import math

import pypdfium2
from PIL import Image
from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

from worker.core.file_refusals import DocumentLocked
from worker.documents.text_layer import own_text

MAX_HEADER_BYTES = 1024  # PDF readers accept the signature anywhere in these bytes
DOTS_PER_INCH = 150
_POINTS_PER_INCH = 72
_MAX_POINTS = 1e7  # a page may claim to be infinite
_PIXELS_PER_POINT = DOTS_PER_INCH / _POINTS_PER_INCH


class Pdf:
    """The pages of a PDF, as a source of pages. Their sizes are those at DOTS_PER_INCH, and pdfium's for a page without one."""

    def __init__(self, content: bytes) -> None:
        self._document = _opened(content)
        self.sizes: list[tuple[int, int]] = [_size(self._document[index].get_size()) for index in range(len(self._document))]

    def image(self, index: int, size: tuple[int, int]) -> Image.Image:
        """Render a page with the longer side of `size`."""
        page = self._document[index]
        scale = (max(size) - 0.5) / max(page.get_size())  # pdfium rounds up
        rendered: Image.Image = page.render(scale=scale).to_pil()
        return rendered

    def text(self, index: int, image: Image.Image) -> str | None:
        return own_text(self._document[index], image)


def _size(points: tuple[float, float]) -> tuple[int, int]:
    width, height = (max(1, math.ceil(min(side, _MAX_POINTS) * _PIXELS_PER_POINT)) for side in points)
    return width, height


def _opened(content: bytes) -> pypdfium2.PdfDocument:
    """Open a PDF. One with a password is unsupported and not corrupt, because a pupil can hand it in again without one.

    A PDF that is only protected against changes opens without a password.
    """
    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY}:
            raise DocumentLocked from None
        raise
    document.init_forms()  # without this, text typed into form fields is not rendered
    return document
