"""A worker sees the work of one pupil, in one transaction. This holds on its own session and behind a transaction pooler."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import pytest

from testkit.filled_queue import STUDENT, FilledQueue
from worker.core.outcome import AlreadyFinal, Completed, Failed, Lease, Released, Retried, Settled
from worker.ipc.contract import ErrorCode, Step
from worker.queue.checkpoints import OcrPage, OcrResult, write_checkpoint, write_page
from worker.queue.connection import Connection, Pooled, connect
from worker.queue.leases import LeaseRequest, find_lease, lease_job
from worker.queue.permits import NO_PERMITS, begin_step
from worker.queue.settle import Settlement, settle, settle_and_lease
from worker.queue.statements import statement
from worker.queue.submissions import read_submission

pytestmark = pytest.mark.postgres

LEASE_SECONDS = 60.0
SUBJECT: LiteralString = "select coalesce(current_setting('app.current_sub', true), '') as subject"
VISIBLE: LiteralString = "select id from learning_submissions"
NO_ID = cast(UUID, "no uuid")  # rejected by the server after the subject was set
OUTCOMES: tuple[Settled, ...] = (
    Completed("read", "feedback", {}),
    Failed(ErrorCode.VISION_FAILED, "vision_failed"),
    Retried(Step.VISION, "SomeError", 0),
    Released("drain"),
    Released("held", 0, "SomeError"),
    AlreadyFinal(),
)
Act = Callable[[Connection, Lease], object]


def settling(outcome: Settled) -> Act:
    return lambda connection, lease: settle(connection, lease, outcome)


def end_and_lease(connection: Connection, lease: Lease) -> Settlement:
    return settle_and_lease(connection, lease, OUTCOMES[0], None, LeaseRequest(uuid4(), LEASE_SECONDS))


ACTS: dict[str, Act] = {
    "lease": lambda connection, _: lease_job(connection, LeaseRequest(uuid4(), LEASE_SECONDS)),
    "find": lambda connection, lease: find_lease(connection, lease.lease_key),
    "read": lambda connection, lease: read_submission(connection, lease.submission_id, STUDENT),
    "read another's": lambda connection, lease: read_submission(connection, lease.submission_id, "another"),
    "begin": lambda connection, lease: begin_step(connection, lease, LEASE_SECONDS, NO_PERMITS),
    "page": lambda connection, lease: write_page(connection, lease, OcrPage(1, "page", ""), LEASE_SECONDS),
    "checkpoint": lambda connection, lease: write_checkpoint(connection, lease, OcrResult("read", {}, ""), LEASE_SECONDS),
    **{type(each).__name__: settling(each) for each in OUTCOMES},
    "end and next lease": end_and_lease,
}


@pytest.fixture(params=["false", "true"], ids=["own session", "pooled"])
def worker(queue: FilledQueue, request: pytest.FixtureRequest) -> Iterator[Connection]:
    pooled: Pooled = request.param
    with connect(queue.database.worker_dsn, "test", pooled=pooled) as connection:
        yield connection


def assert_sees_nothing(worker: Connection) -> None:
    """Check that the next transaction of this session has no subject and sees no row."""
    assert worker.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    assert worker.execute(SUBJECT).fetchone() == {"subject": ""}
    assert worker.execute(VISIBLE).fetchall() == []


def leased(queue: FilledQueue) -> Lease:
    entered = queue.enter(leased_for_seconds=LEASE_SECONDS)
    assert entered.lease_key is not None
    return Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_no_statement_of_a_worker_leaves_a_submission_visible(queue: FilledQueue, worker: Connection, act: Act) -> None:
    """Before and after each statement of a worker no submission is visible in its session."""
    lease = leased(queue)
    queue.enter()
    assert_sees_nothing(worker)
    act(worker, lease)
    assert_sees_nothing(worker)


def test_without_a_subject_the_reading_statement_finds_nothing(queue: FilledQueue, worker: Connection) -> None:
    """Without a subject in its own transaction it finds nothing, even if the same row was read just before."""
    submission_id = queue.enter().submission_id
    for _ in range(2):
        assert worker.execute(statement("read_submission"), {"submission_id": submission_id}).fetchone() is None
        assert read_submission(worker, submission_id, STUDENT) is not None


def test_the_next_job_comes_with_its_own_pupils_submission(queue: FilledQueue, worker: Connection) -> None:
    """The row that comes with the next lease is that of its student, although the last job was another pupil's."""
    lease, entered = leased(queue), queue.enter()
    queue.owner.execute("update learning_submissions set student_sub = 'another' where id = %s", [lease.submission_id])
    following = end_and_lease(worker, lease).next_lease
    assert following is not None
    assert following.submission == read_submission(worker, entered.submission_id, STUDENT)
    assert_sees_nothing(worker)


@pytest.mark.parametrize(
    "payload", ["[]", "1", "{}", '{"student_sub": null}', '{"student_sub": ["student-1"]}', '{"student_sub": ""}']
)
def test_a_payload_without_a_pupil_brings_no_submission(queue: FilledQueue, worker: Connection, payload: str) -> None:
    """A next job with an invalid payload is leased without its row, and the last job is ended as usual."""
    lease, entered = leased(queue), queue.enter()
    queue.owner.execute("update learning_submission_jobs set payload = %s where id = %s", [payload, entered.job_id])
    settlement = end_and_lease(worker, lease)
    assert settlement.is_written
    assert settlement.next_lease is not None
    assert (settlement.next_lease.job_id, settlement.next_lease.submission) == (entered.job_id, None)


def test_no_next_job_brings_no_submission(queue: FilledQueue, worker: Connection) -> None:
    """The end of the last job is written, and no submission is visible after it."""
    assert end_and_lease(worker, leased(queue)) == Settlement(is_written=True)
    assert_sees_nothing(worker)


def test_a_next_lease_that_may_not_be_read_ends_the_subject(queue: FilledQueue, worker: Connection) -> None:
    """A read that fails undoes the end and the lease before it. The subject ends with the connection, which may hold a lock."""
    lease, entered = leased(queue), queue.enter()
    with without_select(queue), pytest.raises(psycopg.errors.InsufficientPrivilege):
        end_and_lease(worker, lease)
    assert worker.closed
    assert queue.job(lease.job_id)["status"] == "leased"
    assert queue.job(entered.job_id)["status"] == "queued"


def test_one_subject_shows_one_pupil(queue: FilledQueue, worker: Connection) -> None:
    """Under one pupil's subject another's submission is not visible."""
    mine, other = queue.enter().submission_id, queue.enter().submission_id
    queue.owner.execute("update learning_submissions set student_sub = 'another' where id = %s", [other])
    seen = [(each, sub) for each in (mine, other) for sub in (STUDENT, "another") if read_submission(worker, each, sub)]
    assert seen == [(mine, STUDENT), (other, "another")]


def test_an_error_of_the_read_ends_the_subject(queue: FilledQueue, worker: Connection) -> None:
    """A statement that fails after the subject was set ends the subject."""
    queue.enter()
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        read_submission(worker, NO_ID, STUDENT)
    assert_sees_nothing(worker)


def test_a_withdrawn_right_ends_the_subject(queue: FilledQueue, worker: Connection) -> None:
    """A read that fails without the right leaves no subject for the time when the right is back."""
    entered = queue.enter()
    with without_select(queue), pytest.raises(psycopg.errors.InsufficientPrivilege):
        read_submission(worker, entered.submission_id, STUDENT)
    assert_sees_nothing(worker)


@contextmanager
def without_select(queue: FilledQueue) -> Iterator[None]:
    queue.owner.execute("revoke select on learning_submissions from learning_worker")
    try:
        yield
    finally:
        queue.owner.execute("grant select on learning_submissions to learning_worker")


def test_a_lock_timeout_of_the_read_ends_the_subject(queue: FilledQueue, worker: Connection) -> None:
    """A read that waited too long for a lock leaves no subject for the time when the lock is free."""
    entered = queue.enter()
    with queue.owner.transaction():
        queue.owner.execute("lock table learning_submissions in access exclusive mode")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            read_with_a_short_wait(worker, entered.submission_id)
    assert_sees_nothing(worker)


def read_with_a_short_wait(worker: Connection, submission_id: UUID) -> None:
    with worker.pipeline():
        worker.execute("select set_config('lock_timeout', '1ms', true)")
        worker.execute(statement("set_subject"), {"student_sub": STUDENT})
        worker.execute(statement("read_submission"), {"submission_id": submission_id})


def test_a_subject_ends_within_a_pipeline(queue: FilledQueue, worker: Connection) -> None:
    """A statement after the read in a pipeline is another transaction. It sees nothing, and neither does the session after it."""
    entered = queue.enter()
    with worker.pipeline():
        row = read_submission(worker, entered.submission_id, STUDENT)
        subject, visible = worker.execute(SUBJECT), worker.execute(VISIBLE)
    assert row is not None
    assert (subject.fetchone(), visible.fetchall()) == ({"subject": ""}, [])
    assert_sees_nothing(worker)


def test_an_error_in_a_pipeline_ends_the_subject(queue: FilledQueue, worker: Connection) -> None:
    """Neither the rest of a pipeline with a failed read nor the session after it has a subject."""
    queue.enter()
    seen: list[object] = []
    with suppress(psycopg.errors.InvalidTextRepresentation), worker.pipeline():
        with suppress(psycopg.errors.InvalidTextRepresentation):
            read_submission(worker, NO_ID, STUDENT)
        seen += worker.execute(VISIBLE).fetchall()
    assert seen == []
    assert_sees_nothing(worker)


def test_a_pipeline_that_fails_at_its_end_leaves_nothing(queue: FilledQueue, worker: Connection) -> None:
    """A successful read leaves no subject if a later statement of the pipeline fails."""
    entered = queue.enter()
    with suppress(psycopg.errors.DivisionByZero), worker.pipeline():
        assert read_submission(worker, entered.submission_id, STUDENT) is not None
        worker.execute("select 1 / 0")
    assert_sees_nothing(worker)


def test_the_role_has_no_more_rights_than_needed(queue: FilledQueue, worker: Connection) -> None:
    """The role cannot bypass row security, owns nothing and cannot become another role."""
    row = queue.one(
        "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication as is_mighty, "
        "(select count(*) from pg_class where relowner = pg_roles.oid) as owned from pg_roles where rolname = %s",
        [worker.info.user],
    )
    assert row == {"is_mighty": False, "owned": 0}
    for role in ("postgres", "pg_read_all_data"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute(psycopg.sql.SQL("set role {}").format(psycopg.sql.Identifier(role)))
