"""Annotations and form fields that a PDF has without their appearance. Each gets one before its page is rendered.

pdfium itself makes an appearance for rectangles, circles, ink, marked text and the fields of a form. It makes none for lines and
polygons, none for a text box if the document's form lacks the font, and none for a field whose appearance is empty or broken.
"""

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from worker.documents.pdf import appearances, pictures
from worker.documents.pdf.appearances import Box, Colour, Outline, Point

MAX_ANNOTATIONS = 2000  # of a page. Further ones are drawn only if pdfium does it
MAX_TEXT_CHARACTERS = 20_000
_MAX_STRING_BYTES = 4 * 2**20
_MAX_POINTS = 10_000  # of a polygon
_DRAWN_BY_PDFIUM = b"PDFIUM_HasGeneratedAP"  # pdfium leaves out letters that its font lacks
_UNSEEN = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
_LINES = frozenset({raw.FPDF_ANNOT_LINE, raw.FPDF_ANNOT_POLYGON, raw.FPDF_ANNOT_POLYLINE})
_WITHOUT_PICTURE = frozenset({raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_POPUP})
_TYPED = frozenset({raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX})
_CHECKED = frozenset({raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON})
_NOT_CHECKED = frozenset({"", "Off"})  # states. pdfium knows no state without an appearance
_SHOWS_SOMETHING = re.compile(r"\b(?:Tj|TJ|Do|f|F|S|s|B|b)\b|f\*|B\*|b\*|['\"]|\bsh\b|\bBI\b")
_STYLE = re.compile(r"([\d.]+) w(?:.*?(\[[\d. ]*\] [\d.]+ d))?", re.DOTALL)
Form = ctypes.c_void_p


@dataclass(frozen=True, slots=True)
class Completed:
    """An open page. `typed` are the boxes of fields with letters that pdfium draws only if it finds a font."""

    page: pypdfium2.PdfPage
    is_incomplete: bool
    typed: tuple[Box, ...] = ()

    def is_any_missing(self, rendered: Image.Image) -> bool:
        """True if an annotation or a field is not on the rendered page."""
        boxes = (pictures.on_picture(self.page, rendered.size, box) for box in self.typed)
        return self.is_incomplete or any(pictures.is_uniform(rendered, box) for box in boxes)


def completed(document: pypdfium2.PdfDocument, index: int) -> Completed:
    """Open a page and draw what has no appearance."""
    page = document[index]
    form = document.formenv.raw if document.formenv else None
    bare = {number for number, each in _annotations(page) if _is_bare(each, form)}
    typed = tuple(_rectangle(each) for _, each in _annotations(page) if _is_foreign_field(each, form))
    is_incomplete = raw.FPDFPage_GetAnnotCount(page) > MAX_ANNOTATIONS
    if not bare:
        return Completed(page, is_incomplete, typed)
    outlines = {number: _outline(each) for number, each in _annotations(page) if number in bare}
    _let_pdfium_draw(page, bare)
    page.close()
    page = document[index]
    drawn = [_draw(each, form, outlines[number]) for number, each in _annotations(page) if number in bare]
    return Completed(page, is_incomplete or not all(drawn), typed)


def _annotations(page: pypdfium2.PdfPage) -> Iterator[tuple[int, raw.FPDF_ANNOTATION]]:
    for number in range(min(MAX_ANNOTATIONS, raw.FPDFPage_GetAnnotCount(page))):
        annotation = raw.FPDFPage_GetAnnot(page, number)
        if not annotation:
            continue
        with _closed(annotation):
            if not raw.FPDFAnnot_GetFlags(annotation) & _UNSEEN:
                yield number, annotation


@contextmanager
def _closed(annotation: raw.FPDF_ANNOTATION) -> Iterator[None]:
    try:
        yield
    finally:
        raw.FPDFPage_CloseAnnot(annotation)


def _is_bare(annotation: raw.FPDF_ANNOTATION, form: Form | None) -> bool:
    """True if the annotation has something to show, and neither the file nor pdfium has a picture of it."""
    kind = raw.FPDFAnnot_GetSubtype(annotation)
    if kind == raw.FPDF_ANNOT_WIDGET:
        return form is None or (_has_value(annotation, form) and not _SHOWS_SOMETHING.search(_appearance(annotation)))
    if kind == raw.FPDF_ANNOT_TEXT and _string(annotation, b"Contents").strip():
        return True  # a note's icon is drawn, and its text is not
    if kind == raw.FPDF_ANNOT_FREETEXT and raw.FPDFAnnot_HasKey(annotation, _DRAWN_BY_PDFIUM):
        return not appearances.is_drawable(_string(annotation, b"Contents"))
    return kind not in _WITHOUT_PICTURE and not _appearance(annotation).strip()


def _has_value(annotation: raw.FPDF_ANNOTATION, form: Form) -> bool:
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in _CHECKED:
        return bool(raw.FPDFAnnot_IsChecked(form, annotation)) or _string(annotation, b"AS") not in _NOT_CHECKED
    return kind in _TYPED and bool(_value(annotation, form).strip())


def _is_foreign_field(annotation: raw.FPDF_ANNOTATION, form: Form | None) -> bool:
    """True for a typed value with letters beyond those of Western Europe."""
    if form is None or raw.FPDFAnnot_GetSubtype(annotation) != raw.FPDF_ANNOT_WIDGET:
        return False
    is_typed = raw.FPDFAnnot_GetFormFieldType(form, annotation) in _TYPED
    return is_typed and not appearances.is_drawable(_value(annotation, form))


def _let_pdfium_draw(page: pypdfium2.PdfPage, bare: set[int]) -> None:
    """Let pdfium draw fields without an appearance when the page is opened again, and lines as rectangles, for their style."""
    for number, annotation in _annotations(page):
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if number in bare and kind == raw.FPDF_ANNOT_WIDGET:
            raw.FPDFAnnot_SetAP(annotation, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, None)
        if number in bare and kind in _LINES:
            raw.FPDFAnnot_SetStringValue(annotation, b"Subtype", _wide("Square"))


def _draw(annotation: raw.FPDF_ANNOTATION, form: Form | None, outline: Outline | None) -> bool:
    """Give an annotation an appearance. False if its kind is unknown or its values are not those of its kind."""
    if outline is not None:
        return _draw_outline(annotation, outline)
    kind = raw.FPDFAnnot_GetSubtype(annotation)
    if kind == raw.FPDF_ANNOT_FREETEXT:
        return _draw_text(annotation, _string(annotation, b"Contents"), has_box=True)
    if kind != raw.FPDF_ANNOT_WIDGET or form is None:
        return False
    if _SHOWS_SOMETHING.search(_appearance(annotation)):
        return True
    if raw.FPDFAnnot_GetFormFieldType(form, annotation) in _CHECKED:
        return _set_appearance(annotation, appearances.check(_rectangle(annotation)))
    return _draw_text(annotation, _value(annotation, form), has_box=False)


def _outline(annotation: raw.FPDF_ANNOTATION) -> Outline | None:
    """Return a line or polygon, None for another kind or without points. pdfium has the colours only before it draws."""
    kind = raw.FPDFAnnot_GetSubtype(annotation)
    points = _points(annotation, kind) if kind in _LINES else []
    if len(points) < len(("start", "end")):
        return None
    fill = _colour(annotation, raw.FPDFANNOT_COLORTYPE_InteriorColor) if raw.FPDFAnnot_HasKey(annotation, b"IC") else None
    return Outline(tuple(points), _colour(annotation), fill, is_closed=kind == raw.FPDF_ANNOT_POLYGON)


def _draw_outline(annotation: raw.FPDF_ANNOTATION, outline: Outline) -> bool:
    style = _STYLE.search(_appearance(annotation))
    width, dash = (float(style[1]), style[2] or "") if style else (0.0, "")
    left, bottom, right, top = outline.bounds(width)
    raw.FPDFAnnot_SetRect(annotation, raw.FS_RECTF(left, top, right, bottom))
    return _set_appearance(annotation, outline.drawn(width, dash))


def _draw_text(annotation: raw.FPDF_ANNOTATION, text: str, *, has_box: bool) -> bool:
    box = _colour(annotation) if has_box and raw.FPDFAnnot_HasKey(annotation, b"C") else None
    style = _string(annotation, b"DA")
    content, is_whole = appearances.text(text[:MAX_TEXT_CHARACTERS], _rectangle(annotation), style, box)
    return _set_appearance(annotation, content) and is_whole


def _set_appearance(annotation: raw.FPDF_ANNOTATION, content: str) -> bool:
    return bool(raw.FPDFAnnot_SetAP(annotation, raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL, _wide(content)))


# Values of an annotation


def _appearance(annotation: raw.FPDF_ANNOTATION) -> str:
    mode = raw.FPDF_ANNOT_APPEARANCEMODE_NORMAL
    return _read(lambda buffer, size: raw.FPDFAnnot_GetAP(annotation, mode, buffer, size))


def _string(annotation: raw.FPDF_ANNOTATION, key: bytes) -> str:
    return _read(lambda buffer, size: raw.FPDFAnnot_GetStringValue(annotation, key, buffer, size))


def _value(annotation: raw.FPDF_ANNOTATION, form: Form) -> str:
    return _read(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))


def _points(annotation: raw.FPDF_ANNOTATION, kind: int) -> list[Point]:
    if kind == raw.FPDF_ANNOT_LINE:
        start, end = raw.FS_POINTF(), raw.FS_POINTF()
        is_line = raw.FPDFAnnot_GetLine(annotation, start, end)
        return [(start.x, start.y), (end.x, end.y)] if is_line else []
    count = min(_MAX_POINTS, raw.FPDFAnnot_GetVertices(annotation, None, 0))
    vertices = (raw.FS_POINTF * count)()
    raw.FPDFAnnot_GetVertices(annotation, vertices, count)
    return [(each.x, each.y) for each in vertices]


def _colour(annotation: raw.FPDF_ANNOTATION, kind: int = raw.FPDFANNOT_COLORTYPE_Color) -> Colour:
    parts = tuple(ctypes.c_uint() for _ in "RGBA")
    raw.FPDFAnnot_GetColor(annotation, kind, *parts)
    red, green, blue = (part.value / 255 for part in parts[:3])
    return red, green, blue


def _rectangle(annotation: raw.FPDF_ANNOTATION) -> Box:
    found = raw.FS_RECTF()
    raw.FPDFAnnot_GetRect(annotation, found)
    return min(found.left, found.right), min(found.bottom, found.top), max(found.left, found.right), max(found.bottom, found.top)


def _read(function: Callable[[ctypes.Array[ctypes.c_ushort] | None, int], int]) -> str:
    """Call a function of pdfium that writes a text as UTF-16 into a buffer and returns its size in bytes."""
    size_bytes = int(function(None, 0))
    if not 0 < size_bytes <= _MAX_STRING_BYTES:
        return ""
    buffer = (ctypes.c_ushort * (size_bytes // 2))()
    function(buffer, size_bytes)
    return bytes(buffer).decode("utf-16-le", "replace").rstrip("\0")


def _wide(text: str) -> ctypes.Array[ctypes.c_ushort]:
    encoded = text.encode("utf-16-le") + b"\0\0"
    return (ctypes.c_ushort * (len(encoded) // 2)).from_buffer_copy(encoded)
