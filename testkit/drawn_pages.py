"""Pages that look like a pupil's handwriting, drawn without a font file and the same for the same seed.

Pillow brings one scalable font; each glyph of it is slanted and pushed out of shape a little, as a hand does, in a few
variants that are drawn once. The font has no umlauts, so a table gives the pen strokes that are missing. The exact text
travels in the image's comment, where a simulated model can read it and a real one never looks.
"""

import io
import math
import random
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import Final

from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFont, PngImagePlugin

FONT_SIZE_PX: Final = 38
LINE_HEIGHT_PX: Final = 54
MARGIN_LEFT_PX: Final = 120
MARGIN_RIGHT_PX: Final = 60
MARGIN_TOP_PX: Final = 130
MARGIN_BOTTOM_PX: Final = 60
GLYPH_PAD_PX: Final = 14
GLYPH_HEIGHT_PX: Final = round(1.4 * FONT_SIZE_PX) + 2 * GLYPH_PAD_PX
OVERSAMPLING: Final = 2  # glyphs are drawn larger and shrunk by the warp, for soft edges
VARIANTS: Final = 5  # shapes of one letter on a page: enough that the eye finds no repetition
PEN_WIDTH_EM: Final = 0.085  # the stem of the font
SPACE_EM: Final = 0.40
MAX_TILT_RADIANS: Final = 0.015
CLOSE_UP: Final = 0.978  # that tilt moves a page's edge by up to 0.015 of its half height, on the narrow side 2.1 %
PDF_RESOLUTION_DPI: Final = 121.0  # 1000 px on the 210 mm of A4
MAX_JPEG_COMMENT_BYTES: Final = 65_533  # a marker's length field has 16 bits and counts itself

PAPER: Final = (247, 244, 234)
RULE: Final = (176, 198, 222)
MARGIN_RULE: Final = (222, 150, 150)

STORED_TURN: Final = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How pixels are turned before they are stored, by the EXIF orientation that tells the viewer to turn them back."""

Stroke = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Hand:
    """Who writes: the slant as a share of the height, how far a corner of a letter strays, and the ink."""

    slant: float
    unrest_px: float
    ink: tuple[int, int, int]


HANDS: Final = (
    Hand(slant=0.20, unrest_px=1.5, ink=(36, 52, 128)),
    Hand(slant=0.04, unrest_px=2.1, ink=(44, 46, 58)),
    Hand(slant=-0.10, unrest_px=1.7, ink=(30, 74, 150)),
)


@dataclass(frozen=True, slots=True)
class Penned:
    """How a character is drawn: glyphs of the font, and strokes in em units, x to the right, y up from the baseline."""

    base: str
    strokes: tuple[Stroke, ...] = ()
    width_em: float = 0.0
    """Added to the advance of the base."""


def _dots(left_em: float, right_em: float, height_em: float) -> tuple[Stroke, ...]:
    return tuple(((x, height_em), (x + 0.02, height_em + 0.05)) for x in (left_em, right_em))


PENNED: Final = {
    " ": Penned("", (), SPACE_EM),
    "ä": Penned("a", _dots(0.16, 0.34, 0.66)),
    "ö": Penned("o", _dots(0.18, 0.36, 0.66)),
    "ü": Penned("u", _dots(0.17, 0.35, 0.66)),
    "Ä": Penned("A", _dots(0.24, 0.43, 0.82)),
    "Ö": Penned("O", _dots(0.28, 0.48, 0.82)),
    "Ü": Penned("U", _dots(0.25, 0.45, 0.82)),
    "ß": Penned(
        "",
        (
            (
                *((0.08, -0.16), (0.11, 0.30), (0.13, 0.56), (0.20, 0.69), (0.31, 0.72), (0.40, 0.64)),
                *((0.40, 0.54), (0.33, 0.44), (0.26, 0.39), (0.34, 0.35), (0.44, 0.27), (0.46, 0.14)),
                *((0.39, 0.03), (0.29, 0.00), (0.21, 0.03)),
            ),
        ),
        0.56,
    ),
    "–": Penned("", (((0.06, 0.26), (0.50, 0.27)),), 0.56),
    "„": Penned("", (((0.14, 0.05), (0.06, -0.12)), ((0.30, 0.05), (0.22, -0.12))), 0.36),
    "“": Penned("", (((0.06, 0.60), (0.13, 0.76)), ((0.22, 0.60), (0.29, 0.76))), 0.36),
    "→": Penned("", (((0.06, 0.27), (0.74, 0.27)), ((0.54, 0.42), (0.74, 0.27), (0.55, 0.12))), 0.82),
    "₂": Penned("", (((0.04, 0.06), (0.14, 0.16), (0.24, 0.07), (0.04, -0.17), (0.27, -0.17)),), 0.33),
}


def draw_page(text: str, *, seed: int, size: tuple[int, int] = (1000, 1400)) -> Image.Image:
    """An RGB page of `size` pixels with `text` on ruled paper; equal arguments give equal pixels.

    Raises ValueError when the text has more lines than the paper, as a page that silently lost its end would be
    marked wrong later.
    """
    chance = random.Random(seed)
    lines = _wrapped(text, width_px=size[0] - MARGIN_LEFT_PX - MARGIN_RIGHT_PX)
    if len(lines) > _line_capacity(size[1]):
        raise ValueError(f"{len(lines)} lines do not fit on a page of {_line_capacity(size[1])}; split the text")
    page = _ruled_paper(size)
    for number, line in enumerate(lines):
        _write_line(page, line, MARGIN_TOP_PX + number * LINE_HEIGHT_PX, chance, hand=HANDS[seed % len(HANDS)])
    return _under_a_lamp(_tilted(page, chance), chance)


def jpeg_bytes(image: Image.Image, text: str, *, exif_orientation: int = 1) -> bytes:
    """A JPEG with `text` as its UTF-8 comment; upright only for viewers that obey `exif_orientation` (1, 3, 6 or 8).

    Raises ValueError for an orientation that mirrors and for a text beyond what a JPEG comment holds.
    """
    comment = text.encode()
    if len(comment) > MAX_JPEG_COMMENT_BYTES:
        raise ValueError(f"a comment of {len(comment)} bytes is beyond the {MAX_JPEG_COMMENT_BYTES} a JPEG can carry")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = exif_orientation
    out = io.BytesIO()
    _stored(image, exif_orientation).save(out, "JPEG", quality=82, comment=comment, exif=exif)
    return out.getvalue()


def png_bytes(image: Image.Image, text: str) -> bytes:
    """A greyscale PNG, as a school's scanner makes it, with `text` in an iTXt chunk named `comment`."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("comment", text)
    out = io.BytesIO()
    image.convert("L").save(out, "PNG", pnginfo=chunks, compress_level=4)
    return out.getvalue()


def pdf_bytes(images: Sequence[Image.Image]) -> bytes:
    """A PDF with one page per image and no text layer; without dates, so equal images give equal bytes."""
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
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType and cannot draw its bundled font at a size")
    return font


@cache
def _penned(character: str) -> Penned:
    """Strokes, else the font's own glyph, else the plain letters the character is made of, else a question mark."""
    if character in PENNED:
        return PENNED[character]
    plain = unicodedata.normalize("NFKD", character)
    return Penned(character if _has_glyph(character) else "".join(filter(_has_glyph, plain)) or "?")


def _has_glyph(character: str) -> bool:
    missing = _font(FONT_SIZE_PX).getmask("\ue000")
    return bytes(_font(FONT_SIZE_PX).getmask(character)) != bytes(missing)


@cache
def _advance_px(character: str) -> float:
    penned = _penned(character)
    return _font(FONT_SIZE_PX).getlength(penned.base) + penned.width_em * FONT_SIZE_PX


@cache
def _glyph(character: str) -> Image.Image:
    """The character's ink as a mask, oversampled; its baseline is one font size below the padding."""
    penned, em, pad = _penned(character), OVERSAMPLING * FONT_SIZE_PX, OVERSAMPLING * GLYPH_PAD_PX
    mask = Image.new("L", (round(OVERSAMPLING * _advance_px(character)) + 2 * pad, OVERSAMPLING * GLYPH_HEIGHT_PX))
    pen = ImageDraw.Draw(mask)
    pen.text((pad, pad + em), penned.base, fill=255, font=_font(em), anchor="ls")
    for stroke in penned.strokes:
        points = [(pad + x * em, pad + (1 - y) * em) for x, y in stroke]
        pen.line(points, fill=255, width=round(PEN_WIDTH_EM * em), joint="curve")
        for end in (points[0], points[-1]):
            pen.circle(end, PEN_WIDTH_EM * em / 2, fill=255)
    return mask


@cache
def _variant(character: str, hand: Hand, number: int) -> Image.Image:
    """One of the shapes this hand gives the character: slanted, and bent as the corners of a coarse mesh stray."""
    glyph = _glyph(character)
    width_px, height_px = glyph.width // OVERSAMPLING, glyph.height // OVERSAMPLING
    columns, rows = (0, width_px // 2, width_px), (0, height_px // 3, 2 * height_px // 3, height_px)
    chance = random.Random(f"{character} {hand} {number}")
    source = {(x, y): _strayed(x, y, hand, chance) for y in rows for x in columns}
    mesh = [
        (
            (left, top, right, bottom),
            (*source[left, top], *source[left, bottom], *source[right, bottom], *source[right, top]),
        )
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]
    return glyph.transform((width_px, height_px), Image.Transform.MESH, mesh, resample=Image.Resampling.BILINEAR)


def _strayed(x_px: int, y_px: int, hand: Hand, chance: random.Random) -> tuple[float, float]:
    """Where in the oversampled glyph a mesh point takes its ink from; the slant turns about the baseline."""
    slant_px = hand.slant * (y_px - GLYPH_PAD_PX - FONT_SIZE_PX)
    stray = (chance.gauss(0, hand.unrest_px), chance.gauss(0, hand.unrest_px))
    return OVERSAMPLING * (x_px + slant_px) + stray[0], OVERSAMPLING * y_px + stray[1]


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
    """One line as a hand writes it: it starts near the margin, climbs or falls a little, and no letter sits still."""
    start_px = MARGIN_LEFT_PX + chance.uniform(-7, 7)
    slope = chance.uniform(-0.005, 0.003)
    for character, x_px in zip(line, accumulate(map(_advance_px, line), initial=start_px), strict=False):
        mask = _variant(character, hand, chance.randrange(VARIANTS))
        pressure = chance.randint(-14, 26)
        corner = (
            round(x_px + chance.gauss(0, 0.6)) - GLYPH_PAD_PX,
            round(baseline_px + slope * x_px + chance.gauss(0, 1.1)) - GLYPH_PAD_PX - FONT_SIZE_PX,
        )
        page.paste(tuple(channel + pressure for channel in hand.ink), corner, mask)


def _tilted(page: Image.Image, chance: random.Random) -> Image.Image:
    """The page as it lay, not quite straight, and so close that no edge shows."""
    radians = chance.uniform(-MAX_TILT_RADIANS, MAX_TILT_RADIANS)
    along, across = CLOSE_UP * math.cos(radians), CLOSE_UP * math.sin(radians)
    x, y = page.width / 2, page.height / 2
    source = (along, across, x - along * x - across * y, -across, along, y + across * x - along * y)
    return page.transform(page.size, Image.Transform.AFFINE, source, resample=Image.Resampling.BILINEAR, fillcolor=PAPER)


def _under_a_lamp(page: Image.Image, chance: random.Random) -> Image.Image:
    """Uneven light and the paper's grain. Pillow's own noise has no seed, so the grain comes from `chance`."""
    light = Image.frombytes("L", (3, 4), bytes(chance.randint(224, 255) for _ in range(12)))
    grain_size = (page.width // 3, page.height // 3)
    grain = Image.frombytes("L", grain_size, chance.randbytes(grain_size[0] * grain_size[1]))
    fine = grain.point([255 - level // 14 for level in range(256)])
    shade = ImageChops.multiply(
        light.resize(page.size, Image.Resampling.BICUBIC), fine.resize(page.size, Image.Resampling.BILINEAR)
    )
    return ImageChops.multiply(page, Image.merge("RGB", (shade, shade, shade)))
