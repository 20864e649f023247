"""Codes that adapters of other packages raise as their message: which are kept, and whose fault they are."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from worker.core.adapter_codes import (
    CODE_ROWS,
    FEEDBACK_INVALID_ANALYSIS,
    PRACTICE_ANALYSIS_INVALID,
    accepted_code,
)
from worker.core.faults import Fault, Suspicion
from worker.core.platform import CODES_OF_2025, PLATFORM_OF_2025
from worker.core.retry import failure_of
from worker.ipc.contract import Step

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
PLATFORM_OF_2026 = replace(PLATFORM_OF_2025, error_codes=CODES_OF_2025 | {FEEDBACK_INVALID_ANALYSIS})


def raised(class_name: str, *args: object) -> Exception:
    """An exception of another package, whose class has only its name in common with ours."""
    bases = {"FeedbackInvalidAnalysisError": type("FeedbackPermanentError", (Exception,), {})}
    error: Exception = type(class_name, (bases.get(class_name, Exception),), {})(*args)
    return error


KEPT: dict[str, tuple[str, str]] = {
    "image unavailable": ("VisionTransientError", "image_unavailable"),
    "hash mismatch": ("VisionPermanentError", "hash_mismatch"),
    "too complex, for which the learner's page has a sentence": ("FeedbackPermanentError", "image_too_complex_for_provider"),
    "missing setting, with capitals": ("FeedbackTransientError", "missing_OPENAI_BASE_URL"),
    "a code of a later platform": ("FeedbackTransientError", "a_new_code_2027"),
    "of a subclass": ("FeedbackInvalidAnalysisError", "feedback_invalid_analysis"),
}


@pytest.mark.parametrize(("class_name", "code"), KEPT.values(), ids=KEPT.keys())
def test_a_code_is_kept(class_name: str, code: str) -> None:
    """A message that is a code stands where the class would."""
    assert failure_of(raised(class_name, code), Step.FEEDBACK).error_class == code


DROPPED: dict[str, tuple[str, tuple[object, ...]]] = {
    "a sentence": ("VisionTransientError", ("the pupil wrote this",)),
    "an umlaut": ("FeedbackTransientError", ("größe",)),
    "too long": ("FeedbackTransientError", ("a" * 65,)),
    "a second line": ("FeedbackTransientError", ("timeout\n",)),
    "a refusal by the database": ("FeedbackTransientError", ("database_23514",)),
    "none": ("FeedbackTransientError", ()),
    "no text": ("FeedbackTransientError", (404,)),
    "two arguments": ("FeedbackTransientError", ("timeout", "mia")),
    "a bug with one word of a pupil": ("KeyError", ("mia",)),
    "a bug with a code": ("RuntimeError", ("image_unavailable",)),
    "a class of ours": ("InvalidDocument", ("score",)),
}


@pytest.mark.parametrize(("class_name", "args"), DROPPED.values(), ids=DROPPED.keys())
def test_any_other_message_becomes_the_class(class_name: str, args: tuple[object, ...]) -> None:
    """No part of a message that may be a pupil's leaves the worker."""
    assert failure_of(raised(class_name, *args), Step.FEEDBACK).error_class == class_name


FAULTS: dict[str, tuple[str, str, Fault]] = {
    "a missing setting holds": ("FeedbackTransientError", "missing_AI_TEXT_MODEL", Fault.SURROUNDINGS),
    "also where the adapter calls it permanent": ("FeedbackPermanentError", "missing_AI_VISUAL_MODEL", Fault.SURROUNDINGS),
    "a missing package": ("FeedbackTransientError", "dspy_unavailable", Fault.SURROUNDINGS),
    "a rate limit": ("FeedbackTransientError", "provider_rate_limited", Fault.SURROUNDINGS),
    "one picture or the store": ("VisionTransientError", "image_unavailable", Fault.SUSPECT),
    "a slow model": ("FeedbackTransientError", "timeout", Fault.SUSPECT),
    "an empty answer": ("VisionTransientError", "empty_ocr_text", Fault.ANSWER),
    "an unknown code, transient": ("FeedbackTransientError", "visual_feedback_failed", Fault.SUSPECT),
    "an unknown code, permanent": ("VisionPermanentError", "hash_mismatch", Fault.INPUT),
    "an analysis that was repaired in vain": ("FeedbackInvalidAnalysisError", "feedback_invalid_analysis", Fault.INPUT),
}


@pytest.mark.parametrize(("class_name", "code", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_the_fault_of_a_code(class_name: str, code: str, fault: Fault) -> None:
    """The table of codes decides, and the class where the table has no row."""
    assert failure_of(raised(class_name, code), Step.FEEDBACK).fault is fault


def test_a_timeout_is_evidence_like_one_of_ours() -> None:
    assert failure_of(raised("FeedbackTransientError", "timeout"), Step.FEEDBACK).suspicion is Suspicion.LATE


SUBMISSION_CODES: dict[str, tuple[str, str, Step, str]] = {
    "a class of its own": ("FeedbackInvalidAnalysisError", "any_detail", Step.FEEDBACK, FEEDBACK_INVALID_ANALYSIS),
    "its class without a code": ("FeedbackInvalidAnalysisError", "the pupil wrote", Step.FEEDBACK, FEEDBACK_INVALID_ANALYSIS),
    "an invalid document of our own adapter": ("InvalidDocument", "json_invalid", Step.FEEDBACK, FEEDBACK_INVALID_ANALYSIS),
    "an input": ("FeedbackPermanentError", "input_too_large", Step.FEEDBACK, "input_too_large"),
    "an input of the vision, as on the platform": ("VisionPermanentError", "input_corrupt", Step.VISION, "vision_failed"),
    "a transient error": ("FeedbackTransientError", "input_corrupt", Step.FEEDBACK, "feedback_failed"),
    "any other code": ("FeedbackPermanentError", "hash_mismatch", Step.FEEDBACK, "feedback_failed"),
}


@pytest.mark.parametrize(("class_name", "code", "step", "expected"), SUBMISSION_CODES.values(), ids=SUBMISSION_CODES.keys())
def test_the_code_of_the_submission(class_name: str, code: str, step: Step, expected: str) -> None:
    assert failure_of(raised(class_name, code), step).code == expected


def test_a_database_of_2025_gets_a_code_that_it_takes() -> None:
    """The function of that year raises for any other code."""
    assert accepted_code(FEEDBACK_INVALID_ANALYSIS, PLATFORM_OF_2025, Step.FEEDBACK) == "feedback_failed"
    assert accepted_code(PRACTICE_ANALYSIS_INVALID, PLATFORM_OF_2025, Step.FEEDBACK) == "feedback_failed"
    assert accepted_code("input_corrupt", PLATFORM_OF_2025, Step.FEEDBACK) == "input_corrupt"


def test_a_database_of_2026_gets_the_precise_code() -> None:
    """The code of practice attempts is replaced by the nearest one until a database takes it."""
    assert accepted_code(FEEDBACK_INVALID_ANALYSIS, PLATFORM_OF_2026, Step.FEEDBACK) == FEEDBACK_INVALID_ANALYSIS
    assert accepted_code(PRACTICE_ANALYSIS_INVALID, PLATFORM_OF_2026, Step.FEEDBACK) == FEEDBACK_INVALID_ANALYSIS
    later = replace(PLATFORM_OF_2026, error_codes=PLATFORM_OF_2026.error_codes | {PRACTICE_ANALYSIS_INVALID})
    assert accepted_code(PRACTICE_ANALYSIS_INVALID, later, Step.FEEDBACK) == PRACTICE_ANALYSIS_INVALID


def test_the_page_prints_the_codes() -> None:
    """docs/faults.md has each row of the code in the same words, and no other."""
    section = PAGE.read_text().partition("## Codes of foreign adapters")[2].partition("\n## ")[0]
    printed = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+) \|$", section, re.MULTILINE)
    assert printed == [(row.name, row.fault.value, row.because) for row in CODE_ROWS]
