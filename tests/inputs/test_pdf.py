"""PDFs whose pages a simple viewer shows wrongly or not at all: what is drawn, where, and what is noted or refused.

Pages have 200 points and become 417 pixels, so a point has 2.08 pixels.
"""

import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from testkit.inputs import files, odd_pdfs, photos
from testkit.inputs.pdf_objects import packed, stream
from tests.inputs.alarm import alarmed
from tests.inputs.file_notes import file_notes
from worker.core.file_refusals import FileDamaged, FileRefused, FileTooLarge, FormNotPrinted, NotADocument
from worker.core.page_size import MAX_SIDE_PIXELS
from worker.documents import decoder, sandbox
from worker.documents.decoder import Decoding, _file_bytes, _send_document, decoding
from worker.documents.page import Note, Page
from worker.documents.pages import open_document
from worker.documents.pdf import host_fonts

POINT = 417 / 200
MAX_PAGES = 20
FAR_SECONDS = 60.0
MEBIBYTE = 2**20
WHITE, BLACK, RED, GREEN, YELLOW = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (255, 255, 0)
FORM = b"/AcroForm<</Fields[5 0 R]" + odd_pdfs.FONTS + b">>"
FORM_WITHOUT_FONT = b"/AcroForm<</Fields[]>>"
LINE = b"/Subtype/Line/Rect[20 20 180 180]/L[30 30 170 170]/C[1 0 0]/BS<</W 6>>"
BOX = b"/Subtype/FreeText/Rect[20 100 180 180]/Contents(Hallo Welt)/DA(/Helv 24 Tf 1 0 0 rg)"
FIELD = b"/Subtype/Widget/FT/Tx/T(a)/V(Hallo)/DA(/Helv 24 Tf 1 0 0 rg)/Rect[20 100 180 180]"
TICK = b"/Subtype/Widget/FT/Btn/T(a)/V/Yes/AS/Yes/MK<</CA(4)>>/DA(/ZaDb 12 Tf 0 g)/Rect[50 50 150 150]"
Colour = tuple[int, int, int]


def pages(content: bytes) -> list[Page]:
    return list(open_document(content, MAX_PAGES).pages)


def drawn(content: bytes) -> Image.Image:
    return files.read(pages(content)[0].picture).convert("RGB")


def notes(content: bytes) -> tuple[Note, ...]:
    return file_notes(pages(content)[0])


def refusal_of(content: bytes) -> type[FileRefused]:
    with pytest.raises(FileRefused) as refused:
        pages(content)
    return refused.type


def at(picture: Image.Image, x: float, y: float) -> Colour:
    """The colour at a place in points, from the lower left corner of a page of 200 points."""
    found = picture.getpixel((round(x * POINT), round((200 - y) * POINT)))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def is_close(seen: Colour, meant: Colour, tolerance: int = 127) -> bool:
    """Compare with a wide tolerance, because thin lines have soft edges. The meant colours are far apart."""
    return all(abs(a - b) <= tolerance for a, b in zip(seen, meant, strict=True))


def reds(picture: Image.Image) -> int:
    """The number of pixels whose red is far above their green."""
    red, green, _ = picture.split()
    return sum(ImageChops.subtract(red, green).histogram()[128:])


def ink_box(picture: Image.Image) -> tuple[int, ...] | None:
    """The box of everything that is not white, in points from the upper left corner."""
    box = picture.convert("L").point(lambda value: 255 * (value < 200)).getbbox()
    return box and tuple(round(side / POINT) for side in box)


def is_near(seen: tuple[int, ...] | None, meant: tuple[int, int, int, int], points: int = 3) -> bool:
    return seen is not None and all(abs(a - b) <= points for a, b in zip(seen, meant, strict=True))


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    with alarmed():
        yield


# Annotations


@pytest.mark.parametrize("appearance", [b"", b"/AP<<>>", b"/AP<</N 99 0 R>>", b"/AP null"])
def test_a_line_without_appearance_is_drawn(appearance: bytes) -> None:
    """It has its colour, its place and its width, and beside it is paper. A missing or empty appearance counts as none."""
    page = drawn(odd_pdfs.annotated(LINE + appearance))
    assert is_close(at(page, 100, 100), RED)
    assert is_close(at(page, 101.5, 98.5), RED)
    assert is_close(at(page, 40, 160), WHITE)
    assert is_close(at(page, 106, 94), WHITE)
    assert is_near(ink_box(page), (27, 27, 173, 173))


def test_a_polygon_is_closed_and_filled_and_a_polyline_is_not() -> None:
    """The third side is there only for the polygon, and so is the colour inside."""
    corners = b"/Rect[20 20 180 180]/Vertices[30 30 170 30 100 170]/C[1 0 0]/BS<</W 4>>"
    polygon = drawn(odd_pdfs.annotated(b"/Subtype/Polygon/IC[0 1 0]" + corners))
    polyline = drawn(odd_pdfs.annotated(b"/Subtype/PolyLine" + corners))
    assert is_close(at(polygon, 65, 100), RED)
    assert is_close(at(polygon, 100, 80), GREEN)
    assert is_close(at(polyline, 65, 100), WHITE)
    assert is_close(at(polyline, 135, 100), RED)
    assert is_close(at(polyline, 100, 80), WHITE)


@pytest.mark.parametrize(
    ("kind", "x", "y", "colour"),
    [
        (b"/Subtype/Square/Rect[20 20 180 180]/C[1 0 0]/BS<</W 4>>", 22, 100, RED),
        (b"/Subtype/Circle/Rect[20 20 180 180]/C[1 0 0]/IC[0 1 0]", 100, 100, GREEN),
        (b"/Subtype/Ink/Rect[20 20 180 180]/InkList[[30 100 170 100]]/C[1 0 0]/BS<</W 4>>", 100, 100, RED),
        (b"/Subtype/Highlight/Rect[20 20 180 180]/QuadPoints[30 170 170 170 30 100 170 100]/C[1 1 0]", 100, 140, YELLOW),
        (b"/Subtype/StrikeOut/Rect[20 20 180 180]/QuadPoints[30 170 170 170 30 100 170 100]/C[1 0 0]", 100, 135, RED),
        (b"/Subtype/Underline/Rect[20 20 180 180]/QuadPoints[30 170 170 170 30 100 170 100]/C[1 0 0]", 100, 101, RED),
    ],
)
def test_what_pdfium_draws_itself_stays_so(kind: bytes, x: float, y: float, colour: Colour) -> None:
    """These kinds have their colour in their place, and nothing is noted."""
    content = odd_pdfs.annotated(kind)
    assert is_close(at(drawn(content), x, y), colour)
    assert notes(content) == ()


@pytest.mark.parametrize("catalogue", [b"", FORM_WITHOUT_FONT])
def test_a_text_box_is_drawn(catalogue: bytes) -> None:
    """pdfium draws none in a document whose form has no font."""
    page = drawn(odd_pdfs.annotated(BOX + b"/C[1 1 0]", catalogue=catalogue))
    letters = ImageChops.difference(page, Image.new("RGB", page.size, YELLOW)).crop((45, 45, 370, 200)).convert("L")
    assert is_close(at(page, 170, 110), YELLOW)
    assert is_close(at(page, 10, 110), WHITE)
    assert sum(letters.histogram()[64:]) > 1000


def test_a_text_box_wraps_its_words_and_keeps_its_letters() -> None:
    """A long text stays in its box, and letters of no font are noted."""
    long = BOX.replace(b"Hallo Welt", b"Aufgabe " * 40)
    page = odd_pdfs.annotated(long, catalogue=FORM_WITHOUT_FONT)
    box = ink_box(drawn(page))
    assert box is not None
    assert (box[0] >= 20, 120 <= box[2] <= 180, box[1] >= 20, 70 <= box[3] <= 100) == (True,) * 4
    assert notes(page) == ()
    greek = BOX.replace(b"(Hallo Welt)", odd_pdfs.utf16("\ufeffαβγ"))
    for catalogue in (FORM_WITHOUT_FONT, FORM, b""):
        assert notes(odd_pdfs.annotated(greek, catalogue=catalogue)) == (Note.ANNOTATION_MISSING,)


def test_a_dashed_line_has_gaps() -> None:
    """Its style is that of the file."""
    line = LINE.replace(b"/L[30 30 170 170]/C[1 0 0]/BS<</W 6>>", b"/L[20 100 180 100]/C[1 0 0]/BS<</W 4/S/D/D[40 40]>>")
    page = drawn(odd_pdfs.annotated(line))
    assert [is_close(at(page, x, 100), RED) for x in (40, 80, 120, 160)] == [True, False, True, False]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_line_turns_with_its_page(rotation: int) -> None:
    """A line in the lower left quarter of the page is where the page's rotation puts it."""
    line = LINE.replace(b"[30 30 170 170]", b"[20 20 90 90]")
    page = drawn(odd_pdfs.annotated(line, page=b"/Rotate %d" % rotation))
    quarter = {0: (17, 107, 93, 183), 90: (17, 17, 93, 93), 180: (107, 17, 183, 93), 270: (107, 107, 183, 183)}
    assert is_near(ink_box(page), quarter[rotation])


def test_a_line_is_cut_with_its_page() -> None:
    """The crop box moves the line with everything else."""
    page = drawn(odd_pdfs.annotated(LINE, page=b"/CropBox[100 100 200 200]"))
    assert page.size == (209, 209)
    assert reds(page.crop((60, 60, 150, 150))) > 400
    assert ink_box(page.crop((160, 160, 209, 209))) is None


@pytest.mark.parametrize("flags", [b"/F 2", b"/F 32"], ids=["hidden", "not to be viewed"])
@pytest.mark.parametrize("kind", [LINE, BOX, FIELD, b"/Subtype/Stamp/Rect[20 20 180 180]"])
def test_what_is_hidden_stays_hidden(kind: bytes, flags: bytes) -> None:
    """It is neither drawn nor noted."""
    content = odd_pdfs.annotated(kind + flags, catalogue=FORM_WITHOUT_FONT)
    assert (ink_box(drawn(content)), notes(content)) == (None, ())


@pytest.mark.parametrize(
    ("kind", "is_noted"),
    [
        (b"/Subtype/Stamp/Rect[20 20 180 180]/Name/Approved", True),
        (b"/Subtype/Caret/Rect[20 20 180 180]", True),
        (b"/Subtype/FileAttachment/Rect[20 20 180 180]", True),
        (b"/Subtype/Text/Rect[20 20 40 40]/Contents(meine Antwort)", True),
        (b"/Subtype/Line/Rect[20 20 180 180]", True),
        (b"/Subtype/Text/Rect[20 20 40 40]", False),
        (b"/Subtype/Popup/Rect[20 20 180 180]/Contents(x)", False),
        (b"/Subtype/Link/Rect[20 20 180 180]", False),
    ],
)
def test_what_cannot_be_drawn_is_noted(kind: bytes, is_noted: bool) -> None:
    """A kind without a picture is not left out in silence. Links and windows have none anywhere."""
    assert notes(odd_pdfs.annotated(kind)) == ((Note.ANNOTATION_MISSING,) if is_noted else ())


def test_an_annotation_with_an_appearance_is_shown_by_it() -> None:
    """Its other values do not count."""
    green = stream(b"0 1 0 rg 0 0 160 160 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 160 160]")
    line = b"<</Type/Annot/F 4" + LINE + b"/AP<</N 6 0 R>>>>"
    page = drawn(odd_pdfs.document(line, green, page=b"/Annots[5 0 R]"))
    assert is_close(at(page, 40, 160), GREEN)
    assert is_close(at(page, 100, 100), GREEN)


# Form fields


EMPTY_APPEARANCES = [b"", b"/AP<<>>", b"/AP<</N 99 0 R>>", b"/AP<</N 6 0 R>>"]


def with_field(field: bytes, catalogue: bytes, appearance: bytes = b"") -> bytes:
    """A page with a form field. Object 6 is an appearance that shows nothing, as programs leave it that fill in a value only."""
    nothing = stream(b"/Tx BMC q Q EMC", b"/Type/XObject/Subtype/Form/BBox[0 0 160 80]")
    return odd_pdfs.document(
        b"<</Type/Annot/F 4" + field + appearance + b">>", nothing, page=b"/Annots[5 0 R]", catalogue=catalogue
    )


@pytest.mark.parametrize("catalogue", [FORM, b"", FORM_WITHOUT_FONT], ids=["form", "no form", "form of no fields"])
@pytest.mark.parametrize("appearance", EMPTY_APPEARANCES)
def test_the_value_of_a_field_is_drawn(appearance: bytes, catalogue: bytes) -> None:
    """Its appearance may be missing, broken or empty, and the field may belong to no form, as in documents that were joined."""
    content = with_field(FIELD, catalogue, appearance)
    page = drawn(content)
    box = ink_box(page)
    assert box is not None
    assert (box[0] >= 20, box[2] <= 100, box[1] >= 20, box[3] <= 100) == (True,) * 4
    assert reds(page.crop((40, 40, 380, 210))) > 100
    assert notes(content) == ()


@pytest.mark.parametrize("appearance", EMPTY_APPEARANCES[:3])
def test_a_choice_and_a_tick_are_drawn(appearance: bytes) -> None:
    """A list shows its value, and a ticked box has a mark in its middle. One that is not ticked has none."""
    choice = b"/Subtype/Widget/FT/Ch/Ff 131072/T(a)/V(Hallo)/Opt[(Hallo)(Welt)]/DA(/Helv 24 Tf 1 0 0 rg)/Rect[20 100 180 180]"
    shown = drawn(with_field(choice, FORM, appearance))
    assert reds(shown) > 100
    ticked = ink_box(drawn(with_field(TICK, FORM, appearance)))
    assert ticked is not None
    assert (ticked[0] < 100 < ticked[2], ticked[1] < 100 < ticked[3]) == (True, True)
    for value, is_ticked in ((b"/Yes", True), (b"/Off", False)):
        middle = drawn(with_field(TICK.replace(b"/Yes", value), FORM, appearance)).crop((115, 115, 302, 302))
        assert (ink_box(middle) is not None) == is_ticked


def test_a_field_of_letters_without_a_font_is_noted() -> None:
    """pdfium leaves it blank. Letters for which it finds a font are drawn."""
    chinese, german = (FIELD.replace(b"(Hallo)", odd_pdfs.utf16(f"\ufeff{text}")) for text in ("\ue000\ue001", "Mädchen"))
    assert notes(with_field(chinese, FORM)) == (Note.ANNOTATION_MISSING,)
    assert notes(with_field(german, FORM)) == ()
    assert reds(drawn(with_field(german, FORM))) > 100


def test_a_field_without_a_value_is_not_noted() -> None:
    """An empty worksheet is whole."""
    content = with_field(FIELD.replace(b"(Hallo)", b"()"), FORM, b"/AP<<>>")
    assert (ink_box(drawn(content)), notes(content)) == (None, ())


@pytest.mark.parametrize(
    "form", [b"/AcroForm 99 0 R", b"/AcroForm[1 2]", b"/AcroForm<</Fields(x)>>", b"/AcroForm<</Fields[3 0 R]>>"]
)
def test_a_broken_form_does_not_cost_its_pages(form: bytes) -> None:
    """The page is read without it."""
    content = odd_pdfs.document(content=b"1 0 0 rg 50 50 100 100 re f", catalogue=form)
    assert is_close(at(drawn(content), 100, 100), RED)


# Size


@pytest.mark.parametrize(
    ("media_box", "pixels", "user_unit", "becomes"),
    [
        ("0 0 180 300", (1506, 2500), "", (960, MAX_SIDE_PIXELS)),
        ("0 0 180 300", (600, 1000), "", (600, 1000)),
        ("0 0 180 300", (90, 150), "", (375, 625)),
        ("0 0 180 300", (90, 150), "2.5", (938, 1563)),
        ("0 0 60 300", (400, 2000), "", (320, MAX_SIDE_PIXELS)),
        ("0 0 595 842", (100, 100), "", (1131, MAX_SIDE_PIXELS)),
    ],
    ids=["large scan", "small scan", "thumbnail", "measure", "strip", "ordinary page"],
)
def test_a_page_has_the_size_of_its_content(
    media_box: str, pixels: tuple[int, int], user_unit: str, becomes: tuple[int, int]
) -> None:
    """A scan keeps its pixels, up to the limit, whatever size in points its page has. A page's measure counts too."""
    (page,) = pages(odd_pdfs.with_picture(*pixels, media_box, user_unit=user_unit))
    width, height = files.read(page.picture).size
    assert (abs(width - becomes[0]) <= 1, abs(height - becomes[1]) <= 1) == (True, True)


def test_a_measure_in_a_packed_dictionary_counts() -> None:
    """Newer programs pack dictionaries, where only unpacking finds them."""
    content = odd_pdfs.document(packed(b"1 0 <</UserUnit 3>>", b"/Type/ObjStm/N 1/First 4"), media_box="0 0 100 100")
    assert drawn(content).size == (625, 625)


# Header


@pytest.mark.parametrize(
    "junk",
    [
        b"\xef\xbb\xbf",
        b"\n\n",
        b"\x1b%-12345X@PJL SET RESOLUTION=600\r\n@PJL ENTER LANGUAGE=PDF\r\n",
        b"x" * 1019,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n",
    ],
    ids=["BOM", "lines", "printer", "most", "web server"],
)
def test_bytes_before_the_header_do_not_matter(junk: bytes) -> None:
    """Offsets in the file count from the header or from the first byte, and both are read."""
    plain = odd_pdfs.document(content=b"1 0 0 rg 50 50 100 100 re f")
    shifted = plain.replace(b"startxref\n", b"startxref\n%d" % len(junk))
    for content in (junk + plain, junk + shifted):
        assert is_close(at(drawn(content), 100, 100), RED)


def test_a_lost_header_does_not_matter() -> None:
    """The objects are those of a PDF."""
    content = odd_pdfs.document(content=b"1 0 0 rg 50 50 100 100 re f")
    assert is_close(at(drawn(content.removeprefix(b"%PDF-1.7\n")), 100, 100), RED)
    assert refusal_of(b"x" * 3000 + b"%PDF-1.7\n") is NotADocument


# Files that unfold


BOMBS: dict[str, Callable[[], bytes]] = {
    "forms that double": odd_pdfs.doubling_forms,
    "dense pattern": odd_pdfs.dense_pattern,
    "packed twice": odd_pdfs.unfolding_content,
    "many annotations": odd_pdfs.many_annotations,
}


@pytest.fixture
def _short_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fifth of the processor time, so that a busy machine does not make the test long."""
    monkeypatch.setattr(sandbox, "CPU_SECONDS", 1)
    monkeypatch.setattr(decoder, "CPU_SECONDS", 1)


@pytest.mark.usefixtures("_short_time")
@pytest.mark.parametrize("name", BOMBS)
def test_a_short_file_that_unfolds_is_too_large(name: str) -> None:
    """Processor time and memory that a file uses up are its own fault, and never the machine's."""
    content = BOMBS[name]()
    with pytest.raises(FileTooLarge), decoding(lambda: content, MAX_PAGES, page_seconds=FAR_SECONDS) as document:
        list(document)


@pytest.mark.usefixtures("_short_time")
def test_a_form_that_unfolds_is_left_out() -> None:
    """The page itself is read, and the note tells that its field is missing."""
    content = odd_pdfs.doubling_fields()
    with decoding(lambda: content, MAX_PAGES, page_seconds=FAR_SECONDS) as document:
        (page,) = document
    assert is_close(at(files.read(page.picture).convert("RGB"), 50, 50), BLACK)
    assert file_notes(page) == (Note.ANNOTATION_MISSING,)


def test_pages_that_contain_themselves_are_damage() -> None:
    """No endless loop."""
    assert refusal_of(odd_pdfs.looping_pages()) is FileDamaged


@pytest.mark.usefixtures("_short_time")
def test_a_page_that_unfolds_is_missing_among_others() -> None:
    """The pages before and behind it are read."""
    bomb = odd_pdfs.dense_pattern()
    content = bomb.replace(b"/Kids[3 0 R ]/Count 1", b"/Kids[6 0 R 3 0 R 6 0 R]/Count 3")
    content = content.replace(b"xref\n", b"6 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\nxref\n", 1)
    content = content.replace(b"startxref", b"startnone").replace(b"xref\n0", b"none\n0")
    with decoding(lambda: content, MAX_PAGES, page_seconds=FAR_SECONDS) as document:
        assert [page.reason for page in document] == ["", "file_too_large", ""]


# Pictures that are not drawn


def test_a_damaged_picture_that_fills_its_page_is_no_blank_page() -> None:
    """pdfium leaves it out without an error."""
    assert refusal_of(odd_pdfs.with_picture(400, 400, "0 0 200 200", data=b"no stream of a picture")) is FileDamaged


def test_a_picture_of_plain_colour_is_no_damage() -> None:
    """A white or black picture that was decoded is a page like another."""
    assert is_close(at(drawn(odd_pdfs.with_picture(400, 400, "0 0 200 200", grey=0)), 100, 100), BLACK)


def test_a_picture_of_too_many_pixels_is_too_large() -> None:
    """pdfium would decode a part of it and leave the rest black."""
    assert refusal_of(odd_pdfs.packed_picture(20_000, rows=100)) is FileTooLarge


@pytest.mark.parametrize("mebibytes", [2, 4, 8, 16, 24, 64])
def test_too_little_memory_never_makes_a_blank_page(mebibytes: int) -> None:
    """The page is either drawn, or the document is too large. Less memory than for a picture leaves it out without an error."""
    content = odd_pdfs.packed_picture(5000)
    work = partial(_send_document, lambda: content, partial(open_document, max_pages=1))
    try:
        with sandbox.sandboxed(work, mebibytes * MEBIBYTE) as child:
            _file_bytes(child)
            (page,) = Decoding(child, 1, 1, MEBIBYTE, FAR_SECONDS)
    except FileTooLarge:
        return
    assert is_close(at(files.read(page.picture).convert("RGB"), 100, 100), (96, 96, 96), 24)


# Forms and collections of files


@pytest.mark.parametrize(
    "content",
    [
        odd_pdfs.xfa_form(),
        odd_pdfs.xfa_form(needs_rendering=False),
        odd_pdfs.xfa_form(b"(If this message is not eventually replaced by the proper contents)", needs_rendering=False),
        odd_pdfs.with_attachment(is_collection=True),
        odd_pdfs.with_attachment(is_collection=True, is_packed=True),
        odd_pdfs.with_attachment(b"(For the best experience, open this PDF portfolio in Acrobat)"),
    ],
    ids=["form", "form that may be shown", "form's other words", "collection", "packed collection", "portfolio's words"],
)
def test_a_cover_page_is_not_read(content: bytes) -> None:
    """The page says only that another program is needed, so the form must be printed first."""
    assert refusal_of(content) is FormNotPrinted


@pytest.mark.parametrize(
    "content",
    [
        odd_pdfs.xfa_form(b"(Name, Klasse)", needs_rendering=False),
        odd_pdfs.xfa_form(has_field=True),
        odd_pdfs.with_attachment(),
        odd_pdfs.document(
            odd_pdfs.HELVETICA, content=b"BT /F 12 Tf 20 150 Td (Please wait) Tj ET", page=b"/Resources<</Font<</F 5 0 R>>>>"
        ),
    ],
    ids=["form of two kinds without fields", "form of two kinds", "attachment", "words"],
)
def test_an_ordinary_page_is_no_cover(content: bytes) -> None:
    """A form whose fields are on the page, an attached file and the words alone are no reason."""
    assert ink_box(drawn(content)) is not None
    assert notes(content) == ()


# Fonts


FONTS_OF_HOST = {path.name for path in Path("/usr/share/fonts").rglob("*.tt?")}
has_dejavu = pytest.mark.skipif("DejaVuSans.ttf" not in FONTS_OF_HOST, reason="needs fonts-dejavu-core")
CYRILLIC = odd_pdfs.with_text(b"(ABC)", *odd_pdfs.named_font(b"Schrift", b"65/uni0410/uni0411/uni0416"))
FOREIGN = {
    "Chinese": odd_pdfs.with_text(odd_pdfs.utf16("你好世界"), *odd_pdfs.asian_font()),
    "Japanese": odd_pdfs.with_text(odd_pdfs.utf16("日本語"), *odd_pdfs.asian_font(b"HeiseiMin-W3", b"UniJIS-UCS2-H", b"Japan1")),
    "Korean": odd_pdfs.with_text(
        odd_pdfs.utf16("한국어"), *odd_pdfs.asian_font(b"HYSMyeongJo-Medium", b"UniKS-UCS2-H", b"Korea1")
    ),
    "Greek in a built-in font": odd_pdfs.with_text(b"(ABC)", *odd_pdfs.named_font(b"Arial", b"65/alpha/beta/gamma")),
    "Wingdings": odd_pdfs.with_text(b"(abc)", *odd_pdfs.named_font(b"Wingdings")),
    "glyph numbers": odd_pdfs.with_text(b"<0024002500260027>", *odd_pdfs.asian_font(b"ArialMT", b"Identity-H", b"Identity")),
}
LATIN = b"0 -40 Td /H 24 Tf (Hallo liebe Lehrerin) Tj"


@pytest.mark.parametrize("name", FOREIGN)
def test_a_page_of_letters_without_a_font_is_not_read(name: str) -> None:
    """pdfium leaves them blank or draws others, so the page must be printed with its fonts first."""
    if any(word in file.lower() for file in FONTS_OF_HOST for word in ("wqy", "takao", "ipa", "undotum", "uming")):
        pytest.skip("this host has fonts of Asia")
    assert refusal_of(FOREIGN[name]) is FormNotPrinted


@pytest.mark.parametrize("name", ["Greek in a built-in font", "Wingdings"])
def test_a_few_letters_without_a_font_are_noted(name: str) -> None:
    """The rest of the page is read."""
    content = FOREIGN[name].replace(b" Tj ET", b" Tj %s ET" % LATIN, 1)
    assert notes(content) == (Note.FONT_MISSING,)


def test_latin_letters_need_no_font_of_the_file() -> None:
    """Umlauts and dashes too: pdfium has a font for every name."""
    for name in (b"Helvetica", b"Arial", b"TimesNewRoman", b"Schulschrift"):
        content = odd_pdfs.with_text(b"(M\\344dchen \\226 Stra\\337e - _ . ')", *odd_pdfs.named_font(name))
        assert notes(content) == ()
        assert ink_box(drawn(content)) is not None


def test_an_invisible_text_needs_no_font() -> None:
    """The text layer of a scan, which has no ink anywhere."""
    content = odd_pdfs.with_text(b"3 Tr " + odd_pdfs.utf16("你好世界"), *odd_pdfs.asian_font())
    assert notes(content) == ()


@has_dejavu
@pytest.mark.parametrize("font", [b"Schrift", b"DejaVuSans"])
@pytest.mark.parametrize(
    "letters", [b"uni0410/uni0411/uni0416", b"alpha/beta/gamma", b"uni2211/uni222B/uni221A", b"afii57664/afii57665/afii57666"]
)
def test_a_font_of_the_host_is_used(font: bytes, letters: bytes) -> None:
    """Letters that pdfium's own font lacks are drawn if a font of the host has them, in the child with its few descriptors."""
    content = odd_pdfs.with_text(b"(ABC)", *odd_pdfs.named_font(font, b"65/" + letters))
    with decoding(lambda: content, MAX_PAGES, page_seconds=FAR_SECONDS) as document:
        (page,) = document
    box = files.read(page.picture).convert("L").point(lambda value: 255 * (value < 128)).getbbox()
    assert file_notes(page) == ()
    assert box is not None
    assert (box[0] > 30, box[2] > 100, 100 < box[1] < box[3] < 260) == (True, True, True)


def test_letters_without_a_font_of_the_host_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the fallback they are blank."""
    monkeypatch.setattr(host_fonts, "FAMILIES", ())
    with pytest.raises(FormNotPrinted), decoding(lambda: CYRILLIC, MAX_PAGES, page_seconds=FAR_SECONDS):
        pass


PHOTO = photos.drawn()


def scan(data: bytes, entries: bytes) -> bytes:
    """A page that is filled by one picture of the size of PHOTO."""
    size = b"/Type/XObject/Subtype/Image/Width %d/Height %d" % PHOTO.size
    return odd_pdfs.document(
        stream(data, size + entries), content=b"200 0 0 200 0 0 cm /I Do", page=b"/Resources<</XObject<</I 5 0 R>>>>"
    )


JPEG_ENTRIES = b"/BitsPerComponent 8/ColorSpace/DeviceRGB/Filter/DCTDecode"
ROWS_ENTRIES = b"/BitsPerComponent 8/ColorSpace/DeviceRGB/Filter/FlateDecode"
STORED = {
    "JPEG": (photos.saved(PHOTO, "JPEG"), JPEG_ENTRIES),
    "progressive JPEG": (photos.saved(PHOTO, "JPEG", progressive=True), JPEG_ENTRIES),
    "rows": (zlib.compress(PHOTO.tobytes()), ROWS_ENTRIES),
}


@pytest.mark.parametrize("kept", [0.3, 0.6])
@pytest.mark.parametrize("name", STORED)
def test_a_page_whose_picture_is_half_there_is_refused(name: str, kept: float) -> None:
    """pdfium draws the rest grey or black, and that is not what was handed in."""
    data, entries = STORED[name]
    assert notes(scan(data, entries)) == ()
    assert refusal_of(scan(data[: int(len(data) * kept)], entries)) is FileDamaged


def test_a_hole_in_the_picture_of_a_page_is_found() -> None:
    """A JPEG's rows after the part that never came are shifted, or of another colour."""
    data, entries = STORED["JPEG"]
    third = len(data) // 3
    assert refusal_of(scan(data[:third] + bytes(third) + data[2 * third :], entries)) is FileDamaged


def test_a_picture_on_a_page_that_is_nearly_whole_is_noted() -> None:
    """It is read with a note, as it is if it is handed in by itself. A missing end marker is no damage."""
    data, entries = STORED["JPEG"]
    assert notes(scan(data[:-2], entries)) == ()
    assert notes(scan(data[: int(len(data) * 0.985)], entries)) == (Note.INCOMPLETE,)


ROWS_OF_BITS = bytes((PHOTO.width + 7) // 8 * PHOTO.height)
WHOLE: dict[str, tuple[bytes, bytes]] = {
    "of 16 bits": (
        zlib.compress(bytes(value for value in PHOTO.convert("L").tobytes() for _ in "hi")),
        b"/BitsPerComponent 16/ColorSpace/DeviceGray/Filter/FlateDecode",
    ),
    "blank, with a palette": (
        zlib.compress(ROWS_OF_BITS),
        b"/BitsPerComponent 1/ColorSpace[/Indexed/DeviceRGB 1<ffffff000000>]/Filter/FlateDecode",
    ),
    "JPEG, packed": (
        zlib.compress(STORED["JPEG"][0]),
        JPEG_ENTRIES.replace(b"/DCT", b"[/FlateDecode/DCT") + b"]",
    ),
    "a mask": (zlib.compress(ROWS_OF_BITS), b"/ImageMask true/BitsPerComponent 1/Filter/FlateDecode"),
}


@pytest.mark.parametrize(("data", "entries"), WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_picture_on_a_page_counts_as_whole(data: bytes, entries: bytes) -> None:
    """Few bits for a pixel, or none on the page, are no damage."""
    assert notes(scan(data, entries)) == ()
