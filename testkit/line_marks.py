"""Marks beside the lines of a drawn page, by which the simulated model reads in the picture itself which lines it has.

A comment in the file's metadata does not tell which lines are left in a piece of a page. A mark is a row of dark and light cells
between two dark ones. It is as high as a line, so a line that was cut in two has a mark that is too low.
"""

from itertools import groupby

from PIL import Image, ImageDraw

COLUMNS = 90  # of a page's width, so that a reduced page can be read
FIRST_COLUMN, BITS = 2, 10
MARK_COLUMNS = BITS + 2
HEIGHT_COLUMNS, LEAST_COLUMNS = 3, 2.5  # of a mark, and of one that is read
DARK = 110
CUT_LINE = "(unleserlich)"


def line_text(number: int) -> str:
    return f"Zeile {number} der langen Seite"


def draw_mark(page: Image.Image, number: int, top: int) -> None:
    """Draw the mark of a line whose upper edge is at `top`."""
    side, pen = page.width / COLUMNS, ImageDraw.Draw(page)
    for place, bit in enumerate(f"1{number:0{BITS}b}1"):
        left = (FIRST_COLUMN + place) * side
        colour = "black" if bit == "1" else "white"
        pen.rectangle((round(left), top, round(left + side) - 1, top + round(HEIGHT_COLUMNS * side)), colour)


def marked_lines(picture: Image.Image) -> list[str]:
    """Return the text of each line that has a mark, from the top to the bottom."""
    side = picture.width / COLUMNS
    area = (round(FIRST_COLUMN * side), 0, round((FIRST_COLUMN + MARK_COLUMNS) * side), picture.height)
    cells = picture.convert("L").crop(area).resize((MARK_COLUMNS, picture.height), Image.Resampling.BOX).tobytes()
    rows = [cells[start : start + MARK_COLUMNS] for start in range(0, len(cells), MARK_COLUMNS)]
    marks = [[*run] for is_mark, run in groupby(rows, lambda row: row[0] < DARK and row[-1] < DARK) if is_mark]
    return [_line(run, LEAST_COLUMNS * side) for run in marks]


def _line(rows: list[bytes], least_pixels: float) -> str:
    if len(rows) < least_pixels:
        return CUT_LINE
    return line_text(int("".join("01"[cell < DARK] for cell in rows[len(rows) // 2][1:-1]), 2))
