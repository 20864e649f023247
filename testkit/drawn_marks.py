"""Texts drawn as boxes of black and white cells, which stay readable when a page is scaled, printed to PDF or encoded anew.

Unlike a comment of the file they are on the page itself: a part that is cut off, covered, turned or too small is not read. A box
has a frame of FRAME cells and a white line within it. The cells are the bits of length, text and checksum, row by row.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageOps

COLUMNS: Final = 24
WIDTHS: Final = (24, 48, 96, 144)  # columns that a box may have
FRAME: Final = 2
EDGE: Final = FRAME + 1  # with the white line
QUIET: Final = 2  # cells of paper around a box
MAX_TEXT_BYTES: Final = 8192
MIN_CELL_PX: Final = 1.5  # of a box that can be read
_DARK, _RUN = b"\0", re.compile(rb"\x00+")

Colour = str | int | tuple[int, ...]
Rectangle = tuple[float, float, float, float]  # left, top, width, height, from the upper left corner


def rectangles(text: str, columns: int = COLUMNS) -> list[Rectangle]:
    """Return the black parts of a box, in cells: the four bars of the frame, then the cells."""
    width, height = box_size(text, columns)
    frame = [(0, 0, width, FRAME), (0, height - FRAME, width, FRAME), (0, 0, FRAME, height), (width - FRAME, 0, FRAME, height)]
    cells = [(EDGE + at % columns, EDGE + at // columns, 1, 1) for at, bit in enumerate(_bits(text)) if bit]
    return [(float(left), float(top), float(wide), float(high)) for left, top, wide, high in (*frame, *cells)]


def box_size(text: str, columns: int = COLUMNS) -> tuple[int, int]:
    """Return width and height of the text's box in cells."""
    return columns + 2 * EDGE, -(-len(_bits(text)) // columns) + 2 * EDGE


def draw_mark(
    page: Image.Image,
    text: str,
    at: tuple[int, int],
    *,
    cell_px: int = 6,
    columns: int = COLUMNS,
    ink: Colour = "black",
    paper: Colour | None = "white",
) -> None:
    """Draw the box with its upper left corner at a point, on paper that is a little larger. `paper` None draws the ink alone."""
    pen, (left, top) = ImageDraw.Draw(page), at
    width, height = (side * cell_px for side in box_size(text, columns))
    if paper is not None:
        quiet_px = QUIET * cell_px
        pen.rectangle((left - quiet_px, top - quiet_px, left + width + quiet_px - 1, top + height + quiet_px - 1), fill=paper)
    for x, y, wide, high in rectangles(text, columns):
        corner = left + x * cell_px, top + y * cell_px
        pen.rectangle((*corner, corner[0] + wide * cell_px - 1, corner[1] + high * cell_px - 1), fill=ink)


def marks_in(page: Image.Image) -> list[str]:
    """Return the texts of all whole, upright boxes of a page from top to bottom: dark ones, else light ones of a dark page."""
    grey = ImageOps.autocontrast(page.convert("L"))
    is_dark = grey.resize((1, 1), Image.Resampling.BOX).tobytes()[0] < 128
    found = _found(grey) or (_found(ImageOps.invert(grey)) if is_dark else {})
    return [found[at] for at in sorted(found)]


@dataclass(frozen=True, slots=True)
class _Band:
    """Neighbouring rows of pixels with one dark run from `left` to `right`, without the last ones."""

    left: int
    right: int
    top: int
    bottom: int

    def is_beside(self, other: "_Band") -> bool:
        slack_px = max(2, (self.right - self.left) // 60)
        return abs(self.left - other.left) <= slack_px and abs(self.right - other.right) <= slack_px

    def is_bar(self, cell_px: float) -> bool:
        """Return True if it is about as thick as a frame. Blurred writing has thousands of pairs of bands, nearly all thinner."""
        return FRAME * cell_px / 2 <= self.bottom - self.top <= 2 * FRAME * cell_px + 1


def _found(grey: Image.Image) -> dict[tuple[int, int], str]:
    """Return the texts by their places. A box is closed by the next band with the ends of its upper bar."""
    open_bands = sorted(_bands(grey.point(lambda value: 0 if value < 128 else 255)), key=lambda band: band.top)
    found = {}
    while open_bands:
        upper = open_bands.pop(0)
        for lower in filter(upper.is_beside, open_bands):
            if (text := _text(grey, upper, lower)) is not None:
                found[upper.top, upper.left] = text
                open_bands.remove(lower)
                break
    return found


def _bands(black_and_white: Image.Image) -> Iterator[_Band]:
    """Yield the dark bars that may be the upper or lower one of a frame."""
    width, pixels = black_and_white.width, black_and_white.tobytes()
    least_px = round((WIDTHS[0] + 2 * EDGE) * MIN_CELL_PX)
    open_bands: list[_Band] = []
    if _DARK * least_px not in pixels:  # a page of handwriting, in a fraction of the time
        return
    for y in range(black_and_white.height):
        row = pixels[y * width : (y + 1) * width]
        fresh = []
        for left, right in _runs(row, least_px):
            before = next((band for band in open_bands if band.is_beside(_Band(left, right, y, y + 1))), None)
            if before:
                open_bands.remove(before)
            fresh.append(_Band(before.left, before.right, before.top, y + 1) if before else _Band(left, right, y, y + 1))
        yield from open_bands
        open_bands = fresh
    yield from open_bands


def _runs(row: bytes, least_px: int) -> list[tuple[int, int]]:
    if _DARK * least_px not in row:
        return []
    return [run.span() for run in _RUN.finditer(row) if run.end() - run.start() >= least_px]


def _text(grey: Image.Image, upper: _Band, lower: _Band) -> str | None:
    """Return the text of a box between its two bars. None if there is none for any number of columns, by its checksum."""
    return next((text for columns in WIDTHS if (text := _text_of(grey, upper, lower, columns)) is not None), None)


def _text_of(grey: Image.Image, upper: _Band, lower: _Band, columns: int) -> str | None:
    cell_px = (upper.right - upper.left) / (columns + 2 * EDGE)
    rows = round((lower.bottom - upper.top) / cell_px) - 2 * EDGE
    if cell_px < MIN_CELL_PX or not 1 <= rows <= MAX_TEXT_BYTES or not (upper.is_bar(cell_px) and lower.is_bar(cell_px)):
        return None
    row_px = (lower.bottom - upper.top) / (rows + 2 * EDGE)
    lefts = [int(upper.left + (EDGE + x + 0.5) * cell_px) for x in range(columns)]
    bits: list[bool] = []
    for y in range(rows):
        top = int(upper.top + (EDGE + y + 0.5) * row_px)
        line = grey.crop((0, top, grey.width, top + 1)).tobytes()
        bits += [line[left] < 128 for left in lefts]
        if y == 0 and abs(_rows_of(bits, columns) - rows) > 1:  # nearly every pair of bands that is no frame
            return None
    return _decoded(bits)


def _rows_of(bits: list[bool], columns: int) -> int:
    """Return the number of rows of a box whose first row is given, from the length in its first two bytes."""
    length_bytes = sum(bit << (8 - place // 8 * 8 + place % 8) for place, bit in enumerate(bits[:16]))
    return -(-8 * (length_bytes + 6) // columns)


def _bits(text: str) -> list[bool]:
    content = text.encode()
    if len(content) > MAX_TEXT_BYTES:
        raise ValueError(f"a mark of {len(content)} bytes is longer than {MAX_TEXT_BYTES}")
    whole = len(content).to_bytes(2, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    return [bool(byte >> place & 1) for byte in whole for place in range(8)]


def _decoded(bits: list[bool]) -> str | None:
    whole = bytes(sum(bit << place for place, bit in enumerate(byte)) for byte in zip(*[iter(bits)] * 8, strict=False))
    end = 2 + int.from_bytes(whole[:2], "big")
    content, checksum = whole[2:end], whole[end : end + 4]
    return content.decode() if content and checksum == zlib.crc32(content).to_bytes(4, "big") else None
