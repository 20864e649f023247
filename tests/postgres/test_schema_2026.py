"""Additions of the standalone schema of 2026 to that of 2025-12: tasks, dialogs, usage events and practice attempts."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from testkit.class_tasks import begin_attempt, open_task
from testkit.database import Database, temporary_database

pytestmark = pytest.mark.postgres

Connection = psycopg.Connection[DictRow]
INSERT: LiteralString = """
    insert into learning_submissions (course_id, task_id, student_sub, attempt_nr, kind, text_body, intent, dialog_session_id)
    values (gen_random_uuid(), gen_random_uuid(), 'student-1', 1, %(kind)s, %(text_body)s, %(intent)s, %(dialog_session_id)s)
    returning id
"""
DIALOG = {"kind": "dialog", "text_body": None, "intent": "submit", "dialog_session_id": UUID(int=1)}
TEXT = {"kind": "text", "text_body": "two plus two is four", "intent": "feedback", "dialog_session_id": None}
COMPLETE: LiteralString = "select learning_worker_update_completed(%s, %s, 'well done', '{}'::jsonb)"
RECORD: LiteralString = """
    select learning_worker_record_ai_usage(%(submission_id)s, %(event_key)s, 'a model', %(stage)s, 'text', 'primary',
        %(usage_known)s, %(tokens)s, null, null, %(unknown_reason)s)
"""
KNOWN = {"event_key": UUID(int=7), "stage": "feedback", "usage_known": True, "tokens": 12, "unknown_reason": None}
UNKNOWN = KNOWN | {"usage_known": False, "tokens": None, "unknown_reason": "missing_provider_usage"}
CONTEXT: LiteralString = "select * from learning_worker_get_practice_attempt_context(%s)"
FINISH: LiteralString = """
    select learning_worker_complete_practice_attempt(%(attempt)s, %(fulfillment)s, %(classification)s, false, 2.5, 216000,
        %(at)s, %(at)s, 'well done') as is_done
"""
FINISHED = {"fulfillment": 0.9, "classification": "secure", "at": datetime(2026, 1, 2, tzinfo=UTC)}
GIVE_UP: LiteralString = "select learning_worker_fail_practice_attempt(%s, %s) as is_done"


@pytest.fixture(scope="module")
def database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn, audited=False, year=2026) as fresh:
        yield fresh


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("truncate learning_submissions, unit_tasks, courses, practice_session_items, practice_states cascade")
        yield connection


@pytest.fixture
def worker(database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.worker_dsn, autocommit=True, row_factory=dict_row) as connection:
        yield connection


def one(connection: Connection, query: LiteralString, values: Any = None) -> DictRow:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row


def hand_in(owner: Connection, columns: dict[str, Any]) -> UUID:
    submission_id: UUID = one(owner, INSERT, columns)["id"]
    return submission_id


def visible_tasks(worker: Connection, student_sub: str, course_id: str = "") -> list[DictRow]:
    with worker.transaction():
        worker.execute(
            "select set_config('app.current_sub', %s, true), set_config('app.current_course_id', %s, true)",
            [student_sub, course_id],
        )
        return worker.execute("select teacher_context_md from unit_tasks").fetchall()


# Dialogs


@pytest.mark.parametrize("change", [{"text_body": "a text"}, {"intent": "feedback"}, {"dialog_session_id": None}])
def test_a_dialog_has_no_text_of_its_own(owner: Connection, change: dict[str, Any]) -> None:
    """A dialog has a session, is a submission, and neither has a text nor gets one."""
    with pytest.raises(psycopg.errors.CheckViolation, match="learning_submissions_dialog_kind"):
        hand_in(owner, DIALOG | change)


def test_a_completed_dialog_must_have_a_null_text(owner: Connection, worker: Connection) -> None:
    """A text, even an empty one, breaks the check. A null is stored."""
    submission_id = hand_in(owner, DIALOG)
    with pytest.raises(psycopg.errors.CheckViolation, match="learning_submissions_dialog_kind"):
        worker.execute(COMPLETE, [submission_id, ""])
    worker.execute(COMPLETE, [submission_id, None])
    row = one(owner, "select analysis_status, text_body from learning_submissions where id = %s", [submission_id])
    assert row == {"analysis_status": "completed", "text_body": None}


# Tasks


def test_a_task_is_visible_under_its_students_subject_only(owner: Connection, worker: Connection) -> None:
    """A worker reads the context of a task whose section is open to the student, and not after the membership has ended."""
    open_task(owner, hand_in(owner, TEXT), teacher_context_md="be brief")
    assert visible_tasks(worker, "student-1") == [{"teacher_context_md": "be brief"}]
    assert visible_tasks(worker, "student-2") == visible_tasks(worker, "") == []
    owner.execute("update course_memberships set ended_at = now()")
    assert visible_tasks(worker, "student-1") == []


def test_a_modular_units_task_needs_the_course_too(owner: Connection, worker: Connection) -> None:
    """Its section is released nowhere, but belongs to the course of the submission. An archived course hides it."""
    open_task(owner, hand_in(owner, TEXT), is_modular=True, teacher_context_md="be brief")
    course_id = str(one(owner, "select id from courses")["id"])
    assert visible_tasks(worker, "student-1") == visible_tasks(worker, "student-1", str(uuid4())) == []
    assert visible_tasks(worker, "student-1", course_id) == [{"teacher_context_md": "be brief"}]
    owner.execute("update courses set status = 'archived'")
    assert visible_tasks(worker, "student-1", course_id) == []


def test_a_snapshot_of_the_task_is_taken(owner: Connection, worker: Connection) -> None:
    """Each submission has a snapshot, which a worker cannot read."""
    hand_in(owner, TEXT)
    assert one(owner, "select count(*) as n from learning_submission_task_snapshots") == {"n": 1}
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute("select from learning_submission_task_snapshots")


# Usage events


@pytest.mark.parametrize("event", [KNOWN, UNKNOWN])
def test_a_usage_event_is_recorded_once(owner: Connection, worker: Connection, event: dict[str, Any]) -> None:
    """It gets student, course and task of its submission. A repetition of its key changes nothing."""
    submission_id = hand_in(owner, TEXT)
    for _ in range(2):
        worker.execute(RECORD, event | {"submission_id": submission_id})
    (row,) = owner.execute("select student_sub, model, input_tokens, unknown_reason from ai_usage_events").fetchall()
    assert row == {
        "student_sub": "student-1",
        "model": "a model",
        "input_tokens": event["tokens"],
        "unknown_reason": event["unknown_reason"],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"stage": "thinking"},
        {"tokens": -1},
        {"tokens": None},
        {"usage_known": False},
        UNKNOWN | {"unknown_reason": None},
        UNKNOWN | {"unknown_reason": "lost"},
    ],
)
def test_a_wrong_usage_event_raises(owner: Connection, worker: Connection, wrong: dict[str, Any]) -> None:
    """An unknown word, a negative number, and numbers that contradict `usage_known` undo the caller's transaction."""
    submission_id = hand_in(owner, TEXT)
    with pytest.raises(psycopg.errors.CheckViolation):
        worker.execute(RECORD, KNOWN | wrong | {"submission_id": submission_id})


def test_a_usage_event_needs_its_submission(worker: Connection) -> None:
    """The event of a deleted submission raises."""
    with pytest.raises(psycopg.errors.NoDataFound):
        worker.execute(RECORD, KNOWN | {"submission_id": uuid4()})


# Practice attempts


def statuses(owner: Connection) -> tuple[str, str]:
    row = one(
        owner,
        "select attempt.status as attempt, item.status as item "
        "from practice_attempts attempt join practice_session_items item on item.id = item_id",
    )
    return row["attempt"], row["item"]


def test_the_context_of_a_first_and_of_a_second_attempt(owner: Connection, worker: Connection) -> None:
    """A first attempt has no previous one. The second has the first one's numbers. A finished one has no context."""
    submission_id = hand_in(owner, TEXT)
    first = begin_attempt(owner, submission_id, ["clear"], solution_seen=True)
    row = one(worker, CONTEXT, [submission_id])
    assert (row["attempt_id"], row["criteria"], row["solution_seen"], row["previous_stability_days"]) == (
        first,
        ["clear"],
        True,
        None,
    )
    assert one(worker, FINISH, FINISHED | {"attempt": first})["is_done"]
    assert worker.execute(CONTEXT, [submission_id]).fetchone() is None
    owner.execute("delete from practice_attempts")
    begin_attempt(owner, submission_id, ["clear"], presentation_number=2)
    row = one(worker, CONTEXT, [submission_id])
    assert (row["previous_stability_days"], row["previous_interval_seconds"], row["previous_review_count"]) == (2.5, 216_000, 1)
    assert (row["presentation_number"], row["previous_scheduler_version"]) == (2, "gustav-practice-v1")


def test_an_attempt_is_completed_once(owner: Connection, worker: Connection) -> None:
    """Its item gets the feedback. A second result, and a failure after it, change nothing."""
    submission_id = hand_in(owner, TEXT)
    attempt = begin_attempt(owner, submission_id, [])
    assert one(worker, FINISH, FINISHED | {"attempt": attempt}) == {"is_done": True}
    assert statuses(owner) == ("completed", "feedback")
    assert one(worker, FINISH, FINISHED | {"attempt": attempt}) == {"is_done": False}
    assert one(worker, GIVE_UP, [submission_id, "feedback_failed"]) == {"is_done": False}
    assert statuses(owner) == ("completed", "feedback")


def test_a_failed_attempt_can_be_answered_again(owner: Connection, worker: Connection) -> None:
    """The item is active again, so that the session goes on. The code is cut at 100 characters."""
    submission_id = hand_in(owner, TEXT)
    begin_attempt(owner, submission_id, [])
    assert one(worker, GIVE_UP, [submission_id, "x" * 101]) == {"is_done": True}
    assert statuses(owner) == ("failed", "active")
    assert one(owner, "select length(error_code) as n from practice_attempts") == {"n": 100}


@pytest.mark.parametrize("wrong", [{"fulfillment": 1.1}, {"fulfillment": None}, {"classification": "mastered"}])
def test_a_wrong_practice_result_raises(owner: Connection, worker: Connection, wrong: dict[str, Any]) -> None:
    """A fulfillment outside of 0 to 1 and an unknown classification raise, and the attempt stays pending."""
    attempt = begin_attempt(owner, hand_in(owner, TEXT), [])
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        worker.execute(FINISH, FINISHED | {"attempt": attempt} | wrong)
    assert statuses(owner) == ("pending", "awaiting_analysis")


def test_a_context_is_locked_until_the_end_of_its_transaction(owner: Connection, worker: Connection) -> None:
    """Another transaction cannot complete the attempt in between."""
    submission_id = hand_in(owner, TEXT)
    begin_attempt(owner, submission_id, [])
    with worker.transaction():
        one(worker, CONTEXT, [submission_id])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            owner.execute("select from practice_attempts for update nowait")


# The second login


def test_a_limited_login_may_take_jobs_alone(database: Database, owner: Connection) -> None:
    """It sees a submission under its subject and may complete it, and calls none of the new functions."""
    submission_id = hand_in(owner, TEXT)
    with psycopg.connect(database.limited_dsn, autocommit=True) as limited:
        for query in (CONTEXT, "select learning_worker_fail_practice_attempt(%s, '')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                limited.execute(query, [submission_id])
        with limited.transaction():
            limited.execute("select set_config('app.current_sub', 'student-1', true)")
            assert limited.execute("select id from learning_submissions").fetchall() == [(submission_id,)]
        limited.execute("update learning_submission_jobs set status = 'leased'")
        limited.execute(COMPLETE, [submission_id, "two plus two is four"])
