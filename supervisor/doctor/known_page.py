"""A page of printed words that are known, and the comparison of a model's answer with them."""

import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from secrets import SystemRandom

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

WIDTH, HEIGHT = 1131, 1600  # A4 at the workers' longest side
WORDS_ON_A_PAGE, WORDS_IN_A_LINE = 24, 3
FONT_PIXELS, LINE_PIXELS, MARGIN_PIXELS = 64, 160, 110
LEAST_SHARE = 0.8  # of the words: a model that reads print has all of them
MOST_ADDED_SHARE = 0.5  # of the words: an introduction is tolerated, a description is not
# Ordinary words without umlauts, because Pillow's own font has none. No word is part of another one.
VOCABULARY = (
    *("Apfel", "Brief", "Dorf", "Esel", "Fenster", "Garten", "Hammer", "Insel", "Jacke", "Kamin", "Lampe", "Mantel", "Nadel"),
    *("Ofen", "Nagel", "Quelle", "Regen", "Schule", "Tafel", "Ufer", "Vogel", "Wolke", "Zebra", "Banane", "Distel", "Feder"),
    *("Gabel", "Kreide", "Leiter", "Muschel", "Orgel", "Pflaster", "Roller", "Spiegel", "Trommel", "Zucker"),
)


@dataclass(frozen=True, slots=True)
class KnownPage:
    """The picture as PNG, and its words in order."""

    picture: bytes
    words: tuple[str, ...]


class Reading(Enum):
    """NOTHING: no word at all. OTHER: too few of the words. ADDED: the words, and many others or the same again."""

    WHOLE = "whole"
    NOTHING = "nothing"
    OTHER = "other words"
    ADDED = "added words"


def draw() -> KnownPage:
    """Draw a page of random words, so that no model can guess them and no server has them in its cache.

    The words are also in a text chunk for a simulated model. A real one gets only the decoded picture.
    """
    words = tuple(SystemRandom().sample(VOCABULARY, WORDS_ON_A_PAGE))
    lines = [" ".join(words[start : start + WORDS_IN_A_LINE]) for start in range(0, len(words), WORDS_IN_A_LINE)]
    page = Image.new("L", (WIDTH, HEIGHT), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_PIXELS)
    for number, line in enumerate(lines):
        pen.text((MARGIN_PIXELS, MARGIN_PIXELS + number * LINE_PIXELS), line, fill=20, font=font)
    chunks, content = PngImagePlugin.PngInfo(), io.BytesIO()
    chunks.add_text("comment", "\n".join(lines))
    page.save(content, "PNG", pnginfo=chunks)
    return KnownPage(content.getvalue(), words)


def compare(words: Sequence[str], answer: str) -> Reading:
    """Compare by words, whatever their case, order, lines and marks of Markdown."""
    read, expected = Counter(re.findall(r"[^\W_]+", answer.casefold())), Counter(word.casefold() for word in words)
    if not read:
        return Reading.NOTHING
    if (read & expected).total() < LEAST_SHARE * len(words):
        return Reading.OTHER
    return Reading.ADDED if (read - expected).total() > MOST_ADDED_SHARE * len(words) else Reading.WHOLE
