"""Forms and collections that only one program can show. Others see a page that asks to open it there."""

import re

import pypdfium2
from pypdfium2 import raw

from worker.core.file_refusals import FormNotPrinted
from worker.documents.pdf.dictionaries import has_collection

_XFA = frozenset({raw.FORMTYPE_XFA_FULL, raw.FORMTYPE_XFA_FOREGROUND})
_WAIT = re.compile(r"please wait|not eventually replaced|bitte warten", re.IGNORECASE)
_PORTFOLIO = re.compile(r"pdf[ -](?:portfolio|package)", re.IGNORECASE)
_MAX_CHARACTERS = 4000


def refuse_unprinted(document: pypdfium2.PdfDocument, content: bytes) -> None:
    """Raise FormNotPrinted if the pages are only a cover. A form or attachments beside real pages are no reason."""
    if _is_cover_of_form(document) or _is_cover_of_collection(document, content):
        raise FormNotPrinted


def _is_cover_of_form(document: pypdfium2.PdfDocument) -> bool:
    """An XFA form may have its fields on the pages too, for programs that know no XFA."""
    form_type = document.get_formtype()
    if form_type not in _XFA or len(document) != 1:
        return False
    page = document[0]
    return not _has_field(page) and (form_type == raw.FORMTYPE_XFA_FULL or bool(_WAIT.search(_text(page))))


def _is_cover_of_collection(document: pypdfium2.PdfDocument, content: bytes) -> bool:
    if not raw.FPDFDoc_GetAttachmentCount(document):
        return False
    return has_collection(content) or (len(document) == 1 and bool(_PORTFOLIO.search(_text(document[0]))))


def _has_field(page: pypdfium2.PdfPage) -> bool:
    for index in range(raw.FPDFPage_GetAnnotCount(page)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET:
            return True
    return False


def _text(page: pypdfium2.PdfPage) -> str:
    return " ".join(str(page.get_textpage().get_text_range(0, -1)).split())[:_MAX_CHARACTERS]
