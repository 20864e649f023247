"""Cuts a long page, such as a scrolling screenshot, into pieces of legible size.

The number of pieces follows from the page's size alone, because pages are counted before they are decoded. Each cut follows a
seam: a path through the empty places of the picture, between two lines of writing. Pieces with a seam through empty places have
no part of the picture in common. Where the picture has no such path, as in a photo, both pieces have what is near the cut.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

from worker.core.page_size import MAX_SIDE_PIXELS

WHOLE_RATIO = 2.5  # phones have 9:20 and a book's two pages less. Reduced to 1600 pixels, 640 are left for the other side
WHOLE_PIXELS = MAX_SIDE_PIXELS * 4 // 3  # a longer side that loses at most a quarter. A piece is never cut again
MIN_WRITING_PIXELS = 32  # a narrower page has no line of writing
TALL_RATIO = 1.5  # of a piece, whose width then is 1067 pixels: a screen's own, and 18 for a letter of 10 points on A4
WIDE_RATIO = WHOLE_RATIO  # boards have large letters, and each cut goes through their lines
TALL_WINDOW, WIDE_WINDOW = 0.1, 0.2  # to each side of a cut's place, of the shorter side: more than a line, more than a word
MIN_WINDOW_PIXELS = 48
MAX_PIECES = 30  # of one page, which is decoded as a whole: 51 million pixels
CELL_PIXELS = 3  # a seam's grid. The space between two lines of a screenshot has 6
EDGE_PIXELS = 2  # a stroke becomes as dark within this distance
FAINT = 24  # levels of 255 between two neighbours: the noise of a camera is below
CLEAR_INK = 1000  # a seam through the tips of a few letters. One through a line of writing has 20 times as much
_INK, _MOVE = 4096, 8  # weights: a seam avoids ink first, and is straight and in the middle otherwise


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a page. `overlaps` is true if it begins with a part of the piece before."""

    picture: Image.Image
    overlaps: bool


@dataclass(frozen=True, slots=True)
class Seam:
    """A row for each column of cells, and the ink on the way."""

    rows: Sequence[int]
    ink: int


def piece_count(size: tuple[int, int]) -> int:
    """Return the number of pieces of a page of `size`, which is 1 for a page of ordinary ratio."""
    shorter, longer = sorted(size)
    if longer <= max(WHOLE_RATIO * shorter, WHOLE_PIXELS) or shorter < MIN_WRITING_PIXELS:
        return 1
    return math.ceil(longer / (_most_pixels(size) - 2 * _window_pixels(size)))


def fitted(size: tuple[int, int], max_side_pixels: int) -> tuple[int, int]:
    """Return the size of a whole page whose longest possible piece has `max_side_pixels`. It is never enlarged."""
    count = piece_count(size)
    longest = max(size) / count + (2 * _window_pixels(size) if count > 1 else 0)
    ratio = min(1.0, max_side_pixels / longest)
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _most_pixels(size: tuple[int, int]) -> float:
    """The length of the longest piece. A narrow page keeps all its pixels."""
    return max(MAX_SIDE_PIXELS, (WIDE_RATIO if _is_wide(size) else TALL_RATIO) * min(size))


def _window_pixels(size: tuple[int, int]) -> float:
    return max(MIN_WINDOW_PIXELS, (WIDE_WINDOW if _is_wide(size) else TALL_WINDOW) * min(size))


def _is_wide(size: tuple[int, int]) -> bool:
    return size[0] > size[1]


class LongPage:
    """A page that is cut. `size` is that in the file, of which `picture` is a smaller one.

    A wide page is transposed and cut like a tall one.
    """

    def __init__(self, picture: Image.Image, size: tuple[int, int]) -> None:
        self._count, self._is_wide = piece_count(size), _is_wide(size)
        self._picture = self._turned(picture)
        self._window = max(CELL_PIXELS, int(_window_pixels(size) * self._picture.height / max(size)))
        self._cut = cache(self._found)

    def piece(self, number: int) -> Piece:
        """Return a piece, counted from 0. It is the same in whatever order the pieces are requested."""
        upper = self._cut(number)[1] if number else None
        lower = self._cut(number + 1)[0] if number + 1 < self._count else None
        overlaps = bool(number) and self._cut(number)[0] != self._cut(number)[1]
        return Piece(self._turned(_between(self._picture, upper, lower)), overlaps)

    def _turned(self, picture: Image.Image) -> Image.Image:
        return picture.transpose(Image.Transpose.TRANSPOSE) if self._is_wide else picture

    def _found(self, number: int) -> tuple[list[int], list[int]]:
        """The seam at which piece `number - 1` ends and that at which piece `number` begins. One and the same if it is clear."""
        middle = self._picture.height * number // self._count
        top, bottom = middle - self._window, middle + self._window
        seam = self._seam(top, bottom)
        if seam.ink <= CLEAR_INK:
            return [*seam.rows], [*seam.rows]
        return [*self._seam(middle, bottom).rows], [*self._seam(top, middle).rows]

    def _seam(self, top: int, bottom: int) -> Seam:
        found = seam_of(self._picture.crop((0, top, self._picture.width, bottom)))
        return Seam([top + row for row in found.rows], found.ink)


def _between(page: Image.Image, upper: list[int] | None, lower: list[int] | None) -> Image.Image:
    """Crop what is between two seams. What is beyond them gets the colour of the paper."""
    top, bottom = min(upper) if upper else 0, max(lower) if lower else page.height
    piece = page.crop((0, top, page.width, bottom))
    for seam, edge in ((upper, 0), (lower, piece.height)):
        if seam and len(set(seam)) > 1:
            _paint(piece, [row - top for row in seam], edge)
    return piece


def _paint(piece: Image.Image, seam: list[int], edge: int) -> None:
    paper = tuple(ImageStat.Stat(piece.crop((0, min(seam), piece.width, max(seam)))).median)
    pen = ImageDraw.Draw(piece)
    for column, row in enumerate(seam):
        left, (top, bottom) = column * CELL_PIXELS, sorted((row, edge))
        if top < bottom:
            pen.rectangle((left, top, left + CELL_PIXELS - 1, bottom - 1), fill=paper if len(paper) > 1 else paper[0])


def seam_of(band: Image.Image) -> Seam:
    """Find the emptiest path from the left to the right of a picture, with a row in pixels for each CELL_PIXELS of its width.

    Only edges of ink count: the sides of strokes on the way to the right, and their ends on the way up or down. It
    does not matter if the paper is dark and the ink light.
    """
    grey = band.convert("L")
    across, down = _without_rules(_edges(grey, EDGE_PIXELS, 0)), _edges(grey, 0, EDGE_PIXELS)
    height = -(-grey.height // CELL_PIXELS)
    rows, ink = _path(_columns(across), _columns(down), height)
    return Seam([min(row * CELL_PIXELS + CELL_PIXELS // 2, grey.height) for row in rows], ink)


def _edges(grey: Image.Image, x: int, y: int) -> Image.Image:
    """The difference of each pixel to an earlier one, `x` to the left or `y` above. The noise of a camera is none."""
    before = ImageChops.offset(grey, x, y)
    before.paste(grey.crop((0, 0, x or grey.width, y or grey.height)))  # the offset wraps around
    return ImageChops.difference(grey, before).point(lambda level: max(0, level - FAINT))


def _without_rules(edges: Image.Image) -> Image.Image:
    """Remove lines that go straight down from edge to edge: margins, squares, the frames of tables and speech bubbles."""
    marks = edges.point(lambda level: 255 if level else 0).filter(ImageFilter.MaxFilter(3))
    rules = marks.resize((marks.width, 1), Image.Resampling.BOX).point(lambda level: 255 if level > 0.9 * 255 else 0)
    return ImageChops.subtract(edges, rules.filter(ImageFilter.MaxFilter(3)).resize(edges.size))


def _columns(edges: Image.Image) -> list[bytes]:
    """The mean of each cell, column by column."""
    cells = edges.reduce(CELL_PIXELS).transpose(Image.Transpose.TRANSPOSE)
    content = cells.tobytes()
    return [content[start : start + cells.width] for start in range(0, len(content), cells.width)]


def _path(across: list[bytes], down: list[bytes], height: int) -> tuple[list[int], int]:
    """The shortest path through a grid, from left to right with moves up and down: a row for each column, and the ink."""
    costs, origins = [abs(2 * row - height) for row in range(height)], []
    for sides, ends in zip(across, down, strict=True):
        costs = [cost + side * _INK + abs(2 * row - height) for row, (cost, side) in enumerate(zip(costs, sides, strict=True))]
        origin = list(range(height))
        _spread(costs, origin, ends, range(1, height), -1)
        _spread(costs, origin, ends, range(height - 2, -1, -1), 1)
        origins.append(origin)
    row = min(range(height), key=costs.__getitem__)
    ink, rows = costs[row] // _INK, []
    for origin in reversed(origins):
        rows.append(row)
        row = origin[row]
    return rows[::-1], ink


def _spread(costs: list[int], origin: list[int], ends: bytes, order: range, step: int) -> None:
    """Move within a column wherever it is cheaper to come from the neighbouring row."""
    for row in order:
        cost = costs[row + step] + _MOVE + ends[row] * _INK
        if cost < costs[row]:
            costs[row], origin[row] = cost, origin[row + step]
