"""Long pages are cut into pieces of legible size, between their lines."""

from functools import partial
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from testkit.inputs.files import encoded, read
from testkit.inputs.long_pages import LONG_PAGES, WHITE, Colour, Lines, dense, photo, screenshot, written
from worker.core.file_refusals import TooManyPages
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents.cutting import CELL_PIXELS, MAX_PIECES, LongPage, Piece, Seam, fitted, piece_count, seam_of
from worker.documents.decoder import decoding
from worker.documents.page import Note
from worker.documents.pages import MIN_SIDE_PIXELS, open_document

MAX_PAGES = 40
ORDINARY = {
    "A4": (1240, 1754),
    "A3 across": (2480, 1754),
    "letter": (1275, 1650),
    "photo of 12 megapixels": (3000, 4000),
    "slide": (3840, 2160),
    "phone 9:16": (1080, 1920),
    "phone 9:20": (1080, 2400),
    "phone 9:22": (1440, 3520),
    "open book": (4000, 2600),
    "a line of writing": (1600, 60),
    "strip without room for a line": (1, 40_000),
    "strip of 31 pixels": (64_000, 31),
}
CUT = {
    "screenshot": ((1080, 12_000), 9),
    "twice a screen": ((1080, 4800), 4),
    "PDF of 595 x 20 000 points": ((1240, 41_667), 26),
    "receipt": ((300, 6000), 4),
    "panorama": ((12_000, 1080), 6),
    "banner": ((9000, 200), 6),
}
sides = st.integers(1, 200_000)


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_page_is_left_whole(name: str) -> None:
    """Paper, slides, photos and screens of phones are one page, in both directions."""
    width, height = ORDINARY[name]
    assert (piece_count((width, height)), piece_count((height, width))) == (1, 1)


@pytest.mark.parametrize("name", CUT)
def test_a_long_page_has_a_number_of_pieces(name: str) -> None:
    """The number follows from the size."""
    size, count = CUT[name]
    assert piece_count(size) == count


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(1, 400), st.integers(1, 9000), st.booleans())
def test_no_piece_is_too_long(shorter: int, longer: int, is_wide: bool) -> None:
    """Whatever the size, and wherever the seams are, no piece exceeds the largest picture or is cut again."""
    size = (longer, shorter) if is_wide else (shorter, longer)
    pieces = cut(Lines(Image.effect_noise(size, 90), ()))
    assert len(pieces) == 1 or max(max(piece.picture.size) for piece in pieces) <= MAX_SIDE_PIXELS
    assert len(pieces) == 1 or {piece_count(piece.picture.size) for piece in pieces} == {1}


@given(sides, sides)
def test_a_cut_page_is_legible(width: int, height: int) -> None:
    """A piece keeps its width, or has as many pixels as a page of A4 has. A wide one is as high as a slide in landscape."""
    if piece_count((width, height)) > 1:
        least = 640 if width > height else 1060
        assert min(fitted((width, height), MAX_SIDE_PIXELS)) >= min(width, height, least) - 1


def test_half_a_pixel_of_legibility_is_not_gained_by_cutting() -> None:
    """A page that is just above the ratio, or just too long, is cut into two."""
    assert piece_count((1000, 2501)) == 2
    assert piece_count((400, 2134)) == 2
    assert piece_count((400, 2133)) == 1


def cut(page: Lines) -> list[Piece]:
    size = page.picture.size
    long_page = LongPage(page.picture.resize(fitted(size, MAX_SIDE_PIXELS), Image.Resampling.NEAREST), size)
    return [long_page.piece(number) for number in range(piece_count(size))]


def amounts(picture: Image.Image) -> dict[Colour, int]:
    """The number of pixels of each colour."""
    return {colour: count for count, colour in picture.getcolors(2**12) or []}  # type: ignore[misc]


def places(page: Lines, pieces: list[Piece]) -> list[list[int]]:
    """For each line the pieces that have all of its ink."""
    size = fitted(page.picture.size, MAX_SIDE_PIXELS)
    all_ink = amounts(page.picture.resize(size, Image.Resampling.NEAREST))
    found = [amounts(piece.picture) for piece in pieces]
    return [[number for number, ink in enumerate(found) if ink.get(colour) == all_ink[colour]] for colour in page.inks]


@pytest.mark.parametrize("name", [name for name in LONG_PAGES if name != "board"])
def test_every_line_is_whole_in_exactly_one_piece(name: str) -> None:
    """On each kind of page, no line is cut, missing or repeated, and the pieces have the lines in their order."""
    page = LONG_PAGES[name]()
    pieces = cut(page)
    found = places(page, pieces)
    assert [len(numbers) for numbers in found] == [1] * len(page.inks)
    assert found == sorted(found)
    assert not any(piece.overlaps for piece in pieces)
    assert max(max(piece.picture.size) for piece in pieces) <= MAX_SIDE_PIXELS


def test_words_of_a_board_are_whole() -> None:
    """A wide page is cut between its blocks, or else between words. One of a hundred may be cut. No ink is lost or twice."""
    page = LONG_PAGES["board"]()
    pieces = cut(page)
    found = places(page, pieces)
    assert sum(len(numbers) != 1 for numbers in found) <= len(page.inks) // 100
    assert {len(numbers) for numbers in found} <= {0, 1}
    whole = amounts(page.picture.resize(fitted(page.picture.size, MAX_SIDE_PIXELS), Image.Resampling.NEAREST))
    parts = [amounts(piece.picture) for piece in pieces]
    assert all(sum(part.get(colour, 0) for part in parts) == whole[colour] for colour in page.inks)


def test_pieces_of_a_photo_overlap() -> None:
    """Both pieces have what is near the cut if no place is empty. A line is in one of them or in both."""
    page = photo()
    pieces = cut(page)
    found = places(page, pieces)
    assert [piece.overlaps for piece in pieces] == [False] + [True] * (len(pieces) - 1)
    assert sum(not numbers for numbers in found) <= len(pieces)
    assert {len(numbers) for numbers in found} <= {0, 1, 2}
    assert sum(piece.picture.height for piece in pieces) > page.picture.height
    assert max(max(piece.picture.size) for piece in pieces) <= MAX_SIDE_PIXELS


def test_pieces_do_not_depend_on_their_order() -> None:
    """A document that is opened again at a later page, after a crash, has the same pieces."""
    content = encoded(screenshot().picture, "PNG", compress_level=1)
    whole = list(open_document(content, MAX_PAGES).pages)
    assert list(open_document(content, MAX_PAGES, first_page=6).pages) == whole[5:]


def test_a_long_page_goes_through_the_child() -> None:
    """The child sends the pieces as pages. All pages that continue the one before are known, also if only the last are wanted."""
    content = encoded(screenshot().picture, "JPEG")
    with decoding(lambda: content, MAX_PAGES, first_page=8) as document:
        assert document.continued == (False, *[True] * 8)
        pages = list(document)
    assert [page.notes for page in pages] == [(Note.CUT,)] * 2
    assert {read(page.picture).width for page in pages} == {1080}


def pdf_of(pictures: list[Image.Image], points: list[tuple[int, int]]) -> bytes:
    """A PDF of one picture for each page, of a size in points."""
    parts = [(picture, size[0] / 72) for picture, size in zip(pictures, points, strict=True)]
    target = BytesIO()
    first, *rest = [picture for picture, _ in parts]
    first.save(target, "PDF", save_all=True, append_images=rest, resolution=first.width / parts[0][1])
    return target.getvalue()


def test_a_pdf_exported_as_one_page_is_cut() -> None:
    """Of 595 x 20 000 points, every line comes once and in order, with the pixels of a page of A4, in the child's limits."""
    page = written((1071, 36_000), 60, 24)
    with decoding(lambda: pdf_of([page.picture], [(595, 20_000)]), MAX_PAGES, page_seconds=60.0) as document:
        pieces = [read(sent.picture) for sent in document]
    assert document.continued == (False, *[True] * 25)
    assert {piece.width for piece in pieces} <= set(range(1060, 1100))
    assert sum(map(line_count, pieces)) == len(page.inks)


def line_count(piece: Image.Image) -> int:
    """Count the lines by the rows that have ink."""
    dark = piece.convert("L").point(lambda level: 255 if level < 128 else 0).resize((1, piece.height), Image.Resampling.BOX)
    rows = [level > 0 for level in dark.tobytes()]
    near = [any(rows[max(0, at - 12) : at + 13]) for at in range(len(rows))]
    return sum(one and not before for before, one in zip([False, *near], near, strict=False))


def test_too_many_pieces_are_too_many_pages() -> None:
    """The pieces of all pages count, and a page has at most MAX_PIECES whatever the limit."""
    long = encoded(Image.new("L", (1080, 12_000)), "PNG")
    assert open_document(long, 9).total == 9
    for content, limit in ((long, 8), (encoded(Image.new("L", (400, 1600 * (MAX_PIECES + 1))), "PNG"), 200)):
        with pytest.raises(TooManyPages):
            open_document(content, limit)


def test_a_page_of_the_web_side_is_not_cut() -> None:
    """It is one page whatever its length, because the web side has counted the pages."""
    content = encoded(Image.new("L", (1080, 12_000)), "PNG")
    with decoding(lambda: content, max_pages=1, cuts_long_pages=False) as document:
        assert [read(page.picture).size for page in document] == [(144, MAX_SIDE_PIXELS)]


def test_a_piece_read_in_a_smaller_picture_is_not_cut_again() -> None:
    """A retry shows a page with shorter sides. The longest possible piece of each kind of page is left whole."""
    for name in ("screenshot", "receipt", "board"):
        for piece in cut(LONG_PAGES[name]()):
            content = encoded(piece.picture, "JPEG")
            with decoding(partial(bytes, content), max_pages=1, max_side_pixels=1120) as document:
                (page,) = document
            assert MIN_SIDE_PIXELS <= max(read(page.picture).size) <= 1120


def test_a_page_before_and_after_a_long_one() -> None:
    """Only the pieces after the first one of a page continue the page before."""
    target = BytesIO()
    pictures = [Image.new("L", size, 255) for size in ((800, 1100), (800, 4000), (800, 1100))]
    for picture in pictures:
        ImageDraw.Draw(picture).rectangle((100, 100, 200, 200), 0)
    pictures[0].save(target, "PDF", save_all=True, append_images=pictures[1:], resolution=100.0)
    assert open_document(target.getvalue(), MAX_PAGES).continued == (False, False, True, True, True, False)


def test_a_soft_pencil_is_ink() -> None:
    """Grey strokes without sharp edges, on grey paper with the noise of a camera, are avoided like black ones."""
    page = dense()
    soft = page.picture.convert("L").point(lambda level: 200 if level > 128 else 150).filter(ImageFilter.GaussianBlur(1))
    photographed = ImageChops.add(soft, Image.effect_noise(soft.size, 8), 1, -128)
    for top in range(500, 4000, 500):
        band = (0, top, soft.width, top + 216)
        upper, lower = sides_of(page.picture.crop(band), seam_of(photographed.crop(band), follows_lines=True))
        ink = amounts(page.picture.crop(band))
        assert all(upper.get(colour, 0) in {0, ink[colour]} for colour in page.inks if colour in ink)
        assert {*upper, *lower} - {WHITE} == {*ink} - {WHITE}


def sides_of(band: Image.Image, seam: Seam) -> tuple[dict[Colour, int], dict[Colour, int]]:
    """The amounts of ink above and below a seam."""
    mask = Image.new("L", band.size)
    pen = ImageDraw.Draw(mask)
    for column, row in enumerate(seam.rows):
        pen.rectangle((column * CELL_PIXELS, 0, column * CELL_PIXELS + CELL_PIXELS - 1, row - 1), 255)
    paper = Image.new("RGB", band.size, WHITE)
    return amounts(Image.composite(band, paper, mask)), amounts(Image.composite(paper, band, mask))
