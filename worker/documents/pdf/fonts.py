"""Letters of fonts that are neither in a PDF nor on this host. pdfium draws nothing or other letters in their place."""

import ctypes
import unicodedata

import pypdfium2
from PIL import Image
from pypdfium2 import raw

from worker.core.file_refusals import FormNotPrinted
from worker.documents.pdf import pictures

MOST_MISSING = 0.2  # of the letters of a page: with more it cannot be read
_SYMBOLS = ("wingdings", "webdings")  # of letters that mean something else. Symbol and ZapfDingbats come with pdfium
_STRIDE = 4  # letters of a font without a map come in words
_FLAT = 0.01  # ratio of the sides of a box. A dash has 0.07
_NAME_BYTES = 128
_INKLESS = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn"})
_COMMON = frozenset(bytes(range(256)).decode("cp1252", "ignore")) | {"\ufb01", "\ufb02"}
_UNSEEN = frozenset({raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP})


def is_any_missing(page: pypdfium2.PdfPage, rendered: Image.Image) -> bool:
    """True if some letters are missing. Raises FormNotPrinted if many are."""
    fonts = _foreign_fonts(page)
    if not fonts:
        return False
    text = page.get_textpage()
    if _is_common(text) and not any(_is_symbol(font) for font in fonts):
        return False
    letters = [index for index in range(text.count_chars()) if _is_letter(text, index)]
    missing = [index for index in letters if _is_missing(text, index, page, rendered)]
    if len(missing) > MOST_MISSING * len(letters):
        raise FormNotPrinted
    return bool(missing)


def _foreign_fonts(page: pypdfium2.PdfPage) -> list[raw.FPDF_FONT]:
    """Return the fonts of the page that are not in the file."""
    drawn = (raw.FPDFTextObj_GetFont(each) for each in page.get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]))
    fonts = {ctypes.cast(font, ctypes.c_void_p).value: font for font in drawn if font}
    return [font for font in fonts.values() if not raw.FPDFFont_GetIsEmbedded(font)]


def _is_common(text: pypdfium2.PdfTextPage) -> bool:
    """True if all characters are of Western Europe, for which pdfium has fonts. It saves the look at each one."""
    if set(text.get_text_range()) - _COMMON:
        return False
    return not any(raw.FPDFText_HasUnicodeMapError(text, index) for index in range(0, text.count_chars(), _STRIDE))


def _is_letter(text: pypdfium2.PdfTextPage, index: int) -> bool:
    """True for a character that leaves ink: no space, control character or lone mark, and not one that was inserted."""
    if raw.FPDFText_IsGenerated(text, index):
        return False
    return unicodedata.category(chr(raw.FPDFText_GetUnicode(text, index) % 0x110000)) not in _INKLESS


def _is_missing(text: pypdfium2.PdfTextPage, index: int, page: pypdfium2.PdfPage, rendered: Image.Image) -> bool:
    drawn = raw.FPDFText_GetTextObject(text, index)
    font = raw.FPDFTextObj_GetFont(drawn) if drawn else None
    if not font or raw.FPDFFont_GetIsEmbedded(font) or raw.FPDFTextObj_GetTextRenderMode(drawn) in _UNSEEN:
        return False
    if raw.FPDFText_HasUnicodeMapError(text, index) or _is_symbol(font):
        return True
    return _is_flat(text, index) and not _has_ink(text, index, page, rendered)


def _is_flat(text: pypdfium2.PdfTextPage, index: int) -> bool:
    """A letter without a glyph has a box without a height."""
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    raw.FPDFText_GetCharBox(text, index, left, right, bottom, top)
    return top.value - bottom.value < _FLAT * (right.value - left.value)


def _has_ink(text: pypdfium2.PdfTextPage, index: int, page: pypdfium2.PdfPage, rendered: Image.Image) -> bool:
    """True if something is drawn where a letter is to be. A letter of a replaced font has ink and a box without a height."""
    loose = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(text, index, loose)
    box = (loose.left, loose.bottom, loose.right, loose.top)
    return not pictures.is_uniform(rendered, pictures.on_picture(page, rendered.size, box))


def _is_symbol(font: raw.FPDF_FONT) -> bool:
    name, family = ctypes.create_string_buffer(_NAME_BYTES), ctypes.create_string_buffer(_NAME_BYTES)
    raw.FPDFFont_GetBaseFontName(font, name, _NAME_BYTES)
    raw.FPDFFont_GetFamilyName(font, family, _NAME_BYTES)
    wanted, found = (each.value.decode("latin-1").lower() for each in (name, family))
    return any(symbol in wanted and symbol not in found for symbol in _SYMBOLS)
