"""docs/documents.md has each reason for which a file is refused, in both languages, and each note."""

import re
from pathlib import Path

import pytest

from worker.core.file_refusals import REASONS
from worker.documents.page import Note

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "documents.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of all tables below a heading, by row."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [re.split(r" *\| *", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_has_its_code_and_its_sentences(reason: str) -> None:
    """One row says what it means, with the code of the submission, and one has the sentence in German and in English."""
    meaning, sentences = (row for row in rows("What is refused") if row[0] == f"`{reason}`")
    assert meaning[1] == f"`{REASONS[reason].code}`"
    assert meaning[2]
    assert all(sentence.endswith(".") for sentence in sentences[1:])
    assert len(set(sentences)) == 3


@pytest.mark.parametrize("reason", REASONS)
def test_each_reason_is_an_error_of_the_log(reason: str) -> None:
    assert f"`{reason}`" in (DOCS / "log.md").read_text()


def test_no_row_is_about_a_reason_that_is_gone() -> None:
    """Codes in lower case are reasons, the others are classes of the model server."""
    codes = {row[0].strip("`") for row in rows("What is refused")}
    assert {code for code in codes if code.islower()} == set(REASONS)


def test_each_note_has_its_row() -> None:
    assert [note.value for note in Note if [f"`{note.value}`"] not in [row[:1] for row in rows("What is noted")]] == []
