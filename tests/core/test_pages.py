"""Drawn pages: their text can be read back exactly, photos are stored as phones store them, and no character is left out."""

import io

import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from testkit.drawn_pages import draw_page, jpeg_bytes, pdf_bytes, png_bytes
from testkit.ollama_simulator.ocr import ocr_text

TEXT = "Größe: 3 · 4 = 12 cm² – „schön“ 🙂\nÄpfel & <Öl> übrig?\n"
SIZE = (560, 500)
DARK = 110  # darker than paper and rules, lighter than ink


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_pictures_contain_their_text() -> None:
    """The comment of both formats is the text, also after a picture was prepared for a model and saved as JPEG."""
    page = draw_page(TEXT, seed=1, size=SIZE)
    for content in (jpeg_bytes(page, TEXT), png_bytes(page, TEXT)):
        prepared, again = ImageOps.exif_transpose(opened(content)).convert("RGB").resize((280, 250)), io.BytesIO()
        prepared.save(again, "JPEG")
        assert opened(again.getvalue()).info["comment"] == TEXT.encode()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_photo_is_upright_after_its_exif_orientation(orientation: int) -> None:
    """The stored pixels are turned, and the EXIF orientation undoes it. A wrong turn differs by its ink, ten times as much."""
    page = draw_page(TEXT, seed=1, size=SIZE)
    photo = opened(jpeg_bytes(page, TEXT, exif_orientation=orientation))
    upright = ImageOps.exif_transpose(photo)
    assert (photo.size == upright.size) is (orientation in {1, 3})
    assert upright.width == page.width
    assert ImageStat.Stat(ImageChops.difference(upright.crop((0, 0, *SIZE)).convert("L"), page.convert("L"))).mean[0] < 2.5


@pytest.mark.parametrize("quality", [60, 90])
def test_the_text_is_read_after_the_picture_was_encoded_anew(quality: int) -> None:
    """As a worker does it, which passes no metadata on. So the simulator reads it in the pixels, of a turned photo too."""
    page = draw_page(TEXT, seed=1, size=SIZE)
    for content in (jpeg_bytes(page, TEXT, exif_orientation=6), png_bytes(page, TEXT)):
        again, upright = io.BytesIO(), ImageOps.exif_transpose(opened(content)).convert("RGB")
        upright.info = {}
        upright.save(again, "JPEG", quality=quality)
        assert "comment" not in opened(again.getvalue()).info
        assert ocr_text(again.getvalue()) == ocr_text(content) == TEXT


def test_a_pdf_has_one_a4_page_per_image() -> None:
    """Three images are three pages in portrait, in order."""
    document = pypdfium2.PdfDocument(pdf_bytes([draw_page("Seite\n" * lines, seed=1) for lines in (1, 8, 16)]))
    assert [tuple(map(round, page.get_size())) for page in document] == [(595, 833)] * 3
