"""PDFs whose pages have marks, drawn or as annotations, beside typed text. A page of them may be missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from testkit.drawn_marks import rectangles
from testkit.inputs.pdf_objects import assembled, stream

A4 = (595.0, 842.0)
CELL_POINTS, LINE_POINTS = 4.0, 1.0
FIRST_PAGE = 4  # the number of its object: before it are the catalogue, the list of pages and the font
_FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A rectangle of black in the way of one kind of annotation, without an appearance stream."""

    kind: str
    left: float
    bottom: float
    width: float
    height: float

    def to_bytes(self) -> bytes:
        right, top, middle = self.left + self.width, self.bottom + self.height, self.bottom + self.height / 2
        shape = {
            "Line": f"/L[{self.left} {middle} {right} {middle}]/BS<</W {self.height}>>",
            "Ink": f"/InkList[[{self.left} {middle} {right} {middle}]]/BS<</W {self.height}>>",
            "Polygon": f"/Vertices[{self.left} {self.bottom} {right} {self.bottom} {right} {top} {self.left} {top}]"
            "/IC[0 0 0]/BS<</W 0>>",
            "Square": "/IC[0 0 0]/BS<</W 0>>",
            "FreeText": "/DA(/Helv 8 Tf 0 g)/Contents()/BS<</W 0>>",
        }[self.kind]
        rect = f"/Rect[{self.left} {self.bottom} {right} {top}]"
        return f"<</Type/Annot/Subtype/{self.kind}{rect}/F 4/C[0 0 0]{shape}>>".encode()


@dataclass(frozen=True, slots=True)
class PdfPage:
    """`content` is drawn with the `resources`. `more` is added to the page's dictionary."""

    content: bytes = b""
    size: tuple[float, float] = A4
    annotations: tuple[Annotation, ...] = ()
    more: bytes = b""
    resources: bytes = b"/Font<</F1 3 0 R>>"


def mark_drawn(text: str, at: tuple[float, float], *, cell: float = CELL_POINTS) -> bytes:
    """Return the drawing of a mark whose upper left corner is at a point, counted from the lower left corner of the page."""
    bars = ((at[0] + x * cell, at[1] - (y + high) * cell, wide * cell, high * cell) for x, y, wide, high in rectangles(text))
    return b"0 g " + b" ".join(b"%g %g %g %g re" % bar for bar in bars) + b" f "


def mark_annotated(text: str, at: tuple[float, float], kind: str, *, cell: float = CELL_POINTS) -> tuple[Annotation, ...]:
    bars = ((at[0] + x * cell, at[1] - (y + high) * cell, wide * cell, high * cell) for x, y, wide, high in rectangles(text))
    if kind == "Line":  # thin ones, because their ends may be round
        bars = (
            (left + LINE_POINTS / 2, bottom + number * LINE_POINTS, width - LINE_POINTS, LINE_POINTS)
            for left, bottom, width, height in bars
            for number in range(int(height / LINE_POINTS))
        )
    return tuple(Annotation(kind, *bar) for bar in bars)


def typed(lines: Iterable[str], *, at: tuple[float, float] = (60, 760), colour: bytes = b"0 g", points: int = 12) -> bytes:
    """Return lines of typed text, one below the other."""
    shown = b" ".join(b"(%s) Tj T*" % line.encode("cp1252").replace(b"(", b"\\(").replace(b")", b"\\)") for line in lines)
    return b"BT %s /F1 %d Tf %d TL %g %g Td %s ET " % (colour, points, points + 6, *at, shown)


def pdf_of(pages: Sequence[PdfPage | None], *, catalogue: bytes = b"", objects: Sequence[bytes] = ()) -> bytes:
    """Write a document. None is a page whose object is missing. `objects` have the numbers after the pages and their contents."""
    kids = b" ".join(b"%d 0 R" % (FIRST_PAGE + 2 * number) for number in range(len(pages)))
    bodies: list[bytes | None] = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalogue,
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, len(pages)),
        _FONT,
    ]
    for page in pages:
        bodies += _objects(page, len(bodies) + 2)
    return assembled([*bodies, *objects])


def _objects(page: PdfPage | None, content_number: int) -> list[bytes | None]:
    if page is None:
        return [None, None]
    annotations = b" ".join(annotation.to_bytes() for annotation in page.annotations)
    head = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %g %g]/Contents %d 0 R/Annots[%s]/Resources<<%s>>%s>>"
    return [head % (*page.size, content_number, annotations, page.resources, page.more), stream(page.content)]
