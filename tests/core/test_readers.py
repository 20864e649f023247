"""The check of results that every test with a database ends with: each rule of the platform's readers, broken once."""

from collections.abc import Callable
from typing import Any

import pytest

from testkit.readers import faults_in, total

CRITERIA = ("Rechenweg", "Antwortsatz")
Row = dict[str, Any]


def completed(**columns: object) -> Row:
    results = [{"criterion": each, "score": 5, "max_score": 10, "explanation_md": "Weil."} for each in CRITERIA]
    return {
        "kind": "text",
        "text_body": "Drei mal vier",
        "analysis_status": "completed",
        "analysis_json": {"schema": "criteria.v2", "score": 3, "criteria_results": results},
        "feedback_md": "Gut.",
        "error_code": None,
        "vision_last_error": None,
        "feedback_last_error": None,
        "payload": {},
        "metadata": {},
        **columns,
    }


def failed(**columns: object) -> Row:
    reason = {"analysis_status": "failed", "error_code": "feedback_failed", "feedback_last_error": "provider_rate_limited"}
    return completed(**{**reason, **columns})


def changed(**values: object) -> Callable[[Row], object]:
    """Change the first result."""
    return lambda row: row["analysis_json"]["criteria_results"][0].update(values)


BREACHES: dict[str, tuple[Callable[[Row], object], str]] = {
    "blank feedback": (lambda row: row.update(feedback_md=" \n"), "feedback is empty"),
    "a code": (lambda row: row.update(error_code="vision_retrying"), "has the code vision_retrying"),
    "no text": (lambda row: row.update(text_body=None), "no text of a mode that has one"),
    "a text of a picture": (lambda row: row.update(kind="image", payload={"analysis_mode": "Visual_Direct"}), "that has none"),
    "a text of a task's picture": (lambda row: row.update(kind="image", payload={"task_kind": "native"}), "that has none"),
    "a text of a dialog": (lambda row: row.update(kind="dialog"), "a mode that has none"),
    "nothing for the criteria": (lambda row: row.update(analysis_json={}), "none for its criteria"),
    "a score alone": (lambda row: row.update(analysis_json={"score": 3}), "other keys"),
    "another schema": (lambda row: row["analysis_json"].update(schema="criteria.v3"), "no criteria.v2"),
    "a result missing": (lambda row: row["analysis_json"]["criteria_results"].pop(), "not those of the criteria"),
    "another order": (lambda row: row["analysis_json"]["criteria_results"].reverse(), "not those of the criteria"),
    "rounded down": (lambda row: row["analysis_json"].update(score=2), "rounded half up"),
    "true for a total": (lambda row: row["analysis_json"].update(score=True), "rounded half up"),
    "a missing score": (changed(score=None), "no whole number"),
    "true for a score": (changed(score=True), "no whole number"),
    "half a point": (changed(score=4.5), "no whole number"),
    "too many points": (changed(score=11), "no whole number"),
    "another scale": (changed(max_score=5), "no whole number"),
    "no reason": (changed(explanation_md=" "), "has no reason"),
    "one key more": (changed(level="gut"), "other keys"),
}


def test_a_result_as_the_readers_expect_it() -> None:
    assert faults_in(completed(), CRITERIA) == []
    assert faults_in(completed(analysis_json={}), ()) == []
    assert faults_in(completed(kind="dialog", text_body=None), CRITERIA) == []
    assert faults_in(completed(kind="image"), CRITERIA) == []
    assert faults_in(completed(kind="file", payload={"analysis_mode": "ocr_text", "task_kind": "native"}), CRITERIA) == []
    assert faults_in(completed(kind="image", text_body=None, metadata={"analysis_mode": "visual_direct"}), CRITERIA) == []
    assert faults_in(failed(), CRITERIA) == []


@pytest.mark.parametrize(("breach", "fault"), BREACHES.values(), ids=BREACHES.keys())
def test_each_breach_is_found(breach: Callable[[Row], object], fault: str) -> None:
    """A result that breaks one rule alone is found by that rule."""
    row = completed()
    breach(row)
    (found,) = faults_in(row, CRITERIA)
    assert fault in found


FAILURES = {
    "a retry's code": ({"error_code": "feedback_retrying"}, "has the code feedback_retrying"),
    "no code": ({"error_code": None}, "has the code None"),
    "a class": ({"feedback_last_error": "InvalidDocument"}, "is a text and no code"),
    "a sentence": ({"feedback_last_error": "Der Schüler schrieb: Hallo"}, "is a text and no code"),
    "no reason": ({"feedback_last_error": None}, "has no reason"),
}


@pytest.mark.parametrize(("columns", "fault"), FAILURES.values(), ids=FAILURES.keys())
def test_each_breach_of_a_failure_is_found(columns: Row, fault: str) -> None:
    """A failed submission has a final code, and a code as its reason, because the API shows it."""
    (found,) = faults_in(failed(**columns), CRITERIA)
    assert fault in found


@pytest.mark.parametrize(("scores", "score"), [([5, 5], 3), ([5], 3), ([4, 5], 2), ([0, 0], 0), ([10, 10], 5), ([1], 1)])
def test_half_of_the_mean_is_rounded_half_up(scores: list[int], score: int) -> None:
    assert total(scores) == score
