"""Finds how many rows of a picture a decoder has written. No decoder reports it, and each leaves the others as they were.

Marks are rows of a pattern, laid into the picture's memory before it is decoded. A mark that is still there was not written.
"""

import random
from functools import cache
from typing import Any

from PIL import Image, ImageFile

MARKS = 200  # their distance is half a percent of the height
_MIN_MARKED_WIDTH = 4  # a narrower picture could contain the pattern
_MIN_PARTED_WIDTH, _PARTS = 128, 8
_PATTERN = random.Random(1).randbytes(2**16)  # noqa: S311  no picture contains it, and a secret it is not


class RowMarks:
    """Marks in one picture that is to be decoded. They are laid when the decoder gets the picture's memory."""

    def __init__(self, picture: ImageFile.ImageFile) -> None:
        self._picture = picture
        self._rows: list[int] = []
        self.are_laid = False
        lay_canvas = picture.load_prepare

        def marked_canvas() -> None:
            lay_canvas()
            if not self.are_laid:
                self._lay()

        patched: Any = picture
        patched.load_prepare = marked_canvas

    def share(self) -> float:
        """Return the share of rows that are written."""
        return 1 - len(self._unwritten()) / len(self._rows) if self._rows else 1.0

    def is_last_row_written(self) -> bool:
        return bool(self._rows) and not self._is_mark(self._rows[-1])

    def whiten(self) -> None:
        """Make the unwritten rows white. Grey or black could be taken for ink."""
        canvas = self._canvas()
        borders = [-1, *self._rows, canvas.height]
        for row in self._unwritten():
            at = borders.index(row)
            canvas.paste(_white(self._picture), (0, borders[at - 1] + 1, canvas.width, borders[at + 1]))

    def _lay(self) -> None:
        self.are_laid = True
        canvas = self._canvas()
        if canvas.width < _MIN_MARKED_WIDTH:
            return
        step = max(1, canvas.height // MARKS)
        self._rows = [*range(canvas.height - 1, -1, -step)][::-1]
        mark = _mark(canvas.mode, canvas.width)
        for row in self._rows:
            canvas.paste(mark, (0, row))
        self._mark_bytes = mark.tobytes()

    def _unwritten(self) -> list[int]:
        return [row for row in self._rows if self._is_mark(row)]

    def _is_mark(self, row: int) -> bool:
        """A row is unwritten if a part of it is, as that of a missing tile."""
        canvas = self._canvas()
        seen, parts = canvas.crop((0, row, canvas.width, row + 1)).tobytes(), 1 if canvas.width < _MIN_PARTED_WIDTH else _PARTS
        step = max(1, len(seen) // parts)
        return any(seen[at : at + step] == self._mark_bytes[at : at + step] for at in range(0, step * parts, step))

    def _canvas(self) -> Image.Image:
        """The picture's memory as a picture of its own, because a method of the decoded one would begin to decode."""
        core = self._picture.im
        canvas: Any = Image.Image()
        canvas.im, canvas._mode, canvas._size = core, core.mode, core.size
        return canvas  # type: ignore[no-any-return]


@cache
def _mark(mode: str, width: int) -> Image.Image:
    size_bytes = len(Image.new(mode, (width, 1)).tobytes())
    return Image.frombytes(mode, (width, 1), (_PATTERN * (size_bytes // len(_PATTERN) + 1))[:size_bytes])


def _white(picture: ImageFile.ImageFile) -> float | tuple[int, ...]:
    match picture.im.mode:
        case "P":
            return _whitest(picture)
        case "CMYK":
            return (0, 0, 0, 0)
        case "LAB":
            return (255, 128, 128)
        case mode if mode.startswith("I"):
            return 0xFFFF
        case mode:
            bands = len(Image.new(mode, (1, 1)).getbands())
            return 255 if bands == 1 else (255,) * bands


def _whitest(picture: ImageFile.ImageFile) -> int:
    """Return the entry of the palette that is nearest to white."""
    colours = picture.palette.tobytes() if picture.palette else b""
    width = len(picture.palette.mode) if picture.palette else 3
    entries = [sum(colours[at : at + 3]) for at in range(0, len(colours), width)]
    return entries.index(max(entries)) if entries else 0
