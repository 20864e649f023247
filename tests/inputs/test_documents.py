"""Decoding of each kind of file, without a child process. test_decoder.py has the tests of the child."""

import struct
import warnings
import zlib

import pytest
from PIL import Image, ImageChops, ImageOps, PngImagePlugin

from testkit.inputs.files import ENCRYPTED, encoded, noise, pdf, read
from worker.core.file_refusals import (
    DocumentLocked,
    FileCutOff,
    FileDamaged,
    FileEmpty,
    FileRefused,
    FileTooLarge,
    NotADocument,
    TooManyPages,
)
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents.pages import MIN_SIDE_PIXELS, open_document

WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255)
ORIENTATION = 0x0112
MAX_PAGES = 20
Colour = float | tuple[float, ...]
ORIENTATION_IN_WORDS = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04top\0\0\0\0\0"


def pages(content: bytes, first_page: int = 1) -> list[bytes]:
    return [page.picture for page in open_document(content, MAX_PAGES, first_page).pages]


def only(content: bytes) -> Image.Image:
    (page,) = pages(content)
    return read(page)


def is_close(seen: object, meant: tuple[int, ...]) -> bool:
    """Compare two colours with a tolerance, because JPEG changes a colour a little."""
    values = seen if isinstance(seen, tuple) else (seen,) * len(meant)
    return all(abs(a - b) <= 8 for a, b in zip(values, meant, strict=True))


def halves(mode: str, left: Colour, right: Colour) -> Image.Image:
    picture = Image.new(mode, (64, 32), left)
    picture.paste(right, (32, 0, 64, 32))
    return picture


def _png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header claims a size, for a rejection before a pixel is decoded."""
    header = b"IHDR" + struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0)
    small = encoded(Image.new("RGB", (1, 1)), "PNG")
    return small[:12] + header + struct.pack("!I", zlib.crc32(header)) + small[33:]


def _png_of_16_bits() -> bytes:
    """4 × 4 pixels of red. Pillow writes no such file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack("!I", len(body)) + kind + body + struct.pack("!I", zlib.crc32(kind + body))

    rows = (b"\0" + b"\xff\xff\0\0\0\0" * 4) * 4
    header = chunk(b"IHDR", struct.pack("!IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _png_with_packed_text() -> bytes:
    """Text that is far longer than its compressed chunk."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("note", "a" * 5_000_000, zip=True)
    return encoded(Image.new("L", (4, 4)), "PNG", pnginfo=chunks)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_fitting_picture_is_encoded_anew(kind: str, mode: str) -> None:
    """The model's own decoder sees what was seen here, and no metadata, such as a place, leaves: the picture looks the same."""
    picture = ImageOps.grayscale(Image.linear_gradient("L").resize((1600, 1200))).convert(mode)
    exif = Image.Exif()
    exif[0x010E] = "Anna, 48.1 N 11.6 E"
    content = encoded(picture, kind, exif=exif)
    (page,) = pages(content)
    assert page.startswith(b"\xff\xd8\xff")
    assert (b"Anna" in content, b"Anna" in page) == (True, False)
    assert read(page).size == picture.size
    assert max(ImageChops.difference(read(page).convert("L"), picture.convert("L")).histogram()[16:]) == 0


@pytest.mark.parametrize("size", [(1601, 40), (4000, 3000), (2000, 5000)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_large_picture_becomes_1600_pixels_long(kind: str, size: tuple[int, int]) -> None:
    """It is not larger, nor smaller because of the decoder's reduction, and the sides keep their ratio."""
    page = only(encoded(noise(*size), kind, compress_level=1))
    assert max(page.size) == MAX_SIDE_PIXELS
    assert abs(page.width * size[1] - page.height * size[0]) <= max(size)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    ("size", "becomes"), [((1, 1), (32, 32)), ((31, 800), (32, 800)), ((64_000, 30), (1600, 32)), ((1, 40_000), (32, 1600))]
)
def test_a_narrow_picture_is_padded_with_white(kind: str, mode: str, size: tuple[int, int], becomes: tuple[int, int]) -> None:
    """No side is too short for a model's engine, or too short for the other side. The picture itself is unchanged."""
    page = only(encoded(Image.new(mode, size, "black"), kind))
    ink = page.convert("L").getpixel((0, 0)), page.convert("L").getpixel((becomes[0] - 1, becomes[1] - 1))
    assert page.size == becomes
    assert ink[0] == pytest.approx(0, abs=60)
    assert ink[1] == pytest.approx(255, abs=60)


def test_a_narrow_page_of_a_pdf_is_padded_with_white() -> None:
    """As a picture is."""
    (page,) = pages(pdf(media_box="0 0 842 1"))
    assert read(page).size == (1600, MIN_SIDE_PIXELS)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_turned_photo_becomes_upright(orientation: int) -> None:
    """Each EXIF orientation is undone as Pillow's own function does it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    picture = Image.new("RGB", (60, 40), WHITE)
    picture.paste(RED, (0, 0, 30, 20))
    picture.paste(BLUE, (30, 0, 60, 20))
    content = encoded(picture, "PNG", exif=exif)
    seen, meant = only(content), ImageOps.exif_transpose(read(content))
    assert seen.size == meant.size
    for x in (seen.width // 4, seen.width * 3 // 4):
        for y in (seen.height // 4, seen.height * 3 // 4):
            assert is_close(seen.getpixel((x, y)), meant.getpixel((x, y)))  # type: ignore[arg-type]


def test_a_photo_with_broken_exif_is_read() -> None:
    """Broken EXIF data of a camera does not make the picture corrupt."""
    content = encoded(noise(60, 40), "JPEG", exif=ORIENTATION_IN_WORDS)
    assert only(content).size == (60, 40)


def black_beside_nothing(mode: str) -> bytes:
    if mode != "P":
        return encoded(halves("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)).convert(mode), "PNG")
    picture = halves("P", 0, 1)
    picture.putpalette([0] * 6)
    return encoded(picture, "PNG", transparency=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_black_ink_on_transparency_stays_readable(mode: str) -> None:
    """In every mode with transparency, transparent parts become white and ink stays black."""
    page = only(black_beside_nothing(mode))
    assert is_close(page.getpixel((16, 16)), BLACK)
    assert is_close(page.getpixel((56, 16)), WHITE)


def test_half_transparent_ink_is_mixed_with_the_paper() -> None:
    """A soft edge stays soft and gets no black or white fringe."""
    assert is_close(only(encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 128)), "PNG")).getpixel((16, 16)), (127, 127, 127))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_colour_declared_transparent_is_paper(mode: str) -> None:
    """PNG's transparent colour, without an alpha channel, is transparent too."""
    black, grey = ((0, 0, 0), (90, 90, 90)) if mode == "RGB" else (0, 90)
    page = only(encoded(halves(mode, black, grey), "PNG", transparency=black))
    assert is_close(page.getpixel((16, 16)), WHITE)
    assert is_close(page.getpixel((48, 16)), (90, 90, 90))


def test_16_bits_are_scaled_and_not_clipped() -> None:
    """A grey of 16 bits keeps its place between black and white."""
    page = only(encoded(halves("I;16", 30000, 65535), "PNG"))
    assert page.mode == "L"
    assert is_close(page.getpixel((16, 16)), (116,))
    assert is_close(page.getpixel((56, 16)), (255,))


def test_a_colour_picture_of_16_bits_becomes_one_of_8() -> None:
    """It is converted, because some models' image decoders cannot read it."""
    content = _png_of_16_bits()
    (page,) = pages(content)
    assert page != content
    assert is_close(read(page).getpixel((1, 1)), RED)


def test_cmyk_becomes_rgb() -> None:
    """Red in ink becomes red on the screen, and not its negative."""
    page = only(encoded(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "JPEG"))
    assert page.mode == "RGB"
    assert is_close(page.getpixel((16, 16)), RED)


@pytest.mark.parametrize("mode", ["1", "P"])
def test_scans_of_few_colours_are_read(mode: str) -> None:
    """With one bit per pixel or a palette, black and white stay so."""
    picture = halves(mode, 0, 1)
    if mode == "P":
        picture.putpalette([0, 0, 0, 255, 255, 255])
    page = only(encoded(picture, "PNG"))
    assert page.mode in {"RGB", "L"}
    assert is_close(page.getpixel((8, 16)), BLACK if page.mode == "RGB" else (0,))
    assert is_close(page.getpixel((56, 16)), WHITE if page.mode == "RGB" else (255,))


def test_the_first_of_several_pictures_is_read() -> None:
    """A phone's file with a second picture in it is read like any JPEG."""
    content = encoded(noise(60, 40), "MPO", save_all=True, append_images=[noise(60, 40)])
    assert only(content).size == (60, 40)


def test_an_ordinary_photo_of_24_megapixels_is_read() -> None:
    """The limit is above the photos of phones."""
    assert only(encoded(Image.new("L", (6000, 4000)), "JPEG")).size == (1600, 1067)


def test_text_that_is_far_longer_than_its_chunk_is_not_unpacked() -> None:
    """The picture beside it is read."""
    assert only(_png_with_packed_text()).size == (32, 32)


def test_a_large_picture_raises_no_warning() -> None:
    """It is rejected by its header. Pillow's warnings are not issued, because the child has no stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert refusal_of(_png_of_size(20_000, 10_000)) is FileTooLarge
    assert caught == []


def test_a_pdf_is_rendered_page_by_page() -> None:
    """Each page is made when it is requested, from the first wanted one on."""
    document = open_document(pdf(3), MAX_PAGES, first_page=2)
    assert document.total == 3
    assert [read(page.picture).size for page in document.pages] == [(1131, 1600)] * 2


def test_a_pdf_of_the_most_pages_is_read() -> None:
    """The limit itself is allowed."""
    assert len(pages(pdf(MAX_PAGES))) == MAX_PAGES


@pytest.mark.parametrize("media_box", ["0 0 1e9 1e9", "0 0 14400 10", "-500 -500 100000 20000", "0 0 1161 842"])
def test_a_page_of_extreme_size_is_scaled(media_box: str) -> None:
    """No page and no piece of one is rendered larger than 1600 pixels, whatever its declared size."""
    sizes = [max(read(page).size) for page in pages(pdf(media_box=media_box))]
    assert 1200 <= min(sizes) <= max(sizes) <= MAX_SIDE_PIXELS


@pytest.mark.parametrize("media_box", ["0 0 0 0", "0 0 0 842", "0 0 1e39 1e39", "none", "0 0 0.001 842", "0 0 -5 -5"])
def test_a_page_without_a_size_is_rendered(media_box: str) -> None:
    """Any page box yields a page of at most 1600 pixels."""
    (page,) = pages(pdf(media_box=media_box))
    assert max(read(page).size) <= MAX_SIDE_PIXELS


def test_text_in_form_fields_is_shown() -> None:
    """The fields of a worksheet are part of the page."""
    (page,) = pages(pdf(media_box="0 0 200 200", has_field=True))
    assert is_close(read(page).getpixel((208, 208)), BLACK)


def test_a_pdf_without_its_index_is_still_read() -> None:
    """A broken cross-reference table is repaired."""
    assert len(pages(pdf(2).replace(b"startxref", b"startnone"))) == 2


JPEG, PNG = encoded(noise(400, 300), "JPEG"), encoded(noise(400, 300), "PNG")
REFUSED = {
    "truncated JPEG": (JPEG[: len(JPEG) // 2], FileCutOff),
    "truncated PNG": (PNG[: len(PNG) // 2], FileCutOff),
    "truncated PDF": (pdf()[:60], FileDamaged),
    "nothing but a JPEG's beginning": (JPEG[:20] + b"\xaa" * 500, FileDamaged),
    "nothing but a PNG's beginning": (PNG[:8] + b"\xaa" * 500, FileDamaged),
    "nothing but a PDF's beginning": (b"%PDF-1.7\n" + b"\xaa" * 500, FileDamaged),
    "no bytes": (b"", FileEmpty),
    "PDF without pages": (pdf(0), FileDamaged),
    "picture of 200 megapixels": (_png_of_size(20_000, 10_000), FileTooLarge),
    "picture of 4 gigapixels": (_png_of_size(65_535, 65_535), FileTooLarge),
    "PDF of 500 pages": (pdf(500), TooManyPages),
    "panorama of 64 000 pixels": (encoded(Image.new("L", (64_000, 300)), "PNG"), TooManyPages),
    "PDF with a password": (pdf(trailer=ENCRYPTED), DocumentLocked),
    "archive": (b"PK\x03\x04" + bytes(100), NotADocument),
}


def refusal_of(content: bytes) -> type[FileRefused]:
    with pytest.raises(FileRefused) as refused:
        pages(content)
    return refused.type


@pytest.mark.parametrize("name", REFUSED)
def test_every_unreadable_file_has_a_reason(name: str) -> None:
    """Each kind of unreadable file has the reason that explains to the pupil what to do."""
    content, refusal = REFUSED[name]
    assert refusal_of(content) is refusal


def test_an_error_quotes_no_decoder() -> None:
    """Messages of decoders may contain parts of the file."""
    with pytest.raises(FileRefused) as refused:
        pages(PNG[: len(PNG) // 2])
    assert str(refused.value) == "no page can be decoded"
    assert refused.value.__cause__ is refused.value.__context__ is None
