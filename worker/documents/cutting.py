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
MAX_PIECES = 30  # of one page, which is decoded as a whole: 44 million pixels
CELL_PIXELS = 3  # a seam's grid. The space between two lines of a screenshot has 6
RULE_PIXELS = 25  # odd. A wider part of the picture is no line
EDGE_PIXELS = 3  # a soft stroke becomes dark within this distance
FAINT = 8  # levels of 255 within this distance, of a slightly blurred picture: pencil is above, the noise of a camera below
NEAR_CELLS = 4  # the space between two words of a board is smaller, and that between two blocks is larger
CLEAR_INK = 1.0  # of a cell, on average: a seam through the tips of a few letters. A line has 7 in pencil and 40 in print
# Weights: a seam avoids ink first, then the ends of lines, then slopes and the ink beside it, and stays near its place.
_INK, _STEEP, _MOVE, _NEAR = 100_000, 20_000, 1000, 5000


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


def may_be_long(shape: tuple[float, float]) -> bool:
    """True if a page of this width and height, in whatever unit, is not of an ordinary ratio."""
    shorter, longer = sorted(shape)
    return longer > WHOLE_RATIO * shorter


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
        self._window = max(CELL_PIXELS, int(_window_pixels(size) * self._picture.height / max(size)) - 1)
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
        if seam.ink <= CLEAR_INK * len(seam.rows):
            return [*seam.rows], [*seam.rows]
        return [*self._seam(middle, bottom).rows], [*self._seam(top, middle).rows]

    def _seam(self, top: int, bottom: int) -> Seam:
        found = seam_of(self._picture.crop((0, top, self._picture.width, bottom)), follows_lines=not self._is_wide)
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


def seam_of(band: Image.Image, *, follows_lines: bool) -> Seam:
    """Find the emptiest path from the left to the right of a picture, with a row in pixels for each CELL_PIXELS of its width.

    Only edges of ink count: the sides of strokes on the way to the right, and their ends on the way up or down. It does
    not matter if the paper is dark and the ink light.
    """
    grey = band.convert("L").filter(ImageFilter.BoxBlur(1))
    across, down = _without_rules(_edges(grey, EDGE_PIXELS, 0)), _edges(grey, 0, EDGE_PIXELS)
    sides, ends = across.reduce(CELL_PIXELS), down.reduce(CELL_PIXELS)
    if follows_lines:
        rows, ink = _path(_columns(sides), _columns(ends), _columns(Image.new("L", sides.size)), _STEEP)
    else:
        rows, ink = _path(_columns(sides), _columns(ends), _columns(sides.filter(ImageFilter.BoxBlur(NEAR_CELLS))), _MOVE)
    return Seam([min(row * CELL_PIXELS + CELL_PIXELS // 2, grey.height) for row in rows], ink)


def _edges(grey: Image.Image, x: int, y: int) -> Image.Image:
    """The difference of each pixel to an earlier one, `x` to the left or `y` above. The noise of a camera is none."""
    before = ImageChops.offset(grey, x, y)
    before.paste(grey.crop((0, 0, x or grey.width, y or grey.height)))  # the offset wraps around
    return ImageChops.difference(grey, before).point(lambda level: max(0, level - FAINT))


def _without_rules(edges: Image.Image) -> Image.Image:
    """Remove thin lines that go straight down from edge to edge: margins, squares, the frames of tables and speech bubbles."""
    marks = edges.point(lambda level: 255 if level else 0).filter(ImageFilter.MaxFilter(3))
    full = marks.resize((marks.width, 1), Image.Resampling.BOX).point(lambda level: 255 if level > 0.9 * 255 else 0)
    lines = full.resize((marks.width, RULE_PIXELS)).filter(ImageFilter.MaxFilter(3))
    grain = lines.filter(ImageFilter.MinFilter(RULE_PIXELS)).filter(ImageFilter.MaxFilter(RULE_PIXELS))
    return ImageChops.subtract(edges, ImageChops.subtract(lines, grain).resize(edges.size, Image.Resampling.NEAREST))


def _columns(cells: Image.Image) -> list[bytes]:
    content = cells.transpose(Image.Transpose.TRANSPOSE).tobytes()
    return [content[start : start + cells.height] for start in range(0, len(content), cells.height)]


def _path(across: list[bytes], down: list[bytes], near: list[bytes], steep: int) -> tuple[list[int], int]:
    """The shortest path through a grid, from left to right with moves up and down: a row for each column, and the ink.

    A path may move by one row for each column. Each further move costs `steep`.
    """
    height = len(across[0])
    costs = away = [abs(2 * row - height) for row in range(height)]
    origins = []
    for sides, ends, around in zip(across, down, near, strict=True):
        costs, origin = _sloped(costs, ends)
        costs = [
            cost + side * _INK + close * _NEAR + far for cost, side, close, far in zip(costs, sides, around, away, strict=True)
        ]
        _spread(costs, origin, ends, steep, range(1, height), -1)
        _spread(costs, origin, ends, steep, range(height - 2, -1, -1), 1)
        origins.append(origin)
    row = min(range(height), key=costs.__getitem__)
    ink, rows = costs[row] // _INK, []
    for origin in reversed(origins):
        rows.append(row)
        row = origin[row]
    return rows[::-1], ink


def _sloped(before: list[int], ends: bytes) -> tuple[list[int], list[int]]:
    """Come from the same row of the column before, or from the row above or below."""
    costs, origin = list(before), list(range(len(before)))
    for row, end in enumerate(ends):
        for neighbour in (row - 1, row + 1):
            if 0 <= neighbour < len(before) and (cost := before[neighbour] + _MOVE + end * _INK) < costs[row]:
                costs[row], origin[row] = cost, neighbour
    return costs, origin


def _spread(costs: list[int], origin: list[int], ends: bytes, steep: int, order: range, step: int) -> None:
    """Move within a column wherever it is cheaper to come from the neighbouring row."""
    for row in order:
        cost = costs[row + step] + steep + ends[row] * _INK
        if cost < costs[row]:
            costs[row], origin[row] = cost, origin[row + step]
