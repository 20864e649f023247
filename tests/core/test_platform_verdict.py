"""The verdict of scripts/platform: each difference that a case can have from its expectation is found."""

from dataclasses import replace
from typing import Any

import pytest

from testkit.platform.case import Adapter, Case, Ending, Work, all_cases, chosen
from testkit.platform.entry import text_of, work_of
from testkit.platform.play import Played
from testkit.platform.report import document, row_of
from testkit.platform.verdict import faults_in

Columns = dict[str, Any]


def case(ending: Ending, work: Work = Work.TEXT_DIRECT, adapter: Adapter = Adapter.FOREIGN) -> Case:
    return Case(work, 2025, adapter, ending)


def right(of: Case, **columns: object) -> Played:
    """A case as it must end, with other columns of its submission."""
    text = text_of(of) if of.work.is_read else work_of(of).content
    submission = {"analysis_status": "completed", "error_code": None, "text_body": text, **columns}
    calls = list(of.steps)
    return Played(of, submission, None, None, ["completed"], calls, [])


def failed(**changes: Any) -> Played:
    of = case(Ending.PERMANENT_FEEDBACK)
    columns = {"analysis_status": "failed", "error_code": "feedback_failed", "feedback_last_error": "empty_feedback_md"}
    end = replace(right(of, **columns), results=["failed"])
    changed: Columns = {"job": {"status": "failed", "error_code": "feedback_failed", "payload": {}}, **changes}
    return replace(end, **changed)


def put_back(ending: Ending, **changes: Any) -> Played:
    """A job whose first worker was killed or had an unusable answer, and whose second worker has ended it."""
    between = {"status": "queued", "payload": {"crashes": 1} if ending.is_kill else {}, "retry_count": 0}
    changed: Columns = {"between": between, "calls": ["feedback", "feedback"], **changes}
    return replace(right(case(ending)), **changed)


def left(**changes: Any) -> Played:
    job = {"status": "queued", "retry_count": 0, "payload": {}, "error_code": None}
    waiting = replace(right(case(Ending.LEFT), analysis_status="pending"), job=job, results=[], calls=[])
    return replace(waiting, **changes)


RIGHT = {
    "success": right(case(Ending.SUCCESS)),
    "success with a text that was read": right(case(Ending.SUCCESS, Work.OCR_TEXT)),
    "failed": failed(),
    "put back": put_back(Ending.TRANSIENT_FEEDBACK),
    "killed": put_back(Ending.KILLED_SETTLING),
    "left": left(),
    "practised": replace(right(case(Ending.SUCCESS, Work.PRACTICE)), attempt=("completed", "feedback")),
    "a picture without a text": right(case(Ending.SUCCESS, Work.VISUAL_DIRECT), text_body=None),
}
WRONG = {
    "lost": (right(case(Ending.SUCCESS), analysis_status="pending"), "the submission is pending"),
    "written twice": (replace(RIGHT["success"], results=["completed"] * 2), "2 results"),
    "never written": (replace(RIGHT["success"], results=[]), "0 results"),
    "another text": (right(case(Ending.SUCCESS), text_body="Drei mal vierzehn ist"), "another text"),
    "no text": (right(case(Ending.SUCCESS, Work.OCR_TEXT), text_body=None), "another text"),
    "an attempt that waits for ever": (
        replace(RIGHT["practised"], attempt=("pending", "awaiting_analysis")),
        "attempt and item",
    ),
    "a failed attempt that cannot be repeated": (failed(attempt=("failed", "awaiting_analysis")), "attempt and item"),
    "an attempt of a job that is left": (left(attempt=("failed", "active")), "attempt and item"),
    "a text of a picture": (right(case(Ending.SUCCESS, Work.VISUAL_DIRECT), text_body="Drei"), "another text"),
    "a job that stays": (replace(RIGHT["success"], job={"status": "leased"}), "still there"),
    "a call too many": (replace(RIGHT["success"], calls=["feedback"] * 2), "calls"),
    "a page read again": (replace(RIGHT["success with a text that was read"], calls=["vision", "vision", "feedback"]), "calls"),
    "an answer that was not recorded": (replace(RIGHT["success with a text that was read"], usage=1), "1 answers were recorded"),
    "an answer recorded twice": (replace(RIGHT["success"], usage=2), "2 answers were recorded"),
    "a round trip too many": (replace(RIGHT["success"], round_trips=6), "6 round trips"),
    "unreadable": (replace(RIGHT["success"], unreadable=["a score has no reason"]), "a score has no reason"),
    "not killed": (put_back(Ending.KILLED_SETTLING, has_struck=False), "not killed"),
    "no crash counted": (
        put_back(Ending.KILLED_SETTLING, between={"status": "queued", "payload": {}}),
        "0 crashes were counted",
    ),
    "a crash counted for an error": (
        put_back(Ending.TRANSIENT_FEEDBACK, between={"status": "queued", "payload": {"crashes": 1}}),
        "a crash was counted",
    ),
    "not put back": (put_back(Ending.TRANSIENT_FEEDBACK, between={"status": "failed", "payload": {}}), "not put back"),
    "not committed": (replace(right(case(Ending.KILLED_SETTLED)), between={"status": "queued"}), "not committed"),
    "another code": (failed(submission={**failed().submission, "error_code": "vision_failed"}), "expected failed"),
    "a class instead of the adapter's code": (
        failed(submission={**failed().submission, "feedback_last_error": "feedback_failed"}),
        "not the adapter's code",
    ),
    "a job with another code": (failed(job={"status": "failed", "error_code": "worker_crashed"}), "same code"),
    "left with an attempt": (left(job={"status": "queued", "retry_count": 1, "payload": {}}), "was counted"),
    "left with an expiry": (left(job={"status": "queued", "retry_count": 0, "payload": {"expiries": 1}}), "was counted"),
    "taken": (left(job=None), "not left queued"),
    "left after a call": (left(calls=["feedback"]), "a model was asked"),
    "left without a search": (left(has_struck=False), "no worker has searched"),
}


@pytest.mark.parametrize("played", RIGHT.values(), ids=RIGHT.keys())
def test_a_right_case_has_no_fault(played: Played) -> None:
    assert faults_in(played) == []


@pytest.mark.parametrize(("played", "fault"), WRONG.values(), ids=WRONG.keys())
def test_each_difference_is_found(played: Played, fault: str) -> None:
    """A case that differs in one point is wrong by a fault that names it."""
    assert [fault in each for each in faults_in(played)] == [True]


def test_the_figures_count_what_was_found() -> None:
    """One right case, one left queued by mistake, and one failed with a code that its case does not have."""
    stray = right(case(Ending.SUCCESS), analysis_status="failed", error_code="vision_failed")
    waiting = replace(left(), case=case(Ending.SUCCESS))
    found = document([row_of(each) for each in (replace(RIGHT["success"], round_trips=5), waiting, stray)], 1.0)
    assert [found[key] for key in ("cases", "wrong", "left_queued", "failed_unknown")] == [3, 2, 1, 1]
    assert found["round_trips"] == {"text_direct/2025/foreign": 5}


def test_no_two_cases_are_the_same() -> None:
    """Names are unique, marks too, and a pattern chooses among them."""
    cases = list(all_cases())
    assert len({each.name for each in cases}) == len({each.mark for each in cases}) == len(cases)
    assert {each.work for each in chosen("ocr_text/*")} == {Work.OCR_TEXT}
