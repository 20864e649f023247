"""PDFs with text: typed work as programs export it, and ways to hide text in it.

A page is a content stream of `write`, `line` and others, one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from random import Random
from textwrap import wrap

from PIL import Image, ImageFont

from testkit.drawn_pages import draw_page
from testkit.inputs.pdf_objects import assembled, packed, stream

A4_POINTS = (595, 842)
MARGIN_POINTS = 60
PITCH = 1.35  # distance of two lines, in font sizes
STANDARD_FONTS = ("Helvetica", "Times-Roman", "Courier", "Helvetica-Bold", "Times-Italic")
EMBEDDED_FONT = "Aileron"  # Pillow's own


@dataclass(frozen=True, slots=True)
class TypedPage:
    """`content` is the stream of drawing. `resources` and `entries` are added to those of the page, `objects` to the file."""

    content: bytes
    entries: bytes = b""
    font: bytes = b"/F 3 0 R"
    resources: bytes = b""


def write(text: str, x: float, y: float, size: float = 11, *, font: str = "F", before: str = "") -> bytes:
    """Show one line of text with its baseline at y. `before` holds further operators of the text, such as `3 Tr`."""
    shown = text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    return b"BT %s /%s %g Tf 1 0 0 1 %g %g Tm (%s) Tj ET\n" % (before.encode(), font.encode(), size, x, y, shown)


def write_lines(
    lines: Sequence[str], size: float = 11, x: float = MARGIN_POINTS, top: float = A4_POINTS[1] - MARGIN_POINTS
) -> bytes:
    """Write lines from the top. An empty line leaves its place free."""
    return b"".join(write(line, x, top - number * size * PITCH, size) for number, line in enumerate(lines) if line)


def rectangle(x: float, y: float, width: float, height: float, colour: str = "1 1 1") -> bytes:
    return b"q %s rg %g %g %g %g re f Q\n" % (colour.encode(), x, y, width, height)


def typed_pdf(
    pages: Sequence[TypedPage | bytes], font: str = "Helvetica", objects: Mapping[int, bytes] | None = None, catalog: bytes = b""
) -> bytes:
    """Write a PDF. `objects` are further ones, by number from 10 on, and `catalog` is added to the catalogue."""
    plain = [page if isinstance(page, TypedPage) else TypedPage(page) for page in pages]
    extra = objects or {}
    first = max([*extra, 9]) + 1
    kids = b" ".join(b"%d 0 R" % (first + 2 * number) for number in range(len(plain)))
    bodies = {
        1: b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        2: b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(plain)),
        **_font_objects(font),
        **extra,
    }
    for number, page in enumerate(plain):
        place = first + 2 * number
        bodies[place] = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %d %d]/Contents %d 0 R/Resources<</Font<<%s>>%s>>%s>>" % (
            *A4_POINTS,
            place + 1,
            page.font,
            page.resources,
            page.entries,
        )
        bodies[place + 1] = packed(page.content)
    return assembled([bodies.get(number) for number in range(1, max(bodies) + 1)])


def image(picture: Image.Image) -> bytes:
    """Make an image object of a picture."""
    target = BytesIO()
    picture.convert("RGB").save(target, "JPEG", quality=85)
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/DCTDecode"
    return stream(target.getvalue(), entries % picture.size)


def to_unicode(mapping: Mapping[int, int]) -> bytes:
    """Make a ToUnicode map of codes of one byte."""
    rows = b"".join(b"<%02X> <%04X>\n" % (code, character) for code, character in mapping.items())
    return packed(
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /M def /CMapType 2 def\n"
        b"1 begincodespacerange <00> <FF> endcodespacerange\n%d beginbfchar\n%sendbfchar\nendcmap end end" % (len(mapping), rows)
    )


def _font_objects(font: str) -> dict[int, bytes]:
    if font != EMBEDDED_FONT:
        return {3: b"<</Type/Font/Subtype/Type1/BaseFont/%s/Encoding/WinAnsiEncoding>>" % font.encode()}
    content, widths = _embedded()
    return {
        3: b"<</Type/Font/Subtype/TrueType/BaseFont/%s/Encoding/WinAnsiEncoding/FirstChar 32/LastChar 255/Widths[%s]"
        b"/FontDescriptor 4 0 R>>" % (font.encode(), widths),
        4: b"<</Type/FontDescriptor/FontName/%s/Flags 32/FontBBox[-200 -250 1200 950]/ItalicAngle 0/Ascent 900/Descent -200"
        b"/CapHeight 700/StemV 80/FontFile2 5 0 R>>" % font.encode(),
        5: packed(content, b"/Length1 %d" % len(content)),
    }


@cache
def _embedded() -> tuple[bytes, bytes]:
    """The bytes of Pillow's own font, and its widths."""
    font = ImageFont.load_default(1000)
    assert isinstance(font, ImageFont.FreeTypeFont)
    characters = (bytes([code]).decode("cp1252", "replace") for code in range(32, 256))
    return font.font_bytes, b" ".join(b"%d" % round(font.getlength(character)) for character in characters)


# A class of typed documents

_SUBJECTS = (
    ("Die Fotosynthese", "Pflanzen", "Licht", "Wasser", "Zucker", "Blattgrün"),
    ("Der Wiener Kongress", "Fürsten", "Grenzen", "Frieden", "Bündnisse", "Österreich"),
    ("Mein Praktikum", "Kollegen", "Werkstatt", "Maschinen", "Pausen", "Gerüste"),
    ("Erörterung: Handys", "Schüler", "Regeln", "Unterricht", "Nachrichten", "Lösungen"),
)
_SENTENCES = (
    "Zuerst geht es um {0}, denn ohne {1} wäre vieles nicht möglich.",
    "{0} und {1} hängen zusammen (vgl. S. {2}).",
    "Das zeigt sich an {0}: „Ohne {1} geht es nicht“, heißt es dort.",
    "Etwa {2} % aller Fälle betreffen {0}; der Rest entfällt auf {1}.",
    "Am Ende bleibt die Frage, was {0} für {1} bedeuten.",
)
LINES_OF_A_PAGE = (12, 40)
LINE_CHARACTERS = 70


@dataclass(frozen=True, slots=True)
class TypedDocument:
    """`texts` has the text that was written on each page, None for one that also has a picture or handwriting."""

    content: bytes
    texts: tuple[str | None, ...]


def typed_class(documents: int, seed: int) -> list[TypedDocument]:
    """Make typed work: one to three pages, in standard fonts and an embedded one. Every third document has a picture."""
    chance = Random(seed)
    return [_typed_work(chance, has_picture=number % 3 == 2) for number in range(documents)]


def _typed_work(chance: Random, *, has_picture: bool) -> TypedDocument:
    font = chance.choice((*STANDARD_FONTS, EMBEDDED_FONT))
    size, pages = chance.choice((9, 10, 11, 12)), chance.randint(1, 3)
    written = [_lines_of_a_page(chance, is_plain=font == EMBEDDED_FONT) for _ in range(pages)]
    pictured = chance.randrange(pages) if has_picture else None
    drawn = [
        TypedPage(
            write_lines(lines, size) + (b"q 180 0 0 60 350 40 cm /P Do Q" if number == pictured else b""),
            resources=b"/XObject<</P 10 0 R>>" if number == pictured else b"",
        )
        for number, lines in enumerate(written)
    ]
    objects = {10: image(draw_page("Skizze", seed=chance.randrange(1000), size=(600, 200)))} if has_picture else {}
    texts = tuple(None if number == pictured else "\n".join(lines) for number, lines in enumerate(written))
    return TypedDocument(typed_pdf(drawn, font, objects), texts)


def _lines_of_a_page(chance: Random, *, is_plain: bool) -> list[str]:
    title, *nouns = chance.choice(_SUBJECTS)
    lines, wanted = [title, ""], chance.randint(*LINES_OF_A_PAGE)
    while len(lines) < wanted:
        sentences = [
            chance.choice(_SENTENCES).format(*chance.sample(nouns, 2), chance.randint(2, 98)) for _ in range(chance.randint(2, 5))
        ]
        lines += [*wrap(" ".join(sentences), LINE_CHARACTERS), ""]
    whole = "\n".join(lines[:wanted]).rstrip().split("\n")
    return [_plain(line) if is_plain else line for line in whole]


def _plain(text: str) -> str:
    """Write without the letters that the embedded font does not have."""
    for letter, plain in {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ö": "Oe", "„": '"', "“": '"'}.items():
        text = text.replace(letter, plain)
    return text
