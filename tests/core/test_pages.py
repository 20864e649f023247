"""The drawn pages: their exact text can be read, photos are stored turned, and equal seeds draw equal pages."""

import io
from collections.abc import Callable

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from testkit.drawn_pages import draw_page, jpeg_bytes, pdf_bytes, png_bytes

TEXT = "Größe: 3 · 4 = 12 cm² – „schön“ 🙂\nÄpfel & <Öl> übrig?\n"
SIZE = (560, 500)
DARK = 110  # darker than paper and rules, lighter than ink


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def saved_as_jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def ink_share(image: Image.Image, box: tuple[int, int, int, int]) -> float:
    return ImageStat.Stat(image.convert("L").crop(box).point([255 * (level < DARK) for level in range(256)])).mean[0]


def assert_same_picture(first: Image.Image, second: Image.Image) -> None:
    """Check that two pictures are equal except for JPEG losses. A wrong turn differs ten times as much."""
    assert first.size == second.size
    assert ImageStat.Stat(ImageChops.difference(first.convert("L"), second.convert("L"))).mean[0] < 2.5


def test_a_jpeg_contains_its_text() -> None:
    """The comment is the exact text as UTF-8, with umlauts, an emoji and the last line break."""
    assert opened(jpeg_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT)).info["comment"] == TEXT.encode()


def test_a_png_contains_its_text() -> None:
    """The iTXt chunk is the exact text, and Pillow reads it before the pixels."""
    assert opened(png_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT)).info["comment"] == TEXT


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_is_upright_after_its_exif_turn(orientation: int) -> None:
    """After the turn of its EXIF orientation the photo equals the drawn page."""
    page = draw_page(TEXT, seed=1, size=SIZE)
    photo = opened(jpeg_bytes(page, TEXT, exif_orientation=orientation))
    assert_same_picture(ImageOps.exif_transpose(photo), page)


def test_a_turned_jpeg_lies_on_its_side() -> None:
    """With orientation 6 the stored pixels are turned, so that a reader without EXIF support is detected."""
    photo = opened(jpeg_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT, exif_orientation=6))
    assert (photo.size, photo.getexif()[0x0112]) == ((500, 560), 6)


def test_an_orientation_that_mirrors_is_refused() -> None:
    """An orientation that phones do not use is an error."""
    with pytest.raises(ValueError, match="orientation 2"):
        jpeg_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT, exif_orientation=2)


@pytest.mark.parametrize("make", [jpeg_bytes, png_bytes])
def test_the_text_survives_turning_and_saving_anew(make: Callable[[Image.Image, str], bytes]) -> None:
    """The preparation for a model (decode, turn, reduce, save as JPEG) keeps the comment of both formats."""
    content = make(draw_page(TEXT, seed=1, size=SIZE), TEXT)
    prepared = ImageOps.exif_transpose(opened(content)).convert("RGB").resize((280, 250))
    assert opened(saved_as_jpeg(prepared)).info["comment"] == TEXT.encode()


def test_a_comment_beyond_the_marker_is_refused() -> None:
    """A JPEG comment has at most 65 533 bytes. A longer one is an error."""
    page = draw_page("", seed=1, size=SIZE)
    longest = "ä" * 32_766 + "a"
    assert opened(jpeg_bytes(page, longest)).info["comment"] == longest.encode()
    with pytest.raises(ValueError, match="65534 bytes"):
        jpeg_bytes(page, longest + "a")


def test_a_pdf_has_one_a4_page_per_image() -> None:
    """Three images are three pages in portrait, in order."""
    document = pypdfium2.PdfDocument(pdf_bytes([draw_page("Seite\n" * lines, seed=1) for lines in (1, 8, 16)]))
    assert [tuple(map(round, page.get_size())) for page in document] == [(595, 833)] * 3
    ink = [ink_share(page.render().to_pil(), (90, 40, 560, 833)) for page in document]
    assert ink == sorted(ink)
    assert ink[0] * 4 < ink[2]


def test_a_pdf_needs_a_page() -> None:
    """A PDF without an image is an error with a clear message."""
    with pytest.raises(ValueError, match="at least one page"):
        pdf_bytes([])


def test_equal_seeds_draw_equal_files() -> None:
    """The same text and seed give the same bytes in each format; another seed gives another page."""
    first, again, other = (draw_page(TEXT, seed=seed, size=SIZE) for seed in (7, 7, 8))
    assert jpeg_bytes(first, TEXT) == jpeg_bytes(again, TEXT) != jpeg_bytes(other, TEXT)
    assert png_bytes(first, TEXT) == png_bytes(again, TEXT) != png_bytes(other, TEXT)
    assert pdf_bytes([first, first]) == pdf_bytes([again, again]) != pdf_bytes([other, other])


@pytest.mark.parametrize(("plain", "umlaut"), ["aä", "oö", "uü", "AÄ", "OÖ", "UÜ"])
def test_umlauts_are_the_letter_and_two_dots(plain: str, umlaut: str) -> None:
    """The font has no umlauts, so they have more ink than the letter."""
    page, dotted = (draw_page(letter * 9, seed=3, size=SIZE) for letter in (plain, umlaut))
    assert ink_share(dotted, (90, 60, 420, 150)) > 1.02 * ink_share(page, (90, 60, 420, 150))


@pytest.mark.parametrize("character", "ß–„“→₂é¼")
def test_every_character_leaves_ink(character: str) -> None:
    """A character that the font lacks is replaced, not omitted."""
    assert ink_share(draw_page(character, seed=3, size=SIZE), (100, 60, 200, 150)) > 0.3


def test_an_unknown_character_is_a_question_mark() -> None:
    """An unknown character has as much ink as a question mark. The font's empty box has more."""
    unknown, known = (ink_share(draw_page(9 * character, seed=3, size=SIZE), (90, 60, 420, 150)) for character in "🙂?")
    assert unknown == pytest.approx(known, rel=0.1)


def test_text_beyond_the_paper_is_refused() -> None:
    """A page has 23 lines. A longer text is an error."""
    draw_page("Zeile\n" * 22, seed=1)
    with pytest.raises(ValueError, match="24 lines do not fit on a page of 23"):
        draw_page("Zeile\n" * 23, seed=1)


def test_long_lines_are_wrapped_inside_the_margin() -> None:
    """The last 20 pixels of the paper have no ink, also with long paragraphs."""
    page = draw_page("Wasser fließt immer bergab und nie bergauf. " * 10, seed=2)
    assert ink_share(page, (980, 0, 1000, 1400)) == 0
    assert ink_share(page, (800, 0, 980, 1400)) > 0.3
