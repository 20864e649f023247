"""Long pages, drawn so that each line of writing can be found again: its ink has a colour of its own, without soft edges."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
WHITE: Final[Colour] = (255, 255, 255)
NIGHT: Final[Colour] = (17, 20, 24)
BUBBLE: Final[Colour] = (214, 240, 200)
SQUARES: Final[Colour] = (196, 210, 228)
FRAME: Final[Colour] = (60, 60, 60)
WORDS: Final = (
    *("gestern", "quakte", "der", "Fuchs", "jäh", "übers", "Gymnasium,"),
    *("gänzlich", "ungefragt;", "Typ:", "Quäler", "(pfiffig)", "{gjpqy}"),
)


@dataclass(frozen=True, slots=True)
class Lines:
    """A page and the colours of its lines, or of the words of a board, in reading order."""

    picture: Image.Image
    inks: tuple[Colour, ...]


def ink_of(number: int, *, is_light: bool = False) -> Colour:
    """A colour for a line, dark for white paper or light for dark paper."""
    red, green, blue = number % 8 * 8, number // 8 % 8 * 8, number // 64 * 8
    return (255 - red, 255 - green, 255 - blue) if is_light else (red, green, blue)


@cache
def font(size_pixels: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_pixels)


def pen_on(picture: Image.Image) -> ImageDraw.ImageDraw:
    pen = ImageDraw.Draw(picture)
    pen.fontmode = "1"
    return pen


def sentence(number: int) -> str:
    chance = random.Random(number)
    return " ".join(chance.choice(WORDS) for _ in range(12))


def written(size: tuple[int, int], pitch: int, letters: int, *, paper: Colour = WHITE, tilt_degrees: float = 0.0) -> Lines:
    """A page full of lines at a distance of `pitch`, whose letters have a height of `letters`."""
    picture, inks = Image.new("RGB", size, paper), []
    pen = pen_on(picture)
    for number, top in enumerate(range(pitch, size[1] - 2 * pitch, pitch)):
        inks.append(ink_of(number, is_light=paper is NIGHT))
        pen.text((size[0] // 12, top), sentence(number)[: int(1.5 * size[0] / letters)], fill=inks[-1], font=font(letters))
    turned = picture.rotate(tilt_degrees, Image.Resampling.NEAREST, fillcolor=paper) if tilt_degrees else picture
    return Lines(turned, tuple(inks))


def screenshot() -> Lines:
    """A page of a reading app: 1080 × 12 000."""
    return written((1080, 12_000), 60, 42)


def dark_screenshot() -> Lines:
    return written((1080, 4500), 60, 42, paper=NIGHT)


def dense() -> Lines:
    """The lines are as close as their letters are high, so that no row of pixels is empty."""
    return written((1080, 4500), 46, 42)


def tilted() -> Lines:
    """A strip that was photographed at an angle: each row goes through several lines."""
    return written((1080, 4500), 64, 40, tilt_degrees=2.5)


def chat() -> Lines:
    """Speech bubbles of one to four lines, on both sides."""
    picture, inks, chance, top = Image.new("RGB", (1080, 6000), WHITE), list[Colour](), random.Random(1), 40
    pen = pen_on(picture)
    while top < 5600:
        rows, left = chance.randint(1, 4), chance.choice((30, 330))
        pen.rounded_rectangle((left, top, left + 720, top + rows * 56 + 40), 30, BUBBLE, outline=FRAME, width=3)
        for row in range(rows):
            inks.append(ink_of(len(inks)))
            pen.text((left + 30, top + 20 + row * 56), sentence(len(inks))[:30], fill=inks[-1], font=font(40))
        top += rows * 56 + 70
    return Lines(picture, tuple(inks))


def squared() -> Lines:
    """Squared paper, with letters on its lines."""
    page = written((1080, 4500), 62, 40)
    squares = Image.new("RGB", page.picture.size, WHITE)
    pen = ImageDraw.Draw(squares)
    for x in range(0, 1080, 31):
        pen.line(((x, 0), (x, 4500)), SQUARES, 2)
    for y in range(0, 4500, 31):
        pen.line(((0, y), (1080, y)), SQUARES, 2)
    return Lines(_over(squares, page.picture), page.inks)


def table() -> Lines:
    """Five columns with black frames from top to bottom, and a black line below each row."""
    page = written((1080, 4500), 62, 36)
    pen = ImageDraw.Draw(page.picture)
    for x in range(20, 1080, 208):
        pen.line(((x, 0), (x, 4500)), FRAME, 3)
    for y in range(56, 4500, 62):
        pen.line(((20, y), (1060, y)), FRAME, 2)
    return page


def receipt() -> Lines:
    """Narrow: 300 × 6000."""
    return written((300, 6000), 34, 22)


def board() -> Lines:
    """A panorama of a board: blocks of lines side by side, which lean to the right. Each word has a colour of its own."""
    picture, inks, chance, left = Image.new("RGB", (12_000, 1080), WHITE), list[Colour](), random.Random(4), 60
    pen = pen_on(picture)
    while left < 11_000:
        ends = []
        for row in range(12):
            ends.append(left + row * 12)
            for word in sentence(left + row).split()[:3]:
                inks.append(ink_of(len(inks)))
                pen.text((ends[-1], 60 + row * 80), word, fill=inks[-1], font=font(50))
                ends[-1] += round(pen.textlength(f"{word} ", font=font(50)))
        left = max(ends) - 60 + chance.randint(10, 40)
    return Lines(picture, tuple(inks))


def _over(paper: Image.Image, ink: Image.Image) -> Image.Image:
    """Put everything that is not white on another paper."""
    mask = ink.convert("L").point(lambda level: 255 if level < 128 else 0)
    merged = paper.copy()
    merged.paste(ink, mask=mask)
    return merged


LONG_PAGES: Final[dict[str, Callable[[], Lines]]] = {
    "screenshot": screenshot,
    "dark screenshot": dark_screenshot,
    "dense lines": dense,
    "tilted strip": tilted,
    "chat": chat,
    "squared paper": squared,
    "table": table,
    "receipt": receipt,
    "board": board,
}


def photo() -> Lines:
    """Lines over a photo, which leaves no empty place."""
    page = written((1080, 4500), 64, 42)
    grain = Image.effect_noise(page.picture.size, 90).point(lambda level: 128 + level // 2).convert("RGB")
    return Lines(_over(grain, page.picture), page.inks)
