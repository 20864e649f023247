"""Renders the pages of a PDF for a vision model."""

import pypdfium2
from pypdfium2.raw import FPDF_ERR_PASSWORD, FPDF_ERR_SECURITY

from worker.core.file_refusals import DocumentLocked
from worker.documents.pictures import jpeg

MAX_HEADER_BYTES = 1024  # PDF readers accept the signature anywhere in these bytes
DOTS_PER_INCH = 150
_POINTS_PER_INCH = 72


def open_pdf(content: bytes) -> pypdfium2.PdfDocument:
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


def pdf_page(document: pypdfium2.PdfDocument, number: int, max_side_pixels: int) -> bytes:
    """Render a page with at most `max_side_pixels`, whatever its declared size. A page without a size gets pdfium's default."""
    page = document[number - 1]
    scale = min(DOTS_PER_INCH / _POINTS_PER_INCH, (max_side_pixels - 0.5) / max(page.get_size()))  # pdfium rounds up
    return jpeg(page.render(scale=scale).to_pil())
