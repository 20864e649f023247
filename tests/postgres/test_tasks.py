"""The read of a task under its student and course, and the end of a practice attempt together with its job."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from testkit.class_tasks import begin_attempt, open_task
from testkit.database import Database, temporary_database
from testkit.submissions import enter_all, text_submissions
from worker.core.adapter_codes import PRACTICE_ANALYSIS_INVALID
from worker.core.outcome import Completed, Failed, Lease
from worker.core.practice import NOT_COMPLETED, AttemptRefused, Practice
from worker.core.refusal import Access
from worker.core.task import NO_TASK, TaskRow
from worker.ipc.contract import ErrorCode
from worker.queue.attempts import settle_attempt
from worker.queue.connection import Connection, connect
from worker.queue.leases import LeaseRequest, lease_job
from worker.queue.rehearsal import rehearse
from worker.queue.submissions import read_submission
from worker.queue.tasks import read_task

pytestmark = pytest.mark.postgres

WHOLE: dict[str, Any] = {"instruction_md": "instruction", "teacher_context_md": "context", "model_solution_md": "solution"}
SUBJECT: LiteralString = (
    "select current_setting('app.current_sub', true) || current_setting('app.current_course_id', true) as setting"
)
RESULT = Completed("read", "good", {})


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn, year=2026) as fresh:
        yield fresh


@pytest.fixture
def owner(shared_database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(shared_database.admin_dsn, autocommit=True, row_factory=dict_row) as connection:
        connection.execute("truncate learning_submissions, unit_tasks, courses, course_sections, practice_session_items cascade")
        yield connection


@pytest.fixture
def worker(shared_database: Database) -> Iterator[Connection]:
    with connect(shared_database.worker_dsn, "tasks") as connection:
        yield connection


@pytest.fixture
def submission_id(owner: psycopg.Connection[Any], tmp_path: Path) -> UUID:
    with psycopg.connect(owner.info.dsn, password=owner.info.password, autocommit=True) as platform:
        return enter_all(platform, text_submissions(1, seed=1), storage_root=tmp_path)[0]


def row_of(worker: Connection, submission_id: UUID) -> Any:
    row = read_submission(worker, submission_id, "schueler-0001")
    assert row is not None
    return row


def leased(worker: Connection) -> Lease:
    lease = lease_job(worker, LeaseRequest(uuid4(), 60))
    assert lease is not None
    return lease


# The task


def test_a_task_is_read_under_its_student_and_course(
    owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID
) -> None:
    """A task of a modular unit is visible in the submission's own course only, and nothing of that outlives the read."""
    open_task(owner, submission_id, is_modular=True, **WHOLE)
    submission = row_of(worker, submission_id)
    assert read_task(worker, submission) == TaskRow(*WHOLE.values())
    assert read_task(worker, {**submission, "course_id": uuid4()}) == NO_TASK
    assert read_task(worker, {**submission, "student_sub": "another"}) == NO_TASK
    row = worker.execute(SUBJECT).fetchone()
    assert row is not None
    assert not row["setting"]


@pytest.mark.parametrize(
    "change",
    [
        "delete from unit_tasks",
        "update course_memberships set ended_at = now()",
        "update courses set status = 'archived'",
        "update course_sections set is_released = false",
    ],
)
def test_a_hidden_task_is_no_error(
    owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID, change: LiteralString
) -> None:
    """An archived course, an ended membership, a withdrawn section or a deleted task leaves no context."""
    open_task(owner, submission_id, **WHOLE)
    owner.execute(change)
    assert read_task(worker, row_of(worker, submission_id)) == NO_TASK


@pytest.mark.parametrize("year", [2025, 2026])
def test_a_renamed_column_is_found_at_once(
    owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID, year: int
) -> None:
    """A migration in the life of a connection costs no job its context, whichever of the two names it leaves."""
    names = ("teacher_context_md", "hints_md") if year == 2025 else ("hints_md", "teacher_context_md")
    if year == 2026:
        owner.execute("alter table unit_tasks rename teacher_context_md to hints_md")
    open_task(owner, submission_id, **{**WHOLE, names[0]: "context"} if year == 2025 else {"hints_md": "context"})
    submission = row_of(worker, submission_id)
    try:
        assert read_task(worker, submission).teacher_context_md == "context"
        owner.execute(f"alter table unit_tasks rename {names[0]} to {names[1]}")
        assert read_task(worker, submission).teacher_context_md == "context"
    finally:
        if year == 2025:
            owner.execute("alter table unit_tasks rename hints_md to teacher_context_md")


def test_a_refused_read_is_no_error(owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID) -> None:
    """If the policy of the table fails, the job goes on without the task, and the connection stays usable."""
    open_task(owner, submission_id, **WHOLE)
    submission = row_of(worker, submission_id)
    broken: LiteralString = "as restrictive for select to learning_worker using (1 / (length(id::text) - 36) = 0)"
    owner.execute(f"create policy broken on unit_tasks {broken}")
    try:
        assert read_task(worker, submission) == NO_TASK
        assert row_of(worker, submission_id)["id"] == submission_id
    finally:
        owner.execute("drop policy broken on unit_tasks")


# Practice attempts


def complete(*, conn: Connection, submission_id: str, analysis_json: dict[str, Any], feedback_md: str) -> None:
    assert analysis_json == {}
    conn.execute(
        "select learning_worker_complete_practice_attempt(attempt_id, 0.5, 'partial', false, 2.0, 172800, now(), now(), %s)"
        " from learning_worker_get_practice_attempt_context(%s::uuid)",
        (feedback_md, submission_id),
    )


def fail(*, conn: Connection, submission_id: str, error_code: str) -> None:
    conn.execute("select learning_worker_fail_practice_attempt(%s::uuid, %s)", (submission_id, error_code))


PRACTICE = Practice(complete, fail)


def states(owner: psycopg.Connection[Any]) -> tuple[Any, ...]:
    """Return the states of submission, attempt and item, and the number of jobs that are not failed."""
    row = owner.execute(
        "select analysis_status, a.status, a.error_code, i.status as item, "
        "(select count(*) from learning_submission_jobs where status <> 'failed') as jobs "
        "from learning_submissions s join practice_attempts a on a.submission_id = s.id "
        "join practice_session_items i on i.id = a.item_id"
    ).fetchone()
    assert row is not None
    return tuple(row.values())


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (RESULT, ("completed", "completed", None, "feedback", 0)),
        (Failed(ErrorCode.FEEDBACK_FAILED, "a_code"), ("failed", "failed", "a_code", "active", 0)),
    ],
)
def test_job_and_attempt_end_together(
    owner: psycopg.Connection[Any],
    worker: Connection,
    submission_id: UUID,
    outcome: Completed | Failed,
    expected: tuple[Any, ...],
) -> None:
    """A result ends the pupil's wait, and after a failure the pupil can answer again."""
    begin_attempt(owner, submission_id, ["a"])
    assert settle_attempt(worker, leased(worker), outcome, None, PRACTICE)
    assert states(owner) == expected


@pytest.mark.parametrize(
    ("error", "reason"), [(ValueError("invalid_practice_analysis"), PRACTICE_ANALYSIS_INVALID), (KeyError("x"), NOT_COMPLETED)]
)
def test_a_refused_result_writes_nothing(
    owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID, error: Exception, reason: str
) -> None:
    """If the platform's function raises after its writes, neither of them nor the job's end is left."""
    begin_attempt(owner, submission_id, ["a"])
    lease = leased(worker)

    def refuse(**given: Any) -> None:
        complete(**given)
        raise error

    with pytest.raises(AttemptRefused) as refused:
        settle_attempt(worker, lease, RESULT, None, Practice(refuse, fail))
    assert refused.value.reason == reason
    assert states(owner) == ("pending", "pending", None, "awaiting_analysis", 1)


def test_a_bug_in_the_failing_function_costs_no_attempt(
    owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID
) -> None:
    """A function of the platform that raises would end one worker after another: the database's own ends the attempt."""
    begin_attempt(owner, submission_id, ["a"])

    def break_down(**given: Any) -> None:
        raise KeyError(given["submission_id"])

    failed = Failed(ErrorCode.FEEDBACK_FAILED, "a_code")
    assert settle_attempt(worker, leased(worker), failed, None, Practice(complete, break_down))
    assert states(owner) == ("failed", "failed", "a_code", "active", 0)


def test_without_the_lease_no_attempt_is_ended(owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID) -> None:
    """The fence of the job is the fence of its attempt."""
    begin_attempt(owner, submission_id, ["a"])
    lease = leased(worker)
    owner.execute("update learning_submission_jobs set lease_key = gen_random_uuid()")
    assert not settle_attempt(worker, lease, RESULT, None, PRACTICE)
    assert states(owner) == ("pending", "pending", None, "awaiting_analysis", 1)


# Dialogs


def test_the_rehearsal_of_a_dialog_has_no_text(owner: psycopg.Connection[Any], worker: Connection, submission_id: UUID) -> None:
    """The database refuses a text in a dialog's row, so its result is rehearsed without one."""
    owner.execute("update learning_submissions set kind = 'dialog', text_body = null, dialog_session_id = gen_random_uuid()")
    lease = leased(worker)
    assert lease.submission_id == submission_id
    rehearse(worker, lease, Access.RESULT, 60, has_text=False)
    with pytest.raises(psycopg.errors.CheckViolation):
        rehearse(worker, lease, Access.RESULT, 60)
