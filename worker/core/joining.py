"""Joins the texts of a document's pages. Pieces of one long page may both have what is near their cut."""

from collections.abc import Sequence
from difflib import SequenceMatcher

MOST_LINES = 6  # of an overlap, which is as high as two or three lines of writing
ALIKE = 0.8  # two readings of one line differ in a letter of ten
MAX_LINE_CHARACTERS = 2000  # comparing two lines takes time by their product


def joined(texts: Sequence[str], continued: Sequence[bool]) -> str:
    """Put an empty line between two pages, and a line break before a page that continues the page before it."""
    breaks = ["\n" if continues else "\n\n" for continues in continued[: len(texts)]]
    breaks += ["\n\n"] * (len(texts) - len(breaks))  # an adapter of another package knows no continued pages
    return texts[0] + "".join(line_break + text for line_break, text in zip(breaks[1:], texts[1:], strict=True))


def without_repeated(before: str, text: str) -> str:
    """Return `text` without its first lines if they are the last lines of `before`, read in another picture.

    Only whole lines are removed, each of which is like its counterpart. Without such lines, `text` is returned unchanged.
    """
    last, first = _lines(before)[-MOST_LINES:], _lines(text)[:MOST_LINES]
    for count in range(min(len(last), len(first)), 0, -1):
        if all(map(_are_alike, last[-count:], first[:count])):
            return _after(text, count)
    return text


def _lines(text: str) -> list[str]:
    """The lines with something in them."""
    return [line for line in text.split("\n") if line.strip()]


def _after(text: str, count: int) -> str:
    """The text after its first `count` lines with something in them."""
    lines = text.split("\n")
    written = [number for number, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[written[count - 1] + 1 :])


def _are_alike(line: str, other: str) -> bool:
    """Compare letters and digits only, because models vary in spaces, marks and capitals. Digits must be the same."""
    one, two = _letters(line), _letters(other)
    if not one or not two or _digits(one) != _digits(two) or max(len(one), len(two)) > MAX_LINE_CHARACTERS:
        return line.strip() == other.strip()
    return SequenceMatcher(None, one, two, autojunk=False).ratio() >= ALIKE


def _letters(line: str) -> str:
    return "".join(character for character in line.casefold() if character.isalnum())


def _digits(letters: str) -> str:
    return "".join(filter(str.isdigit, letters))
