"""PDFs of which each has one trait that a viewer has to handle."""

import zlib

from testkit.inputs.pdf_objects import assembled, packed, stream

FONTS = b"/DR<</Font<</Helv<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
LETTER_WIDTHS = b"600 " * 256


def document(
    *further: bytes,
    content: bytes = b"",
    page: bytes = b"",
    media_box: str = "0 0 200 200",
    catalogue: bytes = b"",
    trailer: bytes = b"",
    pages: int = 1,
) -> bytes:
    """One page, repeated `pages` times. Objects of `further` begin with number 5."""
    kids = b"3 0 R " * pages
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalogue,
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R%s>>" % (media_box.encode(), page),
        stream(content),
        *further,
    ]
    return assembled(objects, trailer)


def annotated(*annotations: bytes, page: bytes = b"", catalogue: bytes = b"", content: bytes = b"") -> bytes:
    """A page of 200 points with annotations, which are given without type. They are printed unless they have flags."""
    written = [b"<</Type/Annot%s%s>>" % (b"" if b"/F " in each else b"/F 4", each) for each in annotations]
    numbers = b" ".join(b"%d 0 R" % number for number in range(5, 5 + len(written)))
    return document(*written, content=content, page=b"/Annots[%s]%s" % (numbers, page), catalogue=catalogue)


def with_picture(width: int, height: int, media_box: str, *, user_unit: str = "", grey: int = 96, data: bytes = b"") -> bytes:
    """A page that is filled by one picture, a frame of black around grey, or `data` in place of its compressed bytes."""
    row = bytes([grey]) * width
    pixels = bytes(width) * 10 + row * max(0, height - 20) + bytes(width) * 10
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceGray" % (width, height)
    picture = stream(data or zlib.compress(pixels, 1), entries + b"/Filter/FlateDecode")
    _, _, right, top = media_box.split()
    unit = f"/UserUnit {user_unit}" if user_unit else ""
    return document(
        picture,
        content=f"{right} 0 0 {top} 0 0 cm /I Do".encode(),
        page=b"/Resources<</XObject<</I 5 0 R>>>>" + unit.encode(),
        media_box=media_box,
    )


def packed_picture(width: int, rows: int | None = None) -> bytes:
    """A grey picture of `width` × `width` pixels of three colours, in a file of about a thousandth. It may have fewer rows."""
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(b"\x60" * width * 3) for _ in range(rows or width)) + packer.flush()
    entries = b"/Type/XObject/Subtype/Image/Width %d/Height %d/BitsPerComponent 8/ColorSpace/DeviceRGB" % (width, width)
    return document(
        stream(data, entries + b"/Filter/FlateDecode"),
        content=b"200 0 0 200 0 0 cm /I Do",
        page=b"/Resources<</XObject<</I 5 0 R>>>>",
    )


def doubling_forms(depth: int = 30) -> bytes:
    """Form objects of which each draws the next one twice."""
    entries = b"/Type/XObject/Subtype/Form/BBox[0 0 200 200]"
    chain = [
        stream(b"/X Do /X Do", entries + b"/Resources<</XObject<</X %d 0 R>>>>" % (number + 1)) for number in range(5, 5 + depth)
    ]
    return document(*chain, stream(b"0 0 9 9 re f", entries), content=b"/X Do", page=b"/Resources<</XObject<</X 5 0 R>>>>")


def doubling_fields(depth: int = 31) -> bytes:
    """A form whose fields have each the next one twice as a child. The page itself is a black square."""
    chain = [b"<</T(a)/FT/Tx/Kids[%d 0 R %d 0 R]>>" % (number, number) for number in range(6, 6 + depth)]
    field = b"<</T(b)/Type/Annot/Subtype/Widget/FT/Tx/V(x)/Rect[20 20 180 180]/F 4>>"
    return document(
        *chain,
        field,
        content=b"0 g 0 0 100 100 re f",
        page=b"/Annots[%d 0 R]" % (5 + depth),
        catalogue=b"/AcroForm<</Fields[5 0 R]>>",
    )


def dense_pattern() -> bytes:
    """A pattern of 10 000 tiles to a point, which fills the page."""
    entries = b"/PatternType 1/PaintType 1/TilingType 1/BBox[0 0 1 1]/XStep 0.01/YStep 0.01/Resources<<>>"
    return document(
        stream(b"0 0 1 1 re f", entries),
        content=b"/Pattern cs /P scn 0 0 200 200 re f",
        page=b"/Resources<</Pattern<</P 5 0 R>>>>",
    )


def unfolding_content(times: int = 2) -> bytes:
    """Lines in a page's content that is compressed several times."""
    entries = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R>>"
    return assembled(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            entries,
            packed(b"0 0 m 9 9 l S\n" * 6_000_000, times=times),
        ]
    )


def many_annotations(count: int = 600_000) -> bytes:
    square = b"<</Type/Annot/Subtype/Square/Rect[0 0 150 150]/C[1 0 0]/F 4>>"
    return document(square, page=b"/Annots[%s]" % (b"5 0 R " * count))


def looping_pages() -> bytes:
    """A page tree that contains itself."""
    return assembled([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 5>>"])


# Texts


def with_text(text: bytes, font: bytes, *descendants: bytes, content: bytes = b"", further: bytes = b"") -> bytes:
    """A line of 24 points on a page of 300 × 200. `font` is object 5, its descendants begin with 6."""
    drawn = b"BT /F 24 Tf 20 100 Td %s Tj ET %s" % (text, content)
    resources = b"/Resources<</Font<</F 5 0 R/H<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    return document(font, *descendants, content=drawn, page=resources + further, media_box="0 0 300 200")


def named_font(name: bytes, differences: bytes = b"") -> tuple[bytes, bytes]:
    """A font that is not in the file, and its descriptor. `differences` are glyph names from a code on."""
    encoding = b"/Encoding<</Type/Encoding/BaseEncoding/WinAnsiEncoding/Differences[%s]>>" % differences
    font = b"<</Type/Font/Subtype/TrueType/BaseFont/%s%s/FontDescriptor 6 0 R/FirstChar 0/LastChar 255/Widths[%s]>>"
    return font % (name, encoding, LETTER_WIDTHS), _descriptor(name)


def asian_font(name: bytes = b"STSong-Light", encoding: bytes = b"UniGB-UCS2-H", ordering: bytes = b"GB1") -> tuple[bytes, ...]:
    """A font of Chinese, Japanese or Korean that is not in the file."""
    font = b"<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/%s/DescendantFonts[6 0 R]>>" % (name, encoding)
    system = b"/CIDSystemInfo<</Registry(Adobe)/Ordering(%s)/Supplement 2>>" % ordering
    descendant = b"<</Type/Font/Subtype/CIDFontType2/BaseFont/%s%s/DW 1000/FontDescriptor 7 0 R>>" % (name, system)
    return font, descendant, _descriptor(name)


def _descriptor(name: bytes) -> bytes:
    box = b"/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 800/Descent -200/CapHeight 700/StemV 80"
    return b"<</Type/FontDescriptor/FontName/%s/Flags 32%s>>" % (name, box)


def utf16(text: str) -> bytes:
    return b"<%s>" % text.encode("utf-16-be").hex().encode()


# Forms and collections

HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"
WAIT = b"(Please wait...)"


def xfa_form(text: bytes = WAIT, *, needs_rendering: bool = True, has_field: bool = False) -> bytes:
    """A form of XML, whose page is for programs that cannot show it. `has_field` makes it one with a filled field."""
    field = b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/V(Antwort)/DA(/Helv 12 Tf 0 g)/Rect[20 20 180 50]/F 4>>"
    form = b"/AcroForm<</Fields[6 0 R]/XFA 7 0 R%s>>" % FONTS
    return document(
        HELVETICA,
        field,
        stream(b"<xdp:xdp/>"),
        content=b"BT /F 12 Tf 20 150 Td %s Tj ET" % text,
        page=b"/Resources<</Font<</F 5 0 R>>>>" + b"/Annots[6 0 R]" * has_field,
        catalogue=form + b"/NeedsRendering true" * needs_rendering,
    )


def with_attachment(text: bytes = b"(Hausaufgabe)", *, is_collection: bool = False, is_packed: bool = False) -> bytes:
    """A page with an attached file. A collection says that its files are what is to be shown."""
    names = b"/Names<</EmbeddedFiles<</Names[(a.pdf)6 0 R]>>>>"
    collection = b"/Collection<</Type/Collection/View/T>>" * is_collection
    return document(
        HELVETICA,
        b"<</Type/Filespec/F(a.pdf)/UF(a.pdf)/EF<</F 7 0 R>>>>",
        stream(b"%PDF-1.7", b"/Type/EmbeddedFile"),
        packed(b"1 0 <<%s>>" % collection, b"/Type/ObjStm/N 1/First 4") if is_packed else b"null",
        content=b"BT /F 12 Tf 20 150 Td %s Tj ET" % text,
        page=b"/Resources<</Font<</F 5 0 R>>>>",
        catalogue=names + (b"" if is_packed else collection),
    )
