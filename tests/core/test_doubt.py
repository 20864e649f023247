"""The grade of doubt of a page follows from its notes and its reading, and holds codes only."""

import pytest

from worker.core.doubt import DOUBTED_NOTES, NO_CONFIDENCE, Confidence, PageGrade, ReadPage, grade_of, parsed_grades
from worker.documents.page import Note


def confidence(*logprobs: float) -> Confidence:
    found = NO_CONFIDENCE
    for logprob in logprobs:
        found = found.plus(logprob)
    return found


SURE = confidence(*[-0.05] * 40)
READINGS = {
    "read at once": (ReadPage((), True, SURE), ()),
    "without figures of the server": (ReadPage((), True, NO_CONFIDENCE), ()),
    "unsure on average": (ReadPage((), True, confidence(*[-0.4] * 40)), ("low_probability",)),
    "unsure of a quarter": (ReadPage((), True, confidence(*[-0.01] * 30, *[-1.3] * 10)), ("low_probability",)),
    "unsure of a few": (ReadPage((), True, confidence(*[-0.01] * 36, *[-1.3] * 4)), ()),
    "too short to tell": (ReadPage((), True, confidence(*[-3.0] * 7)), ()),
    "after a retry": (ReadPage((), True, SURE, 1, "EmptyAnswer"), ("retried",)),
    "after a cut repetition": (ReadPage((), True, SURE, 2, "Runaway"), ("retried", "repetition")),
    "after all tokens": (ReadPage((), True, SURE, 1, "AnswerTruncated"), ("retried", "truncated")),
    "an error that cost no attempt": (ReadPage((), True, SURE, 0, "Runaway"), ()),
    "nothing read": (ReadPage((), False, SURE), ("no_text",)),
    "pale": (ReadPage(("low_contrast",), True, SURE), ("low_contrast",)),
    "blurred and small": (ReadPage(("blurred", "small"), True, SURE), ("blurred", "small")),
    "blank, so not asked": (ReadPage(("blank",), False), ()),
    "missing, so not asked": (ReadPage(("page_missing",), True), ("page_missing",)),
    "its own text": (ReadPage((), True, None, 1, "Runaway"), ()),
}


@pytest.mark.parametrize(("read", "reasons"), READINGS.values(), ids=READINGS.keys())
def test_the_reasons_of_a_reading(read: ReadPage, reasons: tuple[str, ...]) -> None:
    """Each reason follows from its own fact, and a page without one is good."""
    grade = grade_of(3, read)
    assert (grade.page, grade.reasons, grade.notes) == (3, reasons, read.notes)
    assert (grade.grade, grade.is_doubtful) == (("doubtful", True) if reasons else ("good", False))


def test_doubted_notes_exist() -> None:
    """Each note of a hard picture is a reason. Blank is none, because nothing was there to read."""
    assert {Note.LOW_CONTRAST, Note.BLURRED, Note.SMALL} <= DOUBTED_NOTES
    assert Note.BLANK not in DOUBTED_NOTES


def test_a_grade_survives_its_payload() -> None:
    """Grades that were written are read again, in the order of their pages."""
    grades = (PageGrade(1), PageGrade(2, ("retried", "blurred"), ("blurred",)))
    assert parsed_grades([grade.as_json() for grade in reversed(grades)]) == grades


GOOD = PageGrade(1).as_json()
FOREIGN: dict[str, object] = {
    "no list": "page",
    "null": None,
    "a number": 7,
    "an object": {"1": GOOD},
    "too many": [GOOD] * 10_001,
    "no object": [7],
    "no page": [{"reasons": [], "notes": []}],
    "page 0": [{**GOOD, "page": 0}],
    "page true": [{**GOOD, "page": True}],
    "a text as a reason": [{**GOOD, "reasons": ["Der Fuchs läuft."]}],
    "reasons of another kind": [{**GOOD, "reasons": "retried"}],
    "too many notes": [{**GOOD, "notes": ["blank"] * 41}],
    "an endless code": [{**GOOD, "notes": ["a" * 65]}],
}


@pytest.mark.parametrize("values", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_grades_are_left_out(values: object) -> None:
    """A payload may contain anything, and only codes get from it into a result."""
    assert parsed_grades(values) == ()
