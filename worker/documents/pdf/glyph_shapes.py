"""Compares drawn glyphs with the letters that a PDF says they are, because its map from glyphs to letters may be wrong or forged.

The references are letters of pdfium's own fonts. A glyph fits its letter if few other letters are more like it. A font that looks
like none of the references fits no letter, and then a model reads the page.
"""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import pypdfium2
from PIL import Image
from pypdfium2 import raw

PIXELS_PER_POINT = 4  # of the page for this comparison: a letter of 11 points has about 20 by 25 pixels
SIDE = 16  # of a shape, in cells
REFERENCE_FONTS = (
    b"Helvetica",
    b"Helvetica-Bold",
    b"Helvetica-Oblique",
    b"Times-Roman",
    b"Times-Bold",
    b"Times-Italic",
    b"Courier",
)
_CHARACTERS = (
    "".join(bytes([code]).decode("cp1252", "ignore") for code in range(33, 256) if code != 127)
    .replace("\u00ad", "")
    .replace("\u00a0", "")
)
_INK = [255] * 128 + [0] * 128  # by level of grey
_RIVALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
MAX_RIVALS = 8  # letters that may be more like a glyph than the one that it stands for: c and e, I and l, u and n
MAX_RIVALS_OF_A_SIGN = 20  # signs differ more from font to font, and no sentence is made of them
MAX_DISTANCE = 0.75
SHORTEST = 0.2  # length in font sizes below which two lengths hardly differ: the width of l
SAME_DISTANCE = 0.22  # between two glyphs of one letter in one font and size, which differ by their place between two pixels
MAX_KNOWN = 6
MAX_COMPARISONS = 400  # with all letters, for one page: 0.5 ms each

_SIZE_POINTS, _CELL_POINTS, _COLUMNS, _REFERENCE_SCALE = 20.0, 30.0, 20, 2


@dataclass(frozen=True, slots=True)
class Shape:
    """Ink of a glyph stretched to a square of cells, as bits. The lengths are in font sizes, `base` from the baseline up."""

    ink: int
    width: float
    height: float
    base: float

    def distance(self, other: "Shape") -> float:
        lengths = _ratio(self.width, other.width) + _ratio(self.height, other.height)
        part = min(1.0, min(self.width, self.height, other.width, other.height) / SHORTEST)  # a dot is only a few pixels of ink
        return part * (self.ink ^ other.ink).bit_count() / SIDE**2 + 0.3 * lengths + abs(self.base - other.base)


def shape(page: Image.Image, box: tuple[float, float, float, float], em_pixels: float, baseline: float) -> Shape:
    """Return the shape of the ink in a box of pixels: left, top, right, bottom. `page` is grey."""
    left, top, right, bottom = box
    cells = page.resize((SIDE, SIDE), Image.Resampling.BOX, _inside(box, page.size)).point(_INK, "1")
    return Shape(
        int.from_bytes(cells.tobytes()), (right - left) / em_pixels, (bottom - top) / em_pixels, (baseline - bottom) / em_pixels
    )


class Letters:
    """The glyphs of one page. A glyph is first compared with those of the same letter, font and size that have fitted before."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, float], list[Shape]] = {}
        self._left = MAX_COMPARISONS

    def fit(self, character: str, font: int, size: float, drawn: Shape) -> bool:
        known = self._known.setdefault((character, font, size), [])
        if any(each.distance(drawn) <= SAME_DISTANCE for each in known[:MAX_KNOWN]):
            return True
        self._left -= 1
        if self._left < 0 or not is_like(character, drawn):
            return False
        known.append(drawn)
        return True


def is_like(character: str, drawn: Shape) -> bool:
    """Report whether few letters are more like a glyph than this one. False for a character without a reference."""
    known = references()
    own = _distance(drawn, known.get(character, ()))
    if own > MAX_DISTANCE:
        return False
    most = MAX_RIVALS if character in _RIVALS else MAX_RIVALS_OF_A_SIGN
    return sum(_distance(drawn, known[rival]) < own for rival in _RIVALS) <= most


def _distance(drawn: Shape, shapes: Sequence[Shape]) -> float:
    return min((drawn.distance(shape) for shape in shapes), default=math.inf)


@cache
def references() -> dict[str, list[Shape]]:
    """Draw each character in each reference font."""
    shapes: dict[str, list[Shape]] = {}
    document = pypdfium2.PdfDocument.new()
    for font in REFERENCE_FONTS:
        for character, drawn in _drawn(document, font):
            shapes.setdefault(character, []).append(drawn)
    document.close()
    return shapes


def _drawn(document: pypdfium2.PdfDocument, font: bytes) -> list[tuple[str, Shape]]:
    rows = len(_CHARACTERS) // _COLUMNS + 1
    page = document.new_page(_COLUMNS * _CELL_POINTS, rows * _CELL_POINTS)
    for index, character in enumerate(_CHARACTERS):
        place = (index % _COLUMNS * _CELL_POINTS + 5, index // _COLUMNS * _CELL_POINTS + 8)
        page.insert_obj(_letter(document, font, character, place))
    page.gen_content()
    picture: Image.Image = page.render(scale=_REFERENCE_SCALE, grayscale=True).to_pil()
    text = page.get_textpage()
    found = []
    for index in range(text.count_chars()):
        character = chr(raw.FPDFText_GetUnicode(text, index))
        left, bottom, right, top = text.get_charbox(index)
        if right <= left or top <= bottom or character not in _CHARACTERS:
            continue
        _, baseline = _origin(text, index)
        height = page.get_height()
        box = (left, height - top, right, height - bottom)
        pixels = tuple(side * _REFERENCE_SCALE for side in box)
        em_pixels = _SIZE_POINTS * _REFERENCE_SCALE
        found.append((character, shape(picture, pixels, em_pixels, (height - baseline) * _REFERENCE_SCALE)))
    page.close()
    return found


def _origin(text: pypdfium2.PdfTextPage, index: int) -> tuple[float, float]:
    x, y = ctypes.c_double(), ctypes.c_double()
    raw.FPDFText_GetCharOrigin(text, index, x, y)
    return x.value, y.value


def _letter(document: pypdfium2.PdfDocument, font: bytes, character: str, place: tuple[float, float]) -> pypdfium2.PdfObject:
    text = raw.FPDFPageObj_NewTextObj(document, font, _SIZE_POINTS)
    letters = ctypes.create_string_buffer((character + "\0").encode("utf-16-le"))
    raw.FPDFText_SetText(text, ctypes.cast(letters, ctypes.POINTER(ctypes.c_ushort)))
    raw.FPDFPageObj_Transform(text, 1, 0, 0, 1, *place)
    return pypdfium2.PdfObject(text, pdf=document)


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the part of a box on the page, with at least half a pixel in it."""
    left, top = min(max(box[0], 0.0), size[0] - 1.0), min(max(box[1], 0.0), size[1] - 1.0)
    return left, top, min(max(box[2], left + 0.5), size[0]), min(max(box[3], top + 0.5), size[1])


def _ratio(one: float, other: float) -> float:
    """0 for equal lengths, 1 for very different ones."""
    return abs(one - other) / max(one, other, SHORTEST)
