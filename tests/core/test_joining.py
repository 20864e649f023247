"""Texts of pages and of pieces of a page are joined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.joining import MOST_LINES, joined, without_repeated

PAGES = ("eins", "zwei", "drei")


@pytest.mark.parametrize(
    ("continued", "text"),
    [
        ((False, False, False), "eins\n\nzwei\n\ndrei"),
        ((False, True, False), "eins\nzwei\n\ndrei"),
        ((False, True, True), "eins\nzwei\ndrei"),
        ((), "eins\n\nzwei\n\ndrei"),
        ((False,), "eins\n\nzwei\n\ndrei"),
        ((False, True, False, True), "eins\nzwei\n\ndrei"),
    ],
)
def test_pages_have_an_empty_line_between_them_and_pieces_have_none(continued: tuple[bool, ...], text: str) -> None:
    """A piece follows in the next line. Pages of which nothing is known are different pages."""
    assert joined(PAGES, continued) == text


def test_one_page_is_its_text() -> None:
    assert joined(("",), (False,)) == ""


REPEATED = {
    "one line": ("a b\nDer Fuchs quakt.", "Der Fuchs quakt.\nDanach", "Danach"),
    "two lines": ("Der Fuchs\nquakt laut.", "Der Fuchs\nquakt laut.\nDanach", "Danach"),
    "read a little differently": ("Der Fuchs qnakt laut", "  der Fuchs quakt laut!\nDanach", "Danach"),
    "with empty lines between": ("Der Fuchs\n\nquakt laut.\n", "Der Fuchs\nquakt laut.\n\nDanach", "\nDanach"),
    "the whole piece": ("Der Fuchs", "Der Fuchs", ""),
    "a drawn line": ("a b\n---", "---\nDanach", "Danach"),
}
NOT_REPEATED = {
    "another number": ("Rechnung: 3 + 4 = 7", "Rechnung: 3 + 5 = 7\nDanach"),
    "another word": ("Der Hund bellt", "Der Fuchs quakt\nDanach"),
    "a line further up": ("Der Fuchs quakt\nDanach", "Der Fuchs quakt\nZuletzt"),
    "a part of a line": ("Der Fuchs", "Der Fuchs quakt laut in der Nacht"),
    "empty": ("", "Der Fuchs"),
    "marks": ("---", "==="),
    "nothing but empty lines": ("\n\n", "\n\n"),
}


@pytest.mark.parametrize("name", REPEATED)
def test_repeated_lines_are_removed(name: str) -> None:
    """The last lines of a piece are removed from the beginning of the next, also if a model read them differently."""
    before, text, rest = REPEATED[name]
    assert without_repeated(before, text) == rest


@pytest.mark.parametrize("name", NOT_REPEATED)
def test_other_lines_are_kept(name: str) -> None:
    """A line that is not the same is kept."""
    before, text = NOT_REPEATED[name]
    assert without_repeated(before, text) == text


words = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=4, max_size=9)
line = st.lists(words, min_size=3, max_size=8).map(" ".join)
lines = st.lists(line, max_size=10)


def alone(lines: list[str]) -> list[str]:
    """The first word of a line makes it unlike all others."""
    return [f"{chr(97 + number % 26) * 40} {line}" for number, line in enumerate(lines)]


@given(lines, lines)
def test_nothing_is_removed_that_is_not_repeated(before: list[str], after: list[str]) -> None:
    """Whatever the texts, if no line is in both, all of it is kept."""
    every = alone(before + after)
    text = "\n".join(every[len(before) :])
    assert without_repeated("\n".join(every[: len(before)]), text) == text


@given(lines, lines, st.lists(line, min_size=1, max_size=MOST_LINES), st.data())
def test_an_overlap_is_once_in_the_text(before: list[str], after: list[str], both: list[str], data: st.DataObject) -> None:
    """Each line of the overlap, of which the second reading has another letter, is once in the joined text."""
    every = alone(before + both + after)
    start, end = len(before), len(before) + len(both)
    again = [_misread(data, line) for line in every[start:end]]
    text = without_repeated("\n".join(every[:end]), "\n".join(again + every[end:]))
    assert text == "\n".join(every[end:])


@given(st.text(), st.text())
def test_what_is_left_is_the_end_of_the_text(before: str, text: str) -> None:
    """For any two texts, only a beginning is removed, and never one with more lines than the limit."""
    rest = without_repeated(before, text)
    assert text.endswith(rest)
    removed = text.removesuffix(rest) if rest else text
    assert sum(bool(line.strip()) for line in removed.split("\n")) <= MOST_LINES


@given(st.lists(st.text(), min_size=1, max_size=6), st.data())
def test_joining_loses_nothing(texts: list[str], data: st.DataObject) -> None:
    """All texts are in the result, in their order, with nothing but line breaks between them."""
    continued = [False, *data.draw(st.lists(st.booleans(), min_size=len(texts) - 1, max_size=len(texts) - 1))]
    assert joined(texts, continued).replace("\n", "") == "".join(texts).replace("\n", "")


def _misread(data: st.DataObject, line: str) -> str:
    at = data.draw(st.integers(0, len(line) - 1))
    return line[:at] + "x" + line[at + 1 :]
