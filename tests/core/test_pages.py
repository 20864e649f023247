"""Drawn pages: their text can be read back exactly, photos are stored as phones store them, and no character is left out."""

import io

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from testkit.drawn_marks import marks_in
from testkit.drawn_pages import draw_page, jpeg_bytes, pdf_bytes, png_bytes, with_text

TEXT = "Größe: 3 · 4 = 12 cm² – „schön“ 🙂\nÄpfel & <Öl> übrig?\n"
SIZE = (560, 500)
DARK = 110  # darker than paper and rules, lighter than ink


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_pictures_contain_their_text() -> None:
    """The text of both formats is on the picture, also after it was prepared for a model and saved as JPEG."""
    page = draw_page(TEXT, seed=1, size=SIZE)
    for content in (jpeg_bytes(page, TEXT), png_bytes(page, TEXT)):
        prepared, again = ImageOps.exif_transpose(opened(content)).convert("RGB").resize((280, 250)), io.BytesIO()
        prepared.save(again, "JPEG")
        assert marks_in(opened(again.getvalue())) == [TEXT]


@pytest.mark.parametrize(("orientation", "size"), [(1, SIZE), (3, SIZE), (6, SIZE[::-1]), (8, SIZE[::-1])])
def test_a_photo_is_upright_after_its_exif_orientation(orientation: int, size: tuple[int, int]) -> None:
    """The stored pixels are turned, and the EXIF orientation undoes it. A wrong turn differs by its ink, ten times as much."""
    page = with_text(draw_page(TEXT, seed=1, size=SIZE), TEXT)
    photo = opened(jpeg_bytes(page, TEXT, exif_orientation=orientation))
    upright = ImageOps.exif_transpose(photo)
    assert (photo.size, upright.size) == (size, SIZE)
    assert ImageStat.Stat(ImageChops.difference(upright.convert("L"), page.convert("L"))).mean[0] < 2.5


def test_a_pdf_has_one_a4_page_per_image() -> None:
    """Three images are three pages in portrait, in order."""
    document = pypdfium2.PdfDocument(pdf_bytes([draw_page("Seite\n" * lines, seed=1) for lines in (1, 8, 16)]))
    assert [tuple(map(round, page.get_size())) for page in document] == [(595, 833)] * 3
