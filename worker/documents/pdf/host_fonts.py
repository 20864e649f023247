"""Lets pdfium draw letters with a font of this host if a PDF has none. By itself it finds only fonts of exactly the same name.

Fonts with pdfium's own replacement (Helvetica, Times, Courier and their likes) keep it. For Chinese, Japanese and Korean pdfium
itself has the names of FAMILIES_OF_ASIA.
"""

import ctypes
from typing import Any

from pypdfium2 import raw

FAMILIES = ("DejaVu Sans", "Noto Sans", "FreeSans", "Liberation Sans")  # with Greek, Cyrillic and signs of mathematics
FAMILIES_OF_ASIA = ("WenQuanYi Micro Hei", "TakaoPGothic", "IPAPGothic", "UnDotum", "AR PL UMing TW")
_BUILT_IN = (b"Helvetica", b"Times", b"Courier", b"Symbol", b"Arial")


def _map_font(this: Any, weight: int, italic: int, charset: int, pitch: int, face: Any, is_exact: Any) -> int:
    """Return the handle of a font of the host, 0 for none. pdfium calls this for a font that is not in the file."""
    name = ctypes.string_at(face) if face else b""
    found = _own_map_font(this, weight, italic, charset, pitch, face, is_exact)
    if found or name.startswith(_BUILT_IN):
        return found or 0
    for family in FAMILIES:
        found = _own_map_font(this, weight, italic, charset, pitch, family.encode(), is_exact)
        if found:
            return int(found)
    return 0


_system = raw.FPDF_GetDefaultSystemFontInfo()
_kind = type(_system.contents.MapFont)
_own_map_font = _kind(ctypes.cast(_system.contents.MapFont, ctypes.c_void_p).value)  # a copy of the pointer before it is replaced
_system.contents.MapFont = _callback = _kind(_map_font)
raw.FPDF_SetSystemFontInfo(_system)
