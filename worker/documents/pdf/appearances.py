"""Content of appearance streams, in the coordinates of the page. pdfium takes Helvetica for a font that has no resource."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top
Colour = tuple[float, float, float]
_SIZE = re.compile(r"([\d.]+)\s+Tf")
_COLOUR = re.compile(r"((?:[\d.]+\s+){2}[\d.]+\s+rg|[\d.]+\s+g|(?:[\d.]+\s+){3}[\d.]+\s+k)\b")
DEFAULT_SIZE, LEAST_SIZE, LARGEST_SIZE = 12.0, 4.0, 144.0
_LINE_HEIGHT = 1.2
_AVERAGE_WIDTH = 0.52  # of a letter of Helvetica, as a share of its size
_MARGIN = 2.0
_MAX_LINES = 500


@dataclass(frozen=True, slots=True)
class Outline:
    """A line or polygon."""

    points: tuple[Point, ...]
    stroke: Colour
    fill: Colour | None
    is_closed: bool

    def bounds(self, width: float) -> Box:
        """Return the box of the points and half of the line's width around."""
        xs, ys = zip(*self.points, strict=True)
        return min(xs) - width, min(ys) - width, max(xs) + width, max(ys) + width

    def drawn(self, width: float, dash: str) -> str:
        fill = f"{_numbers(self.fill)} rg" if self.fill else ""
        paint = {(True, True): "B", (True, False): "S", (False, True): "f", (False, False): "n"}[width > 0, bool(self.fill)]
        path = " ".join(f"{_numbers(point)} {'l' if number else 'm'}" for number, point in enumerate(self.points))
        close = "h" if self.is_closed else ""
        return f"/GS gs q {fill} {_numbers(self.stroke)} RG {width:.3f} w {dash} 1 J 1 j {path} {close} {paint} Q"


def check(box: Box) -> str:
    """A cross over most of a box."""
    left, bottom, right, top = box
    x, y = (right - left) / 5, (top - bottom) / 5
    ends = ((left + x, bottom + y), (right - x, top - y), (left + x, top - y), (right - x, bottom + y))
    first, second, third, fourth = map(_numbers, ends)
    return f"q 0 G {max(0.5, min(x, y) / 2):.3f} w {first} m {second} l {third} m {fourth} l S Q"


def text(content: str, box: Box, style: str, background: Colour | None) -> tuple[str, bool]:
    """Typed text in a box, from the top on. Also return False if some letters are not in the font.

    `style` is a default appearance with font size and colour. Text that needs more lines than the box has is set smaller.
    """
    left, bottom, right, top = box
    size = _fitting(content, box, _size_of(style))
    colour = _COLOUR.search(style)
    lines = [*_wrapped(content, right - left - 2 * _MARGIN, size)][:_MAX_LINES]
    shown = " ".join(f"<{_encoded(line).hex()}> Tj 0 {-size * _LINE_HEIGHT:.3f} Td" for line in lines)
    paper = f"{_numbers(background)} rg {_numbers((left, bottom, right - left, top - bottom))} re f" if background else ""
    start = _numbers((left + _MARGIN, top - _MARGIN - size))
    drawn = f"/GS gs q {paper} BT {colour[1] if colour else '0 g'} /Typed {size:.3f} Tf {start} Td {shown} ET Q"
    return drawn, is_drawable(content)


def is_drawable(content: str) -> bool:
    """True if Helvetica has all letters."""
    return all(letter == "?" or b"?" not in _encoded(letter) for letter in set(content) - set("\r\n\t\ufeff"))


def _size_of(style: str) -> float:
    found = _SIZE.search(style)
    size = float(found[1]) if found else 0.0
    return min(LARGEST_SIZE, size) if size > 0 else DEFAULT_SIZE


def _fitting(content: str, box: Box, size: float) -> float:
    """Return the largest size up to `size` at which all lines fit, not below LEAST_SIZE."""
    left, bottom, right, top = box
    while size > LEAST_SIZE:
        lines = sum(1 for _ in _wrapped(content, right - left - 2 * _MARGIN, size))
        if lines * size * _LINE_HEIGHT <= top - bottom or (lines == 1 and size <= top - bottom):
            return size
        size *= 0.9
    return LEAST_SIZE


def _wrapped(content: str, width: float, size: float) -> Iterator[str]:
    most = max(1, int(width / (size * _AVERAGE_WIDTH)))
    for paragraph in content.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        line = ""
        for word in paragraph.split(" "):
            longer = f"{line} {word}" if line else word
            if len(longer) <= most:
                line = longer
                continue
            if line:
                yield line
            line = word
            while len(line) > most:
                yield line[:most]
                line = line[most:]
        yield line


def _encoded(line: str) -> bytes:
    return line.replace("\t", " ").replace("\ufeff", "").encode("cp1252", "replace")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.3f}" for value in values)
