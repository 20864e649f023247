"""Marks that tests draw on pages: read as long as a reader could see them, and not otherwise."""

from io import BytesIO

import pytest
from PIL import Image, ImageFilter

from testkit import drawn_marks
from testkit.drawn_marks import draw_mark, marks_in
from testkit.drawn_pages import draw_page

TEXT = "Marke0123abcd Seite 7, größer"


def page(*texts: str, cell_px: int = 6) -> Image.Image:
    drawn = draw_page("Drei mal vierzehn ist zweiundvierzig.", seed=7)
    for number, text in enumerate(texts):
        draw_mark(drawn, text, (300, 300 + 300 * number), cell_px=cell_px)
    return drawn


def encoded_again(picture: Image.Image) -> Image.Image:
    target = BytesIO()
    picture.save(target, "JPEG", quality=75)
    return Image.open(target)


@pytest.mark.parametrize("scale", [0.4, 0.57, 1.0, 1.5, 2.3])
def test_marks_are_read_at_any_scale(scale: float) -> None:
    drawn = page("one", TEXT, "three")
    scaled = drawn.resize((round(drawn.width * scale), round(drawn.height * scale)), Image.Resampling.BICUBIC)
    assert marks_in(encoded_again(scaled)) == ["one", TEXT, "three"]


def test_white_ink_is_read_on_dark_paper() -> None:
    drawn = Image.new("RGB", (800, 600), "black")
    draw_mark(drawn, TEXT, (100, 100), ink="white", paper=None)
    assert marks_in(encoded_again(drawn)) == [TEXT]


def test_two_marks_side_by_side_are_read_in_order() -> None:
    drawn = Image.new("RGB", (1000, 600), "white")
    draw_mark(drawn, "right", (500, 100))
    draw_mark(drawn, "left", (100, 100))
    assert marks_in(drawn) == ["left", "right"]


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270])
def test_a_mark_that_is_not_upright_is_not_read(turn: Image.Transpose) -> None:
    assert marks_in(page(TEXT).transpose(turn)) == []


@pytest.mark.parametrize("box", [(0, 0, 1000, 330), (0, 330, 1000, 1400), (0, 0, 400, 1400)])
def test_a_mark_that_is_cut_is_not_read(box: tuple[int, int, int, int]) -> None:
    assert marks_in(page(TEXT).crop(box)) == []


def test_a_blurred_page_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search gives up nearly every pair of dark bands early, so that a simulated model answers for a blurred page too."""
    whole_boxes: list[int] = []
    monkeypatch.setattr(drawn_marks, "_decoded", lambda bits: whole_boxes.append(len(bits)))
    blurred = draw_page("Drei mal vierzehn ist zweiundvierzig. " * 20, seed=7).filter(ImageFilter.GaussianBlur(12))
    marks_in(blurred)
    assert len(whole_boxes) < 100


def test_a_mark_that_is_too_small_is_not_read() -> None:
    """As on a long page that was shrunk until it was illegible."""
    drawn = page(TEXT)
    assert marks_in(drawn.resize((drawn.width // 8, drawn.height // 8))) == []


def test_a_page_without_a_mark_has_none() -> None:
    assert marks_in(page()) == []
