"""The drawn pages: their text comes back exactly, they lie as a phone stores them, and equal seeds draw equal pages."""

import io
from collections.abc import Callable

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from testkit.drawn_pages import draw_page, jpeg_bytes, pdf_bytes, png_bytes

TEXT = "Größe: 3 · 4 = 12 cm² – „schön“ 🙂\nÄpfel & <Öl> übrig?\n"
SIZE = (560, 500)
DARK = 110  # below every paper, rule and shade, above the ink's core


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def saved_as_jpeg(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG")
    return out.getvalue()


def ink_share(image: Image.Image, box: tuple[int, int, int, int]) -> float:
    return ImageStat.Stat(image.convert("L").crop(box).point([255 * (level < DARK) for level in range(256)])).mean[0]


def assert_same_picture(first: Image.Image, second: Image.Image) -> None:
    """Equal but for what JPEG loses: a page turned wrongly differs by its ink, ten times as much."""
    assert first.size == second.size
    assert ImageStat.Stat(ImageChops.difference(first.convert("L"), second.convert("L"))).mean[0] < 2.5


def test_a_jpeg_gives_its_text_back() -> None:
    """The comment holds the text to the byte, as UTF-8, with umlauts, an emoji and the last line break."""
    assert opened(jpeg_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT)).info["comment"] == TEXT.encode()


def test_a_png_gives_its_text_back() -> None:
    """The iTXt chunk holds the text to the character, and Pillow finds it before the pixels are decoded."""
    assert opened(png_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT)).info["comment"] == TEXT


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_is_upright_for_whoever_obeys_exif(orientation: int) -> None:
    """Turned by its EXIF orientation the photo shows the page that was drawn."""
    page = draw_page(TEXT, seed=1, size=SIZE)
    photo = opened(jpeg_bytes(page, TEXT, exif_orientation=orientation))
    assert_same_picture(ImageOps.exif_transpose(photo), page)


def test_a_turned_jpeg_lies_on_its_side() -> None:
    """With orientation 6 the stored pixels themselves are turned, so that ignoring EXIF shows."""
    photo = opened(jpeg_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT, exif_orientation=6))
    assert (photo.size, photo.getexif()[0x0112]) == ((500, 560), 6)


def test_an_orientation_that_mirrors_is_refused() -> None:
    """Phones turn but do not mirror: a wrong number is an error and not a page left as it was."""
    with pytest.raises(ValueError, match="orientation 2"):
        jpeg_bytes(draw_page(TEXT, seed=1, size=SIZE), TEXT, exif_orientation=2)


@pytest.mark.parametrize("make", [jpeg_bytes, png_bytes])
def test_the_text_survives_turning_and_saving_anew(make: Callable[[Image.Image, str], bytes]) -> None:
    """What prepares an image for a model (decode, turn, reduce, save as JPEG) keeps the comment of both formats."""
    content = make(draw_page(TEXT, seed=1, size=SIZE), TEXT)
    prepared = ImageOps.exif_transpose(opened(content)).convert("RGB").resize((280, 250))
    assert opened(saved_as_jpeg(prepared)).info["comment"] == TEXT.encode()


def test_a_comment_beyond_the_marker_is_refused() -> None:
    """A JPEG comment ends at 65 533 bytes: one more is an error, counted in bytes and not in characters."""
    page = draw_page("", seed=1, size=SIZE)
    longest = "ä" * 32_766 + "a"
    assert opened(jpeg_bytes(page, longest)).info["comment"] == longest.encode()
    with pytest.raises(ValueError, match="65534 bytes"):
        jpeg_bytes(page, longest + "a")


def test_a_pdf_has_one_a4_page_per_image() -> None:
    """Three images are three pages in their order, in portrait, each with its own ink."""
    document = pypdfium2.PdfDocument(pdf_bytes([draw_page("Seite\n" * lines, seed=1) for lines in (1, 8, 16)]))
    assert [tuple(map(round, page.get_size())) for page in document] == [(595, 833)] * 3
    ink = [ink_share(page.render().to_pil(), (90, 40, 560, 833)) for page in document]
    assert ink == sorted(ink)
    assert ink[0] * 4 < ink[2]


def test_a_pdf_needs_a_page() -> None:
    """No image is an error with a reason and not Pillow's."""
    with pytest.raises(ValueError, match="at least one page"):
        pdf_bytes([])


def test_equal_seeds_draw_equal_files() -> None:
    """The same text and seed give the same bytes in each format; another seed gives another page."""
    first, again, other = (draw_page(TEXT, seed=seed, size=SIZE) for seed in (7, 7, 8))
    assert jpeg_bytes(first, TEXT) == jpeg_bytes(again, TEXT) != jpeg_bytes(other, TEXT)
    assert png_bytes(first, TEXT) == png_bytes(again, TEXT) != png_bytes(other, TEXT)
    assert pdf_bytes([first, first]) == pdf_bytes([again, again]) != pdf_bytes([other, other])


@pytest.mark.parametrize(("plain", "penned"), ["aä", "oö", "uü", "AÄ", "OÖ", "UÜ"])
def test_umlauts_are_the_letter_and_two_dots(plain: str, penned: str) -> None:
    """The font has no umlauts: above the letter's own ink there is more, and below it nothing is lost."""
    page, dotted = (draw_page(letter * 9, seed=3, size=SIZE) for letter in (plain, penned))
    assert ink_share(dotted, (90, 60, 420, 150)) > 1.02 * ink_share(page, (90, 60, 420, 150))


@pytest.mark.parametrize("character", "ß–„“→₂é¼")
def test_every_character_leaves_ink(character: str) -> None:
    """A character that the font lacks is penned or made plain, never left out."""
    assert ink_share(draw_page(character, seed=3, size=SIZE), (100, 60, 200, 150)) > 0.3


def test_an_unknown_character_is_a_question_mark() -> None:
    """What no pen knows has as much ink as a question mark; the font's own empty box has far more."""
    unknown, known = (ink_share(draw_page(9 * character, seed=3, size=SIZE), (90, 60, 420, 150)) for character in "🙂?")
    assert unknown == pytest.approx(known, rel=0.1)


def test_text_beyond_the_paper_is_refused() -> None:
    """A page holds 23 lines: one more is an error, not an end that is silently lost."""
    draw_page("Zeile\n" * 22, seed=1)
    with pytest.raises(ValueError, match="24 lines do not fit on a page of 23"):
        draw_page("Zeile\n" * 23, seed=1)


def test_long_lines_are_wrapped_inside_the_margin() -> None:
    """No ink stands in the last 20 pixels of the paper, however long the paragraph is."""
    page = draw_page("Wasser fließt immer bergab und nie bergauf. " * 10, seed=2)
    assert ink_share(page, (980, 0, 1000, 1400)) == 0
    assert ink_share(page, (800, 0, 980, 1400)) > 0.3
