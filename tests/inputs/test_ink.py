"""Blank and written pages are told apart by their picture."""

import io
import random
import time
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops, ImageDraw, ImageFont

from testkit.drawn_pages import draw_page
from worker.documents import ink
from worker.documents.ink import Ink, ink_in, ink_of

A4 = (1131, 1600)
Colour = tuple[int, int, int]
PAPER, RULE = (250, 250, 250), (190, 200, 220)


def squared(turn_degrees: float) -> Image.Image:
    """Squared paper as a scanner sees it."""
    paper = Image.new("RGB", A4, PAPER)
    pen = ImageDraw.Draw(paper)
    for place in range(0, 1600, 40):
        pen.line(((place, 0), (place, 1600)), fill=RULE, width=2)
        pen.line(((0, place), (1600, place)), fill=RULE, width=2)
    return paper.rotate(turn_degrees, Image.Resampling.BILINEAR, fillcolor=PAPER)


def dusty() -> Image.Image:
    paper, chance = Image.new("L", A4, 250), random.Random(1)
    for _ in range(30):
        x, y = chance.randrange(A4[0]), chance.randrange(A4[1])
        ImageDraw.Draw(paper).ellipse((x, y, x + 1, y + 1), fill=60)
    return paper


def on_a_desk() -> Image.Image:
    """A photo of a blank sheet on a dark desk."""
    desk = Image.new("L", A4, 90)
    desk.paste(240, (80, 100, 1050, 1500))
    return desk.rotate(1.5, Image.Resampling.BILINEAR, fillcolor=90)


def noisy() -> Image.Image:
    return ImageChops.add(Image.new("L", A4, 230), Image.effect_noise(A4, 6), 1, -128)


def shadowed() -> Image.Image:
    return Image.linear_gradient("L").resize(A4).point(lambda level: 150 + level // 3)


def pencil() -> Image.Image:
    return draw_page("Mit Bleistift", seed=3).convert("L").point(lambda level: 205 if level < 140 else 235)


def drawn_on(text: str, ink: Colour, paper: Colour, letter_pixels: int = 40) -> Image.Image:
    page = Image.new("RGB", A4, paper)
    ImageDraw.Draw(page).text((300, 300), text, fill=ink, font=ImageFont.load_default(letter_pixels))
    return page


PAGES: dict[str, tuple[Callable[[], Image.Image], Ink]] = {
    "white": (lambda: Image.new("L", A4, 255), Ink.NONE),
    "coloured": (lambda: Image.new("RGB", A4, (250, 240, 180)), Ink.NONE),
    "in a shadow": (shadowed, Ink.NONE),
    "noise": (noisy, Ink.LITTLE),
    "ruled": (lambda: draw_page("", seed=1), Ink.LITTLE),
    "ruled, turned": (lambda: draw_page("", seed=2, size=(1600, 1600)), Ink.LITTLE),
    "squared": (lambda: squared(0), Ink.LITTLE),
    "squared, turned": (lambda: squared(2), Ink.LITTLE),
    "dust": (dusty, Ink.LITTLE),
    "on a desk": (on_a_desk, Ink.LITTLE),
    "a digit": (lambda: draw_page("7", seed=1), Ink.WRITTEN),
    "a word": (lambda: draw_page("Ja.", seed=2), Ink.WRITTEN),
    "a word on squares": (lambda: ImageChops.darker(squared(1), draw_page("Ja.", seed=1, size=A4)), Ink.WRITTEN),
    "pencil": (pencil, Ink.WRITTEN),
    "pale yellow": (lambda: drawn_on("x = 12", (255, 255, 190), (255, 255, 255)), Ink.LITTLE),
    "red on green of one lightness": (lambda: drawn_on("x = 12", (200, 40, 40), (0, 109, 0)), Ink.LITTLE),
    "a small digit in chalk": (lambda: drawn_on("1", (255, 255, 255), (0, 0, 0), 16), Ink.LITTLE),
    "a minus": (lambda: drawn_on("-", (0, 0, 0), (255, 255, 255), 16), Ink.LITTLE),
    "a full page": (lambda: draw_page("Der Fuchs läuft durch den Wald. " * 20, seed=1), Ink.WRITTEN),
}


@pytest.mark.parametrize(("draw", "expected"), PAGES.values(), ids=PAGES.keys())
def test_ink(draw: Callable[[], Image.Image], expected: Ink) -> None:
    """Paper, its rules, shadows and dust are not written. A digit and pencil are, also as JPEG and in a child process."""
    page, encoded = draw(), io.BytesIO()
    page.convert("RGB").save(encoded, "JPEG", quality=85)
    assert (ink_of(page), ink_in(encoded.getvalue())) == (expected, expected)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"no picture"])
def test_a_picture_that_cannot_be_examined_is_written(content: bytes) -> None:
    """No page counts as blank because its examination failed."""
    assert ink_in(content) is Ink.WRITTEN


def test_a_page_is_written_if_no_child_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free process the page is not blank."""

    def full(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr("os.fork", full)
    encoded = io.BytesIO()
    Image.new("L", A4, 255).save(encoded, "PNG")
    assert ink_in(encoded.getvalue()) is Ink.WRITTEN


def test_an_examination_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child without an answer is killed, and the page is written."""
    monkeypatch.setattr(ink, "INK_SECONDS", 0.1)
    monkeypatch.setattr(ink, "_send_ink", lambda *_: time.sleep(60))
    assert ink_in(b"") is Ink.WRITTEN
