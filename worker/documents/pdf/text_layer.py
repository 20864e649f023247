"""Takes the text of a PDF page from the file, if it is sound and says what the page shows. Otherwise a model reads the picture.

A text layer may hold what no reader of the page sees, such as an instruction to the model. A page may show what no text holds. So
each letter must be drawn where the file says, dark on white and legible, and it must look like the letter that it stands for.
There must be nothing else on the page but rules. Otherwise the text is None: it costs a call to a model, and is never wrong.

Runs in the decoder's child.
"""

import ctypes
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import pypdfium2
from PIL import Image, ImageDraw
from pypdfium2 import raw

from worker.documents.pdf.glyph_shapes import PIXELS_PER_POINT, Letters, shape

MAX_GLYPHS, MAX_OBJECTS, MAX_LINES = 8_000, 20_000, 300
MIN_POINTS = 4.0  # size of a letter that a reader of the page can read
MAX_GREY, WHITE = 128, 235  # levels of 255 of a letter's colour, and of the paper
MIN_PART_OF_INK = 0.4  # of the contrast: a thin letter is lighter than its colour, and never white
MAX_STRAY_PIXELS = 12  # of ink beside all letters and rules. A comma at 150 dpi has more
RULE_POINTS, MIN_RULE_POINTS = 2.0, 24.0  # thickest and shortest rule. A short one may be a letter or a part of a formula
LOW, HIGH = 0.12, 0.9  # a rule below the first or above the second part of a letter's size does not strike it out
NEW_LINE, GAP, PARAGRAPH = 0.5, 2.5, 1.5  # in sizes: step of the baseline, gap in a line. In line distances: gap of paragraphs
FEW_STEPS, LINE = 4, 1.4  # with fewer steps from line to line, the usual one is not known. Then it is this many sizes at most
RAISED = 0.06  # in sizes: 10³ and H₂O have 0.15 and more, and the rounding of a program less than 0.02
MAX_GAPPED_LINES = 1  # "Name … Date" at the top. More are columns or a table, whose order is not sure
MAX_SKEW = 0.4  # of letters that a program slants itself
MIN_LETTERS = 2
CPU_SECONDS = 2.0  # for one page: a full page of small letters takes 0.5. The child may use 5 for each page
MAX_PIXELS = 16_000_000  # of the page that is drawn again to compare letters
_DRAWN_MODES = {raw.FPDF_TEXTRENDERMODE_FILL, raw.FPDF_TEXTRENDERMODE_FILL_STROKE}
_HARMLESS_ANNOTATIONS = {raw.FPDF_ANNOT_LINK}  # not drawn
_HIDDEN_MARKS = {"OC"}  # optional content: layers that may be switched off
_SPACES, _OPAQUE = " \u00a0", 255

Box = tuple[float, float, float, float]  # left, bottom, right, top in points


class Unsound(Exception):
    """The text is not taken. The message names the rule and never quotes the page."""


@dataclass(frozen=True, slots=True)
class Glyph:
    """A letter on the page. `x` and `y` are its place on the baseline, and `grey` is its colour's level."""

    character: str
    box: Box
    x: float
    y: float
    size: float
    font: int
    grey: int

    @property
    def is_space(self) -> bool:
        return self.character in _SPACES


@dataclass(frozen=True, slots=True)
class _View:
    """The part of the page that is shown: left, bottom, and pixels per point of its picture."""

    left: float
    bottom: float
    pixels_per_point: float
    height_pixels: float

    def pixels(self, box: Box, grown: float = 0.0) -> tuple[float, float, float, float]:
        left, bottom, right, top = box
        scale = self.pixels_per_point
        return (
            (left - self.left) * scale - grown,
            self.height_pixels - (top - self.bottom) * scale - grown,
            (right - self.left) * scale + grown,
            self.height_pixels - (bottom - self.bottom) * scale + grown,
        )


def own_text(page: pypdfium2.PdfPage, picture: Image.Image) -> str | None:
    """Return the text of a page with this picture, its lines separated by newlines. None if it is not sound or not there."""
    try:
        return _sound_text(page, picture)
    except Exception:  # noqa: BLE001  Unsound, and whatever a damaged text causes: the picture is there, and a model reads it
        return None


def _sound_text(page: pypdfium2.PdfPage, picture: Image.Image) -> str:
    """Check what costs least first. Raises Unsound."""
    until_seconds = time.process_time() + CPU_SECONDS
    _require(page.get_rotation() == 0, "turned page")
    _check_annotations(page)
    rules = _rules(page)
    glyphs = list(_in_time(_glyphs(page), until_seconds))
    inked = [glyph for glyph in glyphs if not glyph.is_space]
    _require(sum(glyph.character.isalpha() for glyph in inked) >= MIN_LETTERS, "hardly a letter")
    _check_rules(rules, inked)
    lines = _lines(glyphs)
    _check_order(lines)
    _check_baselines(lines)
    _check_fractions(rules, lines)
    _check_ink(picture.convert("L"), _view(page, picture), _in_time(inked, until_seconds), rules)
    _check_shapes(page, _in_time(inked, until_seconds))
    return _joined(lines)


def _in_time(glyphs: Iterable[Glyph], until_seconds: float) -> Iterator[Glyph]:
    for glyph in glyphs:
        _require(time.process_time() < until_seconds, "slow page")
        yield glyph


def _require(condition: object, rule: str) -> None:
    if not condition:
        raise Unsound(rule)


# Everything else on the page


def _check_annotations(page: pypdfium2.PdfPage) -> None:
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), MAX_OBJECTS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        raw.FPDFPage_CloseAnnot(annotation)
        _require(kind in _HARMLESS_ANNOTATIONS, "annotation")


def _rules(page: pypdfium2.PdfPage) -> list[Box]:
    """Return the rules of the page. Raises Unsound for everything else but text and a white ground below it."""
    count, found, has_text = raw.FPDFPage_CountObjects(page), [], False
    _require(0 < count <= MAX_OBJECTS, "no objects, or too many")
    for index in range(count):
        item = raw.FPDFPage_GetObject(page, index)
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_TEXT:
            _check_text_object(item)
            has_text = True
            continue
        _require(kind == raw.FPDF_PAGEOBJ_PATH, "more than text and rules")
        box = _bounds(item)
        if _is_rule(box):
            found.append(box)
        else:
            _require(not has_text and _is_white_ground(item), "drawing")
    return found


def _check_text_object(item: object) -> None:
    _require(raw.FPDFTextObj_GetTextRenderMode(item) in _DRAWN_MODES, "text that is not drawn")
    _require(not raw.FPDFPageObj_HasTransparency(item), "transparent text")
    for index in range(raw.FPDFPageObj_CountMarks(item)):
        mark = raw.FPDFPageObj_GetMark(item, index)
        _require(_mark_name(mark) not in _HIDDEN_MARKS, "optional content")
        _require(raw.FPDFPageObjMark_GetParamValueType(mark, b"ActualText") == raw.FPDF_OBJECT_UNKNOWN, "replaced text")


def _mark_name(mark: object) -> str:
    size = ctypes.c_ulong()
    name = ctypes.create_string_buffer(128)
    raw.FPDFPageObjMark_GetName(mark, ctypes.cast(name, ctypes.POINTER(ctypes.c_ushort)), len(name), size)
    return name.raw[: min(size.value, len(name))].decode("utf-16-le", "replace").rstrip("\0")


def _bounds(item: object) -> Box:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    _require(raw.FPDFPageObj_GetBounds(item, left, bottom, right, top), "object without a place")
    return left.value, bottom.value, right.value, top.value


def _is_rule(box: Box) -> bool:
    width, height = box[2] - box[0], box[3] - box[1]
    return min(width, height) <= RULE_POINTS and max(width, height) >= MIN_RULE_POINTS


def _is_white_ground(item: object) -> bool:
    mode, stroke = ctypes.c_int(), ctypes.c_int()
    raw.FPDFPath_GetDrawMode(item, mode, stroke)
    channels = _colour(raw.FPDFPageObj_GetFillColor, item)
    is_invisible = mode.value == raw.FPDF_FILLMODE_NONE
    return not stroke.value and (is_invisible or min(channels) == _OPAQUE)


def _colour(get: object, *of: object) -> list[int]:
    """Return red, green, blue and alpha."""
    channels = [ctypes.c_uint() for _ in range(4)]
    _require(get(*of, *channels), "text without a colour")  # type: ignore[operator]
    return [channel.value for channel in channels]


def _check_rules(rules: Sequence[Box], glyphs: Iterable[Glyph]) -> None:
    """A rule through a letter strikes it out."""
    _require(len(rules) <= MAX_LINES, "too many rules")
    for glyph in glyphs:
        left, right = glyph.box[0], glyph.box[2]
        low, high = glyph.y - LOW * glyph.size, glyph.y + HIGH * glyph.size
        low, high = max(glyph.box[1], glyph.y - 0.02 * glyph.size), min(glyph.box[3], high)
        for rule in rules:
            is_beside = rule[2] <= left or rule[0] >= right or rule[3] <= low or rule[1] >= high
            _require(is_beside, "struck out")


# The letters


def _glyphs(page: pypdfium2.PdfPage) -> Iterator[Glyph]:
    """Return the letters of the page in the file's order, with the spaces that are missing between two words. Raises Unsound."""
    text = page.get_textpage()
    count = text.count_chars()
    _require(0 < count <= MAX_GLYPHS, "no text, or too much")
    before: Glyph | None = None
    for index in range(count):
        if raw.FPDFText_IsGenerated(text, index) == 0:
            before = _glyph(text, index)
            yield before
        elif before and raw.FPDFText_GetUnicode(text, index) == ord(" "):
            yield replace(before, character=" ")  # between two words that the file only moves apart
    text.close()


def _glyph(text: pypdfium2.PdfTextPage, index: int) -> Glyph:
    character = "-" if raw.FPDFText_IsHyphen(text, index) == 1 else chr(raw.FPDFText_GetUnicode(text, index))
    _require(raw.FPDFText_HasUnicodeMapError(text, index) == 0, "letter without a meaning")
    item = raw.FPDFText_GetTextObject(text, index)
    _require(item, "letter without an object")
    matrix = raw.FS_MATRIX()
    _require(raw.FPDFText_GetMatrix(text, index, matrix), "letter without a matrix")
    size = raw.FPDFText_GetFontSize(text, index) * math.hypot(matrix.c, matrix.d)
    x, y = ctypes.c_double(), ctypes.c_double()
    _require(raw.FPDFText_GetCharOrigin(text, index, x, y), "letter without a place")
    glyph = Glyph(
        character, text.get_charbox(index), x.value, y.value, size, _address(raw.FPDFTextObj_GetFont(item)), _grey(text, index)
    )
    if not glyph.is_space:
        _check_glyph(glyph, matrix)
    return glyph


def _grey(text: pypdfium2.PdfTextPage, index: int) -> int:
    red, green, blue, alpha = _colour(raw.FPDFText_GetFillColor, text, index)
    _require(alpha == _OPAQUE, "transparent text")
    return (299 * red + 587 * green + 114 * blue) // 1000


def _check_glyph(glyph: Glyph, matrix: raw.FS_MATRIX) -> None:
    left, bottom, right, top = glyph.box
    _require(glyph.character.isprintable(), "letter that is not printed")
    _require(glyph.grey <= MAX_GREY, "light text")
    _require(glyph.size >= MIN_POINTS and all(map(math.isfinite, glyph.box)), "tiny text")
    _require(left < right and bottom < top, "letter without ink")
    is_upright = matrix.a > 0 and matrix.d > 0 and abs(matrix.b) < 0.01 * matrix.a and abs(matrix.c) <= MAX_SKEW * matrix.d
    _require(is_upright, "turned text")


def _address(font: object) -> int:
    return ctypes.cast(font, ctypes.c_void_p).value or 0  # type: ignore[arg-type]


# Lines and their order


def _lines(glyphs: Sequence[Glyph]) -> list[list[Glyph]]:
    """Split where the baseline moves, or where a letter stands left of the one before."""
    lines: list[list[Glyph]] = []
    for glyph in glyphs:
        if not lines or _begins_line(lines[-1][-1], glyph):
            lines.append([])
        lines[-1].append(glyph)
    kept = [_trimmed(line) for line in lines]
    kept = [line for line in kept if line]
    _require(len(kept) <= MAX_LINES, "too many lines")
    return kept


def _begins_line(before: Glyph, glyph: Glyph) -> bool:
    size = max(before.size, glyph.size)
    return abs(glyph.y - before.y) > NEW_LINE * size or glyph.x < before.x - NEW_LINE * size


def _trimmed(line: list[Glyph]) -> list[Glyph]:
    inked = [index for index, glyph in enumerate(line) if not glyph.is_space]
    return line[inked[0] : inked[-1] + 1] if inked else []


def _check_order(lines: Sequence[Sequence[Glyph]]) -> None:
    """The file's order must be that of a reader: from the top to the bottom, and then the next column."""
    boxes = [_around(line) for line in lines]
    for index, later in enumerate(boxes):
        for earlier in boxes[:index]:
            _require(not _is_before(later, earlier), "order of the lines")
    gapped = sum(any(_is_gap(*pair) for pair in pairwise(_without_spaces(line))) for line in lines)
    split = sum(_is_beside(*pair) for pair in pairwise(boxes))
    _require(gapped + split <= MAX_GAPPED_LINES, "columns or a table")


def _check_baselines(lines: Sequence[Sequence[Glyph]]) -> None:
    """A raised or lowered letter means something else than the letters beside it. Plain text would have 103 for 10³."""
    for line in lines:
        for before, glyph in pairwise(_without_spaces(line)):
            _require(abs(glyph.y - before.y) <= RAISED * max(before.size, glyph.size), "raised letter")
    for line, following in pairwise(lines):
        box, other, size = _around(line), _around(following), max(line[-1].size, following[0].size)
        is_close = -NEW_LINE * size < other[0] - box[2] < size
        _require(not is_close or min(box[3], other[3]) <= max(box[1], other[1]), "letter raised above its line")


def _check_fractions(rules: Sequence[Box], lines: Sequence[Sequence[Glyph]]) -> None:
    """A rule that is as long as the longer one of the lines above and below it may be the bar of a fraction."""
    for rule in rules:
        for above, below in pairwise(map(_around, lines)):
            is_between = below[3] <= rule[3] and rule[1] <= above[1] and above[1] - below[3] < above[3] - above[1]
            slack = above[3] - above[1] + below[3] - below[1]
            left, right = min(above[0], below[0]), max(above[2], below[2])
            is_bar = abs(rule[0] - left) <= slack and abs(rule[2] - right) <= slack
            _require(not (is_between and is_bar), "fraction")


def _around(line: Iterable[Glyph]) -> Box:
    boxes = [glyph.box for glyph in line if not glyph.is_space]
    lefts, bottoms, rights, tops = zip(*boxes, strict=True)
    return min(lefts), min(bottoms), max(rights), max(tops)


def _is_before(box: Box, other: Box) -> bool:
    """Report whether a reader would read the box before the other one."""
    if _is_beside(box, other):
        return box[0] < other[0]
    is_in_column = box[0] < other[2] and other[0] < box[2]
    return is_in_column and box[1] > other[1]


def _is_beside(box: Box, other: Box) -> bool:
    common = min(box[3], other[3]) - max(box[1], other[1])
    return common > 0.5 * min(box[3] - box[1], other[3] - other[1])


def _without_spaces(line: Iterable[Glyph]) -> list[Glyph]:
    return [glyph for glyph in line if not glyph.is_space]


def _is_gap(before: Glyph, glyph: Glyph) -> bool:
    return glyph.box[0] - before.box[2] > GAP * max(before.size, glyph.size)


def _joined(lines: Sequence[Sequence[Glyph]]) -> str:
    """Join the lines, with an empty one between paragraphs."""
    steps = [above[0].y - below[0].y for above, below in pairwise(lines)]
    downwards = sorted(step for step in steps if step > 0) or [math.inf]
    usual = downwards[len(downwards) // 4]
    if len(downwards) < FEW_STEPS:
        usual = min(usual, LINE * lines[0][0].size)
    parts = [_text_of(lines[0])]
    for step, line in zip(steps, lines[1:], strict=True):
        parts.append("\n" if 0 < step <= PARAGRAPH * usual else "\n\n")
        parts.append(_text_of(line))
    return "".join(parts)


def _text_of(line: Iterable[Glyph]) -> str:
    return " ".join("".join(glyph.character for glyph in line).replace("\u00a0", " ").split())


# Letters and ink


def _view(page: pypdfium2.PdfPage, picture: Image.Image) -> _View:
    box = raw.FS_RECTF()
    _require(raw.FPDF_GetPageBoundingBox(page, box), "page without a box")
    _require(box.right > box.left, "page without a width")
    return _View(box.left, box.bottom, picture.width / (box.right - box.left), picture.height)


def _check_ink(grey: Image.Image, view: _View, glyphs: Iterable[Glyph], rules: Sequence[Box]) -> None:
    """Each letter has ink of its own, on white, and there is none beside the letters and rules."""
    taken, rest = Image.new("L", grey.size), grey.copy()
    mark, wipe = ImageDraw.Draw(taken), ImageDraw.Draw(rest)
    for glyph in glyphs:
        around = _whole(view.pixels(glyph.box, 1), grey.size)
        lightest = round(255 - (255 - glyph.grey) * MIN_PART_OF_INK)  # of a letter that is seen
        _require(any(grey.crop(around).histogram()[: lightest + 1]), "letter that is not seen")
        middle = _middle(view.pixels(glyph.box))
        there = taken.crop(middle).histogram()
        _require(there[-1] <= sum(there) / 2, "two letters in one place")
        mark.rectangle((middle[0], middle[1], middle[2] - 1, middle[3] - 1), fill=255)
        wipe.rectangle(view.pixels(glyph.box, 2), fill=255)
    for rule in rules:
        wipe.rectangle(view.pixels(rule, 2), fill=255)
    _require(sum(rest.histogram()[:WHITE]) <= MAX_STRAY_PIXELS, "ink without a letter")


def _whole(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return whole pixels with at least one in the box. Raises Unsound for a letter outside of the page."""
    left, top = math.floor(box[0]), math.floor(box[1])
    right, bottom = max(left + 1, math.ceil(box[2])), max(top + 1, math.ceil(box[3]))
    _require(left >= -1 and top >= -1 and right <= size[0] + 1 and bottom <= size[1] + 1, "letter outside of the page")
    return left, top, right, bottom


def _middle(box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
    """Return the inner half in whole pixels, at least one, because slanted neighbours overlap."""
    left, top, right, bottom = box
    width, height = (right - left) / 4, (bottom - top) / 4
    inner_left, inner_top = round(left + width), round(top + height)
    return inner_left, inner_top, max(inner_left + 1, round(right - width)), max(inner_top + 1, round(bottom - height))


def _check_shapes(page: pypdfium2.PdfPage, glyphs: Iterable[Glyph]) -> None:
    """Draw the page again, larger and without annotations, and compare each letter."""
    width, height = page.get_size()
    _require(width * height * PIXELS_PER_POINT**2 <= MAX_PIXELS, "large page")
    grey: Image.Image = page.render(scale=PIXELS_PER_POINT, grayscale=True, may_draw_forms=False, draw_annots=False).to_pil()
    view, letters = _view(page, grey), Letters()
    for glyph in glyphs:
        _, baseline, _, _ = view.pixels((glyph.x, glyph.y, glyph.x, glyph.y))
        drawn = shape(grey, view.pixels(glyph.box), glyph.size * view.pixels_per_point, baseline)
        _require(letters.fit(glyph.character, glyph.font, round(glyph.size, 1), drawn), "letter of another shape")
