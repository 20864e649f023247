"""Endless repetitions, and the repetitions of correct pages."""

import pytest

from worker.ollama.repetition import DOCUMENT_CHARACTERS, LONGEST_UNIT_CHARACTERS, PAGE_CHARACTERS, Repetition

SENTENCE = "Ich soll im Unterricht nicht mit meinem Nachbarn reden und muss darum diesen einen Satz abschreiben.\n"


def pieces(text: str, size_characters: int = 4) -> list[str]:
    return [text[start : start + size_characters] for start in range(0, len(text), size_characters)]


def characters_before_the_end(limit_characters: int, text: str, size_characters: int = 4) -> int | None:
    """Characters until the repetition is detected. None if never."""
    repetition, said = Repetition(limit_characters), 0
    for piece in pieces(text, size_characters):
        said += len(piece)
        if repetition.is_endless_after(piece):
            return said
    return None


ENDLESS = {
    "one character": "." * 40_000,
    "a word": "wort " * 8_000,
    "spaces": " " * 40_000,
    "white space of all kinds": "".join(" " * n + "\n" + "\t" * n for n in range(200)),
    "the longest unit": ("x" * (LONGEST_UNIT_CHARACTERS - 1) + "y") * 200,
    "dots with line ends": ("." * 80 + "\n") * 400,
}


@pytest.mark.parametrize("limit_characters", [DOCUMENT_CHARACTERS, PAGE_CHARACTERS])
@pytest.mark.parametrize("text", ENDLESS.values(), ids=ENDLESS.keys())
def test_endless(text: str, limit_characters: int) -> None:
    """An endless unit is detected between the limit and five quarters of it, for any unit and any text before."""
    before = "Die Seite beginnt mit etwas anderem. "
    said = characters_before_the_end(limit_characters, before + text)
    assert said is not None
    assert limit_characters < said <= limit_characters * 5 / 4 + len(before) + 4


@pytest.mark.parametrize("size_characters", [1, 7, 1000])
def test_endless_in_pieces_of_any_size(size_characters: int) -> None:
    assert characters_before_the_end(DOCUMENT_CHARACTERS, "ja, " * 1000, size_characters) is not None


HONEST = {
    "answer lines of a worksheet": ("." * 99 + "\n") * 40 + "Name: ________",
    "one sentence fifty times": SENTENCE * 49,
    "a times table": "\n".join(f"{a} mal {b} ist {a * b}" for a in range(1, 30) for b in range(1, 30)),
}


@pytest.mark.parametrize("text", HONEST.values(), ids=HONEST.keys())
def test_correct_pages(text: str) -> None:
    """A page may repeat as pupils and worksheets do."""
    assert characters_before_the_end(PAGE_CHARACTERS, text) is None


def test_a_correct_document() -> None:
    """Ten judgements with the same words differ by their keys, and a rule of markdown ends."""
    judged = "".join(f'"c{place:02}":{{"explanation_md":"Das ist erfüllt.","score":10}},' for place in range(1, 11))
    assert characters_before_the_end(DOCUMENT_CHARACTERS, judged * 1 + "-" * 200 + judged) is None


def test_a_repetition_that_has_ended() -> None:
    """A long row that has ended is not endless, although most of the checked text is one unit."""
    ended = "-" * (DOCUMENT_CHARACTERS - 150) + "".join(str(number) for number in range(100, 150))
    assert characters_before_the_end(DOCUMENT_CHARACTERS, ended, 1) is None


def test_a_unit_longer_than_the_longest() -> None:
    """Units of more than two hundred characters are limited by num_predict alone."""
    unit = " ".join(str(number) for number in range(1000, 1000 + LONGEST_UNIT_CHARACTERS // 4)) + " mehr"
    assert characters_before_the_end(DOCUMENT_CHARACTERS, unit * 100) is None


def test_too_small_a_limit() -> None:
    """A limit below three units is rejected, because the shortest period could be missed."""
    with pytest.raises(ValueError, match="three units"):
        Repetition(DOCUMENT_CHARACTERS - 1)
