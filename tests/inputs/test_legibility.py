"""Pages are judged by their picture: blank ones need no model, and bad ones are noted."""

import itertools
from io import BytesIO

import pytest
from PIL import Image, ImageDraw

from testkit.inputs.files import encoded
from testkit.inputs.hard_pages import A4, BLANK, BLURRED, FAINT, KINDS, LEGIBLE, SMALL, TURNED
from worker.documents.decoder import decoding
from worker.documents.legibility import is_blank, notes_of
from worker.documents.page import Note, Page

SEEDS = range(500, 506)
WRITTEN = {**LEGIBLE, **FAINT, **BLURRED, **SMALL, **TURNED}


@pytest.mark.parametrize("kind", WRITTEN)
def test_no_written_page_is_blank(kind: str) -> None:
    """Pencil, pale ink, one digit in a corner, blurred and tiny writing are sent to the model."""
    assert [seed for seed in SEEDS if is_blank(WRITTEN[kind](seed).picture)] == []


@pytest.mark.parametrize("kind", ["white", "coloured", "scanned"])
def test_plain_paper_is_blank(kind: str) -> None:
    """Paper of any colour is blank, also with the grain of a scan."""
    assert [notes_of(BLANK[kind](seed).picture) for seed in SEEDS] == [(Note.BLANK,)] * len(SEEDS)


@pytest.mark.parametrize("kind", ["photographed", "ruled", "squared"])
def test_paper_with_anything_on_it_is_sent(kind: str) -> None:
    """Rules, noise and shadows may hide pencil, so the model is asked."""
    assert not any(is_blank(BLANK[kind](seed).picture) for seed in SEEDS)


BAD = [("faint", Note.LOW_CONTRAST), ("blurred", Note.BLURRED), ("small", Note.SMALL)]


@pytest.mark.parametrize(("kind", "note"), BAD)
def test_bad_pages_are_noted(kind: str, note: Note) -> None:
    """Most pale, blurred and tiny pages have their note. The bench counts them."""
    noted = [note in notes_of(KINDS[kind](seed).picture) for seed in range(1, 9)]
    assert sum(noted) * 2 >= len(noted)


@pytest.mark.parametrize("kind", ["written", "pencil", "a few lines", "figure", "sums", "table", "on its side"])
def test_legible_pages_have_no_note(kind: str) -> None:
    """Writing, pencil, drawings, sums and tables cause no doubt."""
    assert [notes_of(KINDS[kind](seed).picture) for seed in SEEDS] == [()] * len(SEEDS)


DOTS = list(itertools.product([(0, 0), (1120, 1590), (560, 800)], [(4, 30), (4, 200), (10, 12)]))


@pytest.mark.parametrize(("place", "dot"), DOTS)
def test_a_dot_is_enough(place: tuple[int, int], dot: tuple[int, int]) -> None:
    """A full stop anywhere, or a spot of faint pencil, is no blank page, lighter or darker than its paper."""
    size, levels = dot
    for paper, ink in ((250, 250 - levels), (40, 40 + levels)):
        page = Image.new("L", A4, paper)
        ImageDraw.Draw(page).rectangle((*place, place[0] + size, place[1] + size), fill=ink)
        assert not is_blank(page)


def test_a_thin_dash_is_enough() -> None:
    """A faint dash of one point's height is no blank page."""
    page = Image.new("L", A4, 250)
    ImageDraw.Draw(page).line((60, 40, 64, 40), fill=242)
    assert not is_blank(page)


def test_a_colour_of_equal_lightness_is_enough() -> None:
    """Writing that only its colour tells from the paper is seen."""
    page = Image.new("RGB", A4, (230, 230, 230))
    ImageDraw.Draw(page).line((300, 300, 420, 360), fill=(240, 226, 226), width=3)
    assert not is_blank(page)


def test_a_soft_wash_is_enough() -> None:
    """A soft area without any edge, as of chalk or watercolour, is no blank page."""
    wash = Image.radial_gradient("L").resize((700, 700)).point(lambda level: 255 - max(0, 60 - level // 2))
    page = Image.new("L", A4, 255)
    page.paste(wash, (200, 400))
    assert not is_blank(page)


@pytest.mark.parametrize("size", [(1, 1), (3, 1600), (33, 40), (1600, 5)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_smallest_pictures_are_judged(mode: str, size: tuple[int, int]) -> None:
    """A picture of any size is judged without an error."""
    assert notes_of(Image.new(mode, size, "white")) == (Note.BLANK,)
    page = Image.new(mode, size, "white")
    page.putpixel((0, 0), 0 if mode == "L" else (0, 0, 0))
    notes_of(page)


def decoded(picture: Image.Image) -> Page:
    content = encoded(picture, "PNG")
    with decoding(lambda: content, max_pages=1) as document:
        return next(iter(document))


def test_a_blank_page_comes_with_its_text() -> None:
    """The decoder's child sends a blank page with an empty text, so no model is asked, and with its picture and its code."""
    page = decoded(Image.new("RGB", (600, 800), (240, 250, 240)))
    assert (page.text, page.notes) == ("", (Note.BLANK,))
    assert Image.open(BytesIO(page.picture)).size == (600, 800)


def test_a_bad_page_comes_with_its_note() -> None:
    """The decoder's child notes a blurred page, and the model is asked about it."""
    page = decoded(BLURRED["blurred"](4).picture)
    assert (page.text, page.notes) == (None, (Note.BLURRED,))
