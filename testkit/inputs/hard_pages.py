"""Pages that are hard to judge, drawn by seed: blank, nearly blank, faint, blurred, tiny, turned, and easy ones beside them.

Nothing is copied: papers, strokes, letters, shadows and noise are made here. Equal kinds and seeds give equal pages. There are
two sorts of writing: words in Pillow's own font, and scrawl of random strokes with the proportions of a hand.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from typing import Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

A4: Final = (1131, 1600)
TEXT: Final = (
    "der die das Fuchs Rabe Wald läuft und nicht aber Wasser Pflanze Zelle Energie rechnet Strecke Dreieck Winkel Lösung Antwort "
    "Seite warum weil deshalb Jahr Krieg König Kraft Feder Weg Stadt Ergebnis 12 34 3/4 17 250 cm kg = + Text Satz Wort"
)
WORDS: Final = tuple(TEXT.split())

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class HardPage:
    """A page and what is true of it: the height of its small letters in pixels, 0 without writing, and how far it lies turned."""

    picture: Image.Image
    is_written: bool
    letter_pixels: float = 0.0
    contrast: float = 0.0  # levels of 255 between ink and paper
    blur_pixels: float = 0.0  # standard deviation
    turned_degrees: int = 0  # counter-clockwise


@cache
def _font(pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(pixels)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType")
    return font


# Ink: a mask of white strokes on black


def letters(chance: random.Random, size: Size, letter_pixels: float, lines: int | None = None) -> Image.Image:
    """Lines of words in a font whose small letters have this height."""
    font = _font(max(4, round(letter_pixels / 0.53)))
    ink, pitch = Image.new("L", size), round(letter_pixels * chance.uniform(2.9, 3.6))
    pen, margin = ImageDraw.Draw(ink), round(size[0] * 0.08)
    top = chance.randrange(margin, margin * 2)
    for number in range(lines or (size[1] - margin - top) // pitch):
        x, end = margin + chance.uniform(-3, 3), size[0] - margin - chance.expovariate(1 / 60)
        while True:
            word = chance.choice(WORDS)
            if x + font.getlength(word) > end:
                break
            pen.text((x, top + number * pitch + chance.gauss(0, letter_pixels * 0.06)), word, fill=255, font=font)
            x += font.getlength(word + " ") * chance.uniform(0.9, 1.2)
    return ink


def scrawl(chance: random.Random, size: Size, letter_pixels: float, lines: int | None = None) -> Image.Image:
    """Words of joined strokes between the lines of a hand, with ascenders and descenders, and a stroke that fits the size."""
    ink, pitch = Image.new("L", size), round(letter_pixels * chance.uniform(2.8, 3.4))
    pen, margin = ImageDraw.Draw(ink), round(size[0] * 0.08)
    width, slant = max(1, round(letter_pixels / 7)), chance.uniform(-0.1, 0.35)
    top = chance.randrange(margin, margin * 2)
    for number in range(lines or (size[1] - margin - top) // pitch):
        base, x = top + number * pitch, margin + chance.uniform(-6, 6)
        end, slope = size[0] - margin - chance.expovariate(1 / 60), chance.uniform(-0.008, 0.006)
        while x < end:
            points = _word(chance, x, base + slope * x, letter_pixels, slant)
            if points[-1][0] > end:
                break
            pen.line(points, fill=255, width=width, joint="curve")
            x = points[-1][0] + letter_pixels * chance.uniform(0.6, 1.2)
    return ink


def _word(chance: random.Random, x: float, base: float, letter_pixels: float, slant: float) -> list[tuple[float, float]]:
    points = [(x, base)]
    for _ in range(chance.randint(2, 9)):
        kind, width = chance.random(), letter_pixels * chance.uniform(0.45, 0.9)
        high = letter_pixels * (chance.uniform(1.7, 2.1) if kind < 0.25 else chance.uniform(0.85, 1.1))
        low = letter_pixels * (chance.uniform(0.6, 0.9) if kind > 0.88 else chance.uniform(-0.05, 0.05))
        points += [
            (x + width * 0.3 + slant * high, base - high),
            (x + width * 0.45, base + low),
            (x + width, base - letter_pixels * 0.2),
        ]
        x += width
    return points


def digit(chance: random.Random, size: Size) -> Image.Image:
    """A single sign near a corner or an edge."""
    ink, pixels = Image.new("L", size), chance.randint(14, 44)
    place = chance.choice((0.03, 0.5, 0.93)), chance.choice((0.02, 0.95))
    at = (place[0] * size[0], place[1] * size[1] - pixels * (place[1] > 0.5) * 0.2)
    ImageDraw.Draw(ink).text(at, chance.choice("123456789x?a-"), fill=255, font=_font(pixels))
    return ink


def figure(chance: random.Random, size: Size) -> Image.Image:
    """A drawing of lines and circles with a few letters at its points, as geometry has."""
    ink = Image.new("L", size)
    pen = ImageDraw.Draw(ink)
    points = [(chance.uniform(0.1, 0.9) * size[0], chance.uniform(0.1, 0.9) * size[1]) for _ in range(chance.randint(3, 6))]
    pen.line([*points, points[0]], fill=255, width=3)
    for point in points:
        pen.text((point[0] + 8, point[1] + 8), chance.choice("ABCDEF"), fill=255, font=_font(36))
    if chance.random() < 0.5:
        pen.circle(points[0], chance.uniform(60, 300), outline=255, width=3)
    return ink


def sums(chance: random.Random, size: Size) -> Image.Image:
    """Sums in columns: digits below each other in squares, a line, a result."""
    ink, pitch = Image.new("L", size), chance.choice((40, 48, 56))
    pen, font = ImageDraw.Draw(ink), _font(round(pitch * 0.75))
    for column in range(chance.randint(1, 3)):
        for block in range(chance.randint(1, 4)):
            left, top, digits = 100 + column * 320, 120 + block * pitch * 6, chance.randint(2, 5)
            for row in range(4):
                for place in range(digits):
                    pen.text((left + place * pitch, top + (row + (row == 3) * 0.3) * pitch), str(chance.randrange(10)), 255, font)
            pen.line((left, top + 3.1 * pitch, left + digits * pitch, top + 3.1 * pitch), fill=255, width=3)
    return ink


def table(chance: random.Random, size: Size) -> Image.Image:
    """A table with a short word or a number in each cell."""
    ink, rows, columns = Image.new("L", size), chance.randint(4, 14), chance.randint(2, 6)
    pen, left, top = ImageDraw.Draw(ink), 80, 120
    width, height = (size[0] - 2 * left) / columns, chance.uniform(60, 100)
    for row in range(rows + 1):
        pen.line((left, top + row * height, left + columns * width, top + row * height), fill=255, width=2)
        for column in range(columns + 1):
            pen.line((left + column * width, top, left + column * width, top + rows * height), fill=255, width=2)
            if row < rows and column < columns:
                pen.text((left + column * width + 10, top + row * height + 14), chance.choice(WORDS)[:6], 255, _font(34))
    return ink


# Paper, and what a camera or a scanner makes of it


def plain(chance: random.Random, size: Size) -> Image.Image:
    return Image.new("L", size, chance.randint(236, 255))


def ruled(chance: random.Random, size: Size) -> Image.Image:
    paper, pitch, shade = plain(chance, size), chance.randint(44, 64), chance.randint(155, 220)
    for y in range(chance.randint(80, 160), size[1], pitch):
        ImageDraw.Draw(paper).line((0, y, size[0], y), fill=shade, width=chance.choice((1, 2)))
    return paper


def squared(chance: random.Random, size: Size) -> Image.Image:
    paper, pitch, shade = plain(chance, size), chance.choice((27, 40, 54)), chance.randint(165, 220)
    pen = ImageDraw.Draw(paper)
    for place in range(pitch // 2, max(size), pitch):
        pen.line((place, 0, place, size[1]), fill=shade, width=1)
        pen.line((0, place, size[0], place), fill=shade, width=1)
    return paper


def written(paper: Image.Image, ink: Image.Image, contrast: float) -> Image.Image:
    """Put ink on paper that is so many levels darker than it."""
    return ImageChops.subtract(paper, ink.point(lambda level: round(level / 255 * contrast)))


def camera(
    chance: random.Random, page: Image.Image, *, blur: float = 0.0, noise: float = 0.0, shadow: float = 0.0
) -> Image.Image:
    """Blur, a shadow from a random side, noise, a colour of the light, and the traces of JPEG."""
    page = page.filter(ImageFilter.GaussianBlur(blur)) if blur >= 0.4 else page
    if shadow:
        slope = Image.linear_gradient("L").rotate(90 * chance.randrange(4)).resize(page.size)
        page = ImageChops.multiply(page, slope.point(lambda level: round(255 - shadow + level / 255 * shadow)))
    if noise >= 0.5:
        page = ImageChops.add(page, _noise(chance, page.size, noise), 1, -128)
    target = BytesIO()
    _tinted(chance, page).save(target, "JPEG", quality=chance.choice((80, 90, 95)))
    return Image.open(target).convert("RGB")


def _tinted(chance: random.Random, page: Image.Image) -> Image.Image:
    return Image.merge("RGB", [page.point([round(level * tint) for level in range(256)]) for tint in _tint(chance)])


def _tint(chance: random.Random) -> tuple[float, float, float]:
    return chance.uniform(0.93, 1), chance.uniform(0.93, 1), chance.uniform(0.88, 1)


def _noise(chance: random.Random, size: Size, deviation: float) -> Image.Image:
    """Noise by seed, which Pillow's own is not. A block that was drawn once is repeated at random offsets."""
    block, noise = _noise_block(round(deviation * 2)), Image.new("L", size)
    for x in range(0, size[0], 256):
        for y in range(0, size[1], 256):
            noise.paste(ImageChops.offset(block, chance.randrange(256), chance.randrange(256)), (x, y))
    return noise


@cache
def _noise_block(half_levels: int) -> Image.Image:
    chance = random.Random(half_levels)
    return Image.frombytes("L", (256, 256), bytes(round(128 + chance.gauss(0, half_levels / 2)) for _ in range(65_536)))


# The kinds


def _blank(seed: int, draw: Callable[[random.Random, Size], Image.Image], noise: float = 0.0, shadow: float = 0.0) -> HardPage:
    chance = random.Random(seed)
    page = draw(chance, A4)
    seen = camera(chance, page, noise=noise, shadow=shadow * chance.random()) if noise else _tinted(chance, page)
    return HardPage(seen, is_written=False)


def _page(
    seed: int,
    *,
    contrast: tuple[float, float] = (90, 200),
    letter: tuple[float, float] = (14, 24),
    blur: tuple[float, float] = (0.0, 0.8),
    noise: tuple[float, float] = (0, 5),
    shadow: float = 60,
    lines: int | None = None,
    turned: tuple[int, ...] = (0,),
    draw: Callable[..., Image.Image] | None = None,
) -> HardPage:
    """A written page. `blur` is in letter heights, so that it says how much of a letter is left."""
    chance = random.Random(seed)
    height, degrees = chance.uniform(*letter), chance.choice(turned)
    size = A4 if degrees % 180 == 0 else (A4[1], A4[0])
    paper = chance.choice((plain, ruled, squared))(chance, size)
    hand = chance.choice((letters, scrawl))
    ink = draw(chance, size) if draw else hand(chance, size, height, lines)
    depth, deviation = chance.uniform(*contrast), chance.uniform(*blur) * height if draw is None else 0.0
    page, angle = written(paper, ink, depth), chance.choice((0.0, chance.uniform(-1.5, 1.5)))
    page = page.rotate(angle, Image.Resampling.BILINEAR, fillcolor=page.getpixel((1, 1))) if angle else page
    page = camera(chance, page, blur=deviation, noise=chance.uniform(*noise), shadow=shadow * chance.random())
    turn = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}.get(degrees)
    return HardPage(page if turn is None else page.transpose(turn), True, height, depth, deviation, degrees)


Kinds = Mapping[str, Callable[[int], HardPage]]

LEGIBLE: Final[Kinds] = {
    "written": partial(_page, blur=(0.0, 0.06)),
    "pencil": partial(_page, contrast=(28, 70), blur=(0.0, 0.06), noise=(0, 3)),
    "a little blurred": partial(_page, blur=(0.06, 0.12)),
    "small but legible": partial(_page, letter=(8, 10), blur=(0.0, 0.06), noise=(0, 3)),
    "large and soft": partial(_page, letter=(45, 80), blur=(0.06, 0.1)),
    "a few lines": partial(_page, lines=3, blur=(0.0, 0.06)),
    "figure": partial(_page, draw=figure),
    "sums": partial(_page, draw=sums),
    "table": partial(_page, draw=table),
}
FAINT: Final[Kinds] = {
    "faint": partial(_page, contrast=(7, 11), blur=(0.0, 0.05), noise=(0, 1), shadow=20),
    "faint digit": partial(_page, contrast=(10, 40), draw=digit, noise=(0, 2)),
    "digit": partial(_page, contrast=(60, 200), draw=digit),
    "barely there": partial(_page, contrast=(5, 7), lines=1, blur=(0.0, 0.03), noise=(0, 0.5), shadow=20),
    "barely a digit": partial(_page, contrast=(8, 16), draw=digit, noise=(0, 0), shadow=0),
}
BLANK: Final[Kinds] = {
    "white": partial(_blank, draw=lambda _, size: Image.new("L", size, 255)),
    "coloured": partial(_blank, draw=plain),
    "scanned": partial(_blank, draw=plain, noise=1.0, shadow=20),
    "photographed": partial(_blank, draw=plain, noise=4.0, shadow=80),
    "ruled": partial(_blank, draw=ruled, noise=1.0),
    "squared": partial(_blank, draw=squared, noise=1.0),
}
BLURRED: Final[Kinds] = {"blurred": partial(_page, blur=(0.32, 0.6), noise=(0, 3))}
SMALL: Final[Kinds] = {"small": partial(_page, letter=(3, 4.5), blur=(0.0, 0.06), noise=(0, 3))}
TURNED: Final[Kinds] = {
    "on its side": partial(_page, turned=(90, 270), blur=(0.0, 0.06)),
    "on its head": partial(_page, turned=(180,), blur=(0.0, 0.06)),
    "a few lines on their side": partial(_page, turned=(90, 270), lines=3, blur=(0.0, 0.06)),
}
KINDS: Final = {**LEGIBLE, **FAINT, **BLANK, **BLURRED, **SMALL, **TURNED}
