"""The grade of doubt of a page that was read: `good`, or `doubtful` with reasons, so that a teacher looks where it matters.

Grades are codes and numbers, never a text. Notes are the codes of worker.documents.page, which this package does not import.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

LEAST_MEAN_LOGPROB = -0.35  # a probability of 70 %
UNSURE_LOGPROB, MOST_UNSURE_SHARE = -1.2, 0.2  # a fifth of the tokens with less than 30 % each
LEAST_TOKENS = 8  # the figures of a shorter answer say little
MAX_GRADES, MAX_CODES = 10_000, 40  # of a payload, which may contain anything
_CODE = re.compile(r"[a-z_]{1,64}")
DOUBTED_NOTES = frozenset(
    {"low_contrast", "blurred", "small", "page_missing", "incomplete", "annotation_missing", "font_missing"}
)


class Reason(StrEnum):
    """Reasons of the reading. The notes in DOUBTED_NOTES are reasons too, by their own codes."""

    LOW_PROBABILITY = "low_probability"  # the server's figures for the answer's tokens
    RETRIED = "retried"  # an earlier answer for this page was unusable
    REPETITION = "repetition"  # the earlier answer repeated itself and was cut
    TRUNCATED = "truncated"  # the earlier answer reached its limit of tokens
    NO_TEXT = "no_text"  # a model was asked and read nothing


_CUT = {"Runaway": Reason.REPETITION, "AnswerTruncated": Reason.TRUNCATED}  # by the error class of the job's last try


@dataclass(frozen=True, slots=True)
class Confidence:
    """The model's certainty of its tokens. `tokens` counts those with a probability, and is 0 for a server that sends none."""

    tokens: int = 0
    logprob_sum: float = 0.0
    unsure_tokens: int = 0

    def plus(self, logprob: float) -> "Confidence":
        return Confidence(self.tokens + 1, self.logprob_sum + logprob, self.unsure_tokens + (logprob < UNSURE_LOGPROB))

    @property
    def is_low(self) -> bool:
        if self.tokens < LEAST_TOKENS:
            return False
        return self.logprob_sum / self.tokens < LEAST_MEAN_LOGPROB or self.unsure_tokens / self.tokens > MOST_UNSURE_SHARE


NO_CONFIDENCE = Confidence()  # the server has sent no figures


@dataclass(frozen=True, slots=True)
class ReadPage:
    """Facts about a page after it was read.

    `confidence` is None if no model was asked. `attempt` counts earlier tries. The last of them ended with `last_error`, a class.
    """

    notes: tuple[str, ...]
    has_text: bool
    confidence: Confidence | None = None
    attempt: int = 0
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class PageGrade:
    """The grade of a page, counted from 1. `notes` are codes for what was done to the page or is wrong with it."""

    page: int
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_doubtful(self) -> bool:
        return bool(self.reasons)

    @property
    def grade(self) -> Literal["good", "doubtful"]:
        return "doubtful" if self.reasons else "good"

    def as_json(self) -> dict[str, Any]:
        return {"page": self.page, "grade": self.grade, "reasons": list(self.reasons), "notes": list(self.notes)}


def grade_of(number: int, page: ReadPage) -> PageGrade:
    """The grade of a page by its notes and its reading."""
    reasons = [note for note in page.notes if note in DOUBTED_NOTES]
    if page.confidence is not None:
        reasons += _reasons_of_a_call(page, page.confidence)
    return PageGrade(number, tuple(reasons), page.notes)


def _reasons_of_a_call(page: ReadPage, confidence: Confidence) -> Iterable[str]:
    if page.attempt > 0:
        yield Reason.RETRIED.value
        if page.last_error in _CUT:
            yield _CUT[page.last_error].value
    if confidence.is_low:
        yield Reason.LOW_PROBABILITY.value
    if not page.has_text:
        yield Reason.NO_TEXT.value


def parsed_grades(values: object) -> tuple[PageGrade, ...]:
    """Grades of a payload, by page, without values that no worker can have written: a job does not fail for its grades."""
    if not isinstance(values, Collection) or isinstance(values, str | bytes | Mapping) or len(values) > MAX_GRADES:
        return ()
    found = {grade.page: grade for grade in map(_parsed, values) if grade is not None}
    return tuple(found[page] for page in sorted(found))


def _parsed(value: object) -> PageGrade | None:
    if not isinstance(value, Mapping):
        return None
    page, reasons, notes = value.get("page"), _codes(value.get("reasons")), _codes(value.get("notes"))
    if not isinstance(page, int) or isinstance(page, bool) or page < 1 or reasons is None or notes is None:
        return None
    return PageGrade(page, reasons, notes)


def _codes(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list) or len(value) > MAX_CODES or not all(_is_code(each) for each in value):
        return None
    return tuple(value)


def _is_code(value: object) -> bool:
    return isinstance(value, str) and _CODE.fullmatch(value) is not None
