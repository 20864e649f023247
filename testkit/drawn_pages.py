"""Pages that look like handwriting, drawn without a font file. Equal seeds give equal pages.

The glyphs are those of Pillow's own font, slanted, turned a little and moved. The font has no umlauts, so their dots are drawn.
The exact text is drawn below in cells, which the simulator reads and a real model cannot (`drawn_marks`).
"""

import io
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Final

from PIL import ExifTags, Image, ImageDraw, ImageFont

from testkit.drawn_marks import QUIET, WIDTHS, box_size, draw_mark

FONT_SIZE_PX: Final = 38
LINE_HEIGHT_PX: Final = 54
MARGIN_LEFT_PX: Final = 120
MARGIN_RIGHT_PX: Final = 60
MARGIN_TOP_PX: Final = 130
MARGIN_BOTTOM_PX: Final = 60
GLYPH_PAD_PX: Final = 14
VARIANTS: Final = 5  # of each glyph
MAX_GLYPH_TURN_DEGREES: Final = 4.0
MAX_PAGE_TURN_DEGREES: Final = 0.8
PDF_RESOLUTION_DPI: Final = 121.0  # 1000 px on the 210 mm of A4
CELL_PX: Final = 4

PAPER: Final = (247, 244, 234)
RULE: Final = (176, 198, 222)
MARGIN_RULE: Final = (222, 150, 150)
DIAERESIS: Final = "\u0308"
PLAIN: Final = {"ß": "ss", "–": "--", "„": '"', "“": '"', "→": "->"}  # missing in the font

STORED_TURN: Final = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""The turn of the stored pixels, by the EXIF orientation that makes a viewer turn them back."""


@dataclass(frozen=True, slots=True)
class Hand:
    """A handwriting: the slant as a share of the height, and the ink."""

    slant: float
    ink: tuple[int, int, int]


HANDS: Final = (Hand(0.20, (36, 52, 128)), Hand(0.04, (44, 46, 58)), Hand(-0.10, (30, 74, 150)))


def draw_page(text: str, *, seed: int, size: tuple[int, int] = (1000, 1400)) -> Image.Image:
    """Draw `text` on ruled paper of `size` pixels. Raises ValueError for a text with more lines than the page."""
    chance = random.Random(seed)
    lines = _wrapped(text, width_px=size[0] - MARGIN_LEFT_PX - MARGIN_RIGHT_PX)
    if len(lines) > _line_capacity(size[1]):
        raise ValueError(f"{len(lines)} lines do not fit on a page of {_line_capacity(size[1])}; split the text")
    page = _ruled_paper(size)
    for number, line in enumerate(lines):
        _write_line(page, line, MARGIN_TOP_PX + number * LINE_HEIGHT_PX, chance, hand=HANDS[seed % len(HANDS)])
    turn_degrees = chance.uniform(-MAX_PAGE_TURN_DEGREES, MAX_PAGE_TURN_DEGREES)
    return page.rotate(turn_degrees, Image.Resampling.BILINEAR, fillcolor=PAPER)


def with_text(image: Image.Image, text: str) -> Image.Image:
    """Return a copy with `text` in cells at its lower end, none for an empty text. Raises ValueError if it does not fit."""
    page = image.copy()
    if not text:
        return page
    room = image.width // CELL_PX - 2 * QUIET
    columns = max((each for each in WIDTHS if box_size(text, each)[0] <= room), default=WIDTHS[0])
    width, height = ((side + 2 * QUIET) * CELL_PX for side in box_size(text, columns))
    if width > image.width or height > image.height:
        raise ValueError(f"a text of {len(text)} characters does not fit on {image.width} x {image.height} pixels")
    at = ((image.width - width) // 2 + QUIET * CELL_PX, image.height - height + QUIET * CELL_PX)
    draw_mark(page, text, at, cell_px=CELL_PX, columns=columns)
    return page


def jpeg_bytes(image: Image.Image, text: str, *, exif_orientation: int = 1) -> bytes:
    """Make a JPEG with `text` in cells, stored turned for the EXIF orientation 3, 6 or 8. Raises ValueError for other ones."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = exif_orientation
    out = io.BytesIO()
    _stored(with_text(image, text), exif_orientation).save(out, "JPEG", quality=82, exif=exif)
    return out.getvalue()


def png_bytes(image: Image.Image, text: str) -> bytes:
    """Make a greyscale PNG, like a scanner, with `text` in cells."""
    out = io.BytesIO()
    with_text(image, text).convert("L").save(out, "PNG", compress_level=4)
    return out.getvalue()


def pdf_bytes(images: Sequence[Image.Image]) -> bytes:
    """Make a PDF with one page per image and no text. It has no dates, so equal images give equal bytes."""
    if not images:
        raise ValueError("a PDF needs at least one page")
    first, *rest = images
    out = io.BytesIO()
    dates = {"creationDate": None, "modDate": None}
    first.save(out, "PDF", save_all=True, append_images=rest, resolution=PDF_RESOLUTION_DPI, **dates)
    return out.getvalue()


def _stored(image: Image.Image, exif_orientation: int) -> Image.Image:
    if exif_orientation == 1:
        return image
    if exif_orientation not in STORED_TURN:
        raise ValueError(f"EXIF orientation {exif_orientation} is none of 1, {', '.join(map(str, STORED_TURN))}")
    return image.transpose(STORED_TURN[exif_orientation])


@cache
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(FONT_SIZE_PX)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType and cannot draw its bundled font at a size")
    return font


@cache
def _base(character: str) -> str:
    """Return the letters of the font for a character: itself, its plain letters, or a question mark."""
    plain = PLAIN.get(character) or unicodedata.normalize("NFKD", character)
    return character if _has_glyph(character) else "".join(filter(_has_glyph, plain)) or "?"


def _has_glyph(character: str) -> bool:
    return bytes(_font().getmask(character)) != bytes(_font().getmask("\ue000"))


@cache
def _advance_px(character: str) -> float:
    return _font().getlength(_base(character))


@cache
def _glyph(character: str, hand: Hand, number: int) -> Image.Image:
    """Draw one variant of a character as a mask. Its baseline is one font size below the padding."""
    width_px, height_px = round(_advance_px(character)) + 2 * GLYPH_PAD_PX, round(1.4 * FONT_SIZE_PX) + 2 * GLYPH_PAD_PX
    mask = Image.new("L", (width_px, height_px))
    pen = ImageDraw.Draw(mask)
    baseline_px = GLYPH_PAD_PX + FONT_SIZE_PX
    pen.text((GLYPH_PAD_PX, baseline_px), _base(character), fill=255, font=_font(), anchor="ls")
    if DIAERESIS in unicodedata.normalize("NFD", character):
        dots_y = baseline_px - round((0.82 if character.isupper() else 0.66) * FONT_SIZE_PX)
        for dots_x in (width_px / 2 - 4, width_px / 2 + 4):
            pen.circle((dots_x, dots_y), 2.5, fill=255)
    turn = random.Random(f"{character}{number}").uniform(-MAX_GLYPH_TURN_DEGREES, MAX_GLYPH_TURN_DEGREES)
    shear = (1, hand.slant, -hand.slant * baseline_px, 0, 1, 0)
    return mask.transform(mask.size, Image.Transform.AFFINE, shear, Image.Resampling.BILINEAR).rotate(
        turn, Image.Resampling.BILINEAR
    )


def _wrapped(text: str, *, width_px: int) -> list[str]:
    return [line for paragraph in text.split("\n") for line in _wrapped_paragraph(paragraph, width_px)]


def _wrapped_paragraph(paragraph: str, width_px: int) -> Iterator[str]:
    line = ""
    for word in paragraph.split(" "):
        longer = f"{line} {word}" if line else word
        if line and sum(map(_advance_px, longer)) > width_px:
            yield line
            longer = word
        line = longer
    yield line


def _line_capacity(height_px: int) -> int:
    return (height_px - MARGIN_TOP_PX - MARGIN_BOTTOM_PX) // LINE_HEIGHT_PX + 1


def _ruled_paper(size: tuple[int, int]) -> Image.Image:
    width_px, height_px = size
    page = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(page)
    for y in range(MARGIN_TOP_PX + 4, height_px, LINE_HEIGHT_PX):
        pen.line(((0, y), (width_px, y)), fill=RULE, width=2)
    pen.line(((MARGIN_LEFT_PX - 25, 0), (MARGIN_LEFT_PX - 25, height_px)), fill=MARGIN_RULE, width=2)
    return page


def _write_line(page: Image.Image, line: str, baseline_px: int, chance: random.Random, hand: Hand) -> None:
    """Write one line. Its start, its slope and the position of each letter vary a little."""
    start_px, slope = MARGIN_LEFT_PX + chance.uniform(-7, 7), chance.uniform(-0.005, 0.003)
    for character, x_px in zip(line, accumulate(map(_advance_px, line), initial=start_px), strict=False):
        mask, pressure = _glyph(character, hand, chance.randrange(VARIANTS)), chance.randint(-14, 26)
        corner = (
            round(x_px + chance.gauss(0, 0.6)) - GLYPH_PAD_PX,
            round(baseline_px + slope * x_px + chance.gauss(0, 1.1)) - GLYPH_PAD_PX - FONT_SIZE_PX,
        )
        page.paste(tuple(channel + pressure for channel in hand.ink), corner, mask)
