"""Statements for rows that the database refuses, and for rows that no worker can ever take."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation

from testkit.filled_queue import FilledQueue
from worker.core.outcome import Lease, Retried
from worker.core.refusal import ALL_REFUSED, Access
from worker.ipc.contract import Step
from worker.queue.attempts import fail_unleased
from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.contract_check import jobs_ahead as jobs_ahead_in_check
from worker.queue.contract_check import stuck_rows
from worker.queue.leases import LeaseRequest, lease_alone, lease_candidates, lease_job
from worker.queue.permits import Permits, begin_step
from worker.queue.polls import STUCK_BOUND, JobsAhead, jobs_ahead, open_jobs, parked_jobs, step_backlog, stuck_jobs
from worker.queue.rehearsal import rehearse
from worker.queue.settle import park, settle

pytestmark = pytest.mark.postgres

LEASE_SECONDS, HOUR_SECONDS = 45.0, 3600.0
REASON = "database_23514"
Answer = TypeVar("Answer")


def request(*refused_job_ids: UUID) -> LeaseRequest:
    return LeaseRequest(uuid4(), LEASE_SECONDS, refused_job_ids=refused_job_ids)


def monitor(queue: FilledQueue, read: Callable[..., Awaitable[Answer]], *arguments: Any) -> Answer:
    async def answer() -> Answer:
        connection: AsyncConnection = await connect_monitor(queue.database.worker_dsn, "test")
        async with connection:
            return await read(connection, *arguments)

    return asyncio.run(answer())


def leased(queue: FilledQueue, job_id: UUID) -> Lease:
    lease = lease_alone(queue.worker, request(), job_id)
    assert lease is not None
    return lease


# The lease


def test_refused_rows_are_passed_over(queue: FilledQueue) -> None:
    """A lease takes the first job that is not among them, also behind more than a hundred of them, and counts an expiry."""
    refused = [queue.enter(visible_in_seconds=-60).job_id for _ in range(150)]
    expired = queue.enter(leased_for_seconds=-1).job_id
    job_id = queue.enter().job_id
    leases = [lease_job(queue.worker, request(*refused)) for _ in range(3)]
    assert [lease and lease.job_id for lease in leases] == [expired, job_id, None]
    assert queue.job(expired)["payload"]["expiries"] == 1


def test_candidates_are_those_of_a_lease_in_its_order(queue: FilledQueue) -> None:
    """Expired leases first, then queued jobs by age. The list changes nothing."""
    ages = {age: queue.enter(visible_in_seconds=-age).job_id for age in (1, 3, 2)}
    expired = queue.enter(leased_for_seconds=-1).job_id
    queue.enter(visible_in_seconds=HOUR_SECONDS)
    queue.enter(leased_for_seconds=HOUR_SECONDS)
    queue.enter(status="failed")
    before = queue.everything()
    assert lease_candidates(queue.worker, ()) == [expired, ages[3], ages[2], ages[1]]
    assert lease_candidates(queue.worker, (expired, ages[2])) == [ages[3], ages[1]]
    assert queue.everything() == before


@pytest.mark.parametrize(
    ("columns", "may_be_taken"),
    [
        ({}, True),
        ({"leased_for_seconds": -1}, True),
        ({"visible_in_seconds": HOUR_SECONDS}, False),
        ({"leased_for_seconds": HOUR_SECONDS}, False),
        ({"status": "failed"}, False),
    ],
)
def test_one_row_alone_is_leased_or_failed_only_if_it_is_free(
    queue: FilledQueue, columns: dict[str, Any], *, may_be_taken: bool
) -> None:
    """Both statements name no lease, so that their own conditions must protect the lease of another worker."""
    first, second = queue.enter(**columns), queue.enter(**columns)
    before = queue.everything()
    assert (lease_alone(queue.worker, request(), first.job_id) is not None) is may_be_taken
    assert fail_unleased(queue.worker, second.job_id, REASON) is may_be_taken
    assert (queue.everything() == before) is not may_be_taken
    if may_be_taken:
        assert (queue.job(second.job_id)["status"], queue.job(second.job_id)["error_code"]) == ("failed", REASON)
        assert queue.submission(second.submission_id)["error_code"] == "vision_failed"


@pytest.mark.parametrize("attempt_id", [str(UUID(int=9)), "", None])
def test_a_job_whose_attempt_could_not_be_ended_is_not_failed(queue: FilledQueue, attempt_id: str | None) -> None:
    """A worker without the platform's functions leaves such a job where the platform has attempts."""
    job_id = queue.enter(payload={"practice_attempt_id": attempt_id}).job_id
    found = queue.one("select to_regproc('public.learning_worker_fail_practice_attempt') is not null as it")
    is_left = bool(found["it"] and attempt_id)
    assert fail_unleased(queue.worker, job_id, REASON) is not is_left
    assert queue.job(job_id)["status"] == ("queued" if is_left else "failed")


# The result


def test_a_parked_job_waits_longer_after_each_try(queue: FilledQueue) -> None:
    """The wait doubles up to five minutes, and the next lease knows the reason."""
    job_id, found = queue.enter().job_id, []
    for _ in range(7):
        assert park(queue.worker, leased(queue, job_id), REASON)
        delay = queue.one("select round(extract(epoch from visible_at - updated_at))::int as it from learning_submission_jobs")
        found.append(delay["it"])
        queue.owner.execute("update learning_submission_jobs set visible_at = now()")
    assert found == [10, 20, 40, 80, 160, 300, 300]
    assert leased(queue, job_id).error_code == REASON


def test_parked_jobs_are_found(queue: FilledQueue) -> None:
    """Those of all instances, with their SQLSTATE. Ordinary delayed jobs and due ones are no parked jobs."""
    parked, retried, with_others = queue.enter().job_id, queue.enter().job_id, queue.enter().job_id
    park(queue.worker, leased(queue, parked), REASON)
    settle(queue.worker, leased(queue, with_others), Retried(Step.VISION, REASON + ALL_REFUSED, 60))
    settle(queue.worker, leased(queue, retried), Retried(Step.VISION, "ServerError", 60))
    queue.enter()
    assert monitor(queue, parked_jobs) == {parked: "23514", with_others: "23514"}


@pytest.mark.parametrize("retry_count", [-5, -(2**31)])
def test_a_negative_count_of_retries_is_0(queue: FilledQueue, retry_count: int) -> None:
    """For the worker, and for the next count, after a retry and after parking."""
    first, second = queue.enter(retry_count=retry_count).job_id, queue.enter(retry_count=retry_count).job_id
    leases = [leased(queue, job_id) for job_id in (first, second)]
    assert [lease.retry_count for lease in leases] == [0, 0]
    settle(queue.worker, leases[0], Retried(Step.VISION, "ServerError", 0))
    park(queue.worker, leases[1], REASON)
    assert [queue.job(job_id)["retry_count"] for job_id in (first, second)] == [1, 1]


def test_open_jobs_are_neither_finished_nor_failed(queue: FilledQueue) -> None:
    entered = [queue.enter().job_id, queue.enter(leased_for_seconds=1).job_id, queue.enter(status="failed").job_id, uuid4()]
    assert monitor(queue, open_jobs, entered) == set(entered[:2])


def test_refused_rows_are_no_backlog(queue: FilledQueue) -> None:
    """No model is loaded for a job that no worker can take."""
    job_ids = [queue.enter(kind="image").job_id, queue.enter(kind="image", leased_for_seconds=-1).job_id]
    assert monitor(queue, step_backlog).vision_jobs == 2
    assert monitor(queue, step_backlog, job_ids).vision_jobs == 0


# The rehearsal


@pytest.mark.parametrize("access", [Access.CHECKPOINT, Access.RESULT])
def test_a_rehearsal_changes_nothing(queue: FilledQueue, access: Access) -> None:
    """Job and submission stay as they are, and the session keeps its permit."""
    lease = leased(queue, queue.enter(kind="image").job_id)
    permit = begin_step(queue.worker, lease, LEASE_SECONDS, Permits(1, 1)).permit
    before = queue.everything()
    rehearse(queue.worker, lease, access, LEASE_SECONDS)
    assert queue.everything() == before
    assert permit is not None
    assert queue.one("select count(*)::int as n from pg_locks where locktype = 'advisory' and objid = 1")["n"] == 1


@pytest.mark.parametrize(("access", "event"), [(Access.CHECKPOINT, "update"), (Access.RESULT, "delete")])
def test_a_rehearsal_is_refused_as_its_write_is(queue: FilledQueue, access: Access, event: str) -> None:
    """Also by a constraint that is checked at the commit. The other kind of access is accepted."""
    lease = leased(queue, queue.enter(kind="image").job_id)
    other = Access.RESULT if access is Access.CHECKPOINT else Access.CHECKPOINT
    with refused_late(queue, event):
        with pytest.raises(CheckViolation):
            rehearse(queue.worker, lease, access, LEASE_SECONDS)
        rehearse(queue.worker, lease, other, LEASE_SECONDS)


@contextmanager
def refused_late(queue: FilledQueue, event: str) -> Iterator[None]:
    """Refuse this change of every job when its transaction commits."""
    queue.owner.execute(
        "create function refuse_late() returns trigger language plpgsql as"
        " $$ begin raise exception 'a pupil''s text' using errcode = '23514'; end $$"
    )
    queue.owner.execute(
        f"create constraint trigger refuse_late after {event} on learning_submission_jobs"
        " deferrable initially deferred for each row execute function refuse_late()".encode()
    )
    try:
        yield
    finally:
        queue.owner.execute("drop function refuse_late() cascade")


# Rows that no worker can ever take


def test_rows_that_no_worker_can_take_are_found(queue: FilledQueue) -> None:
    """Each kind is found, and no row of the ordinary operation. The count is bounded."""
    for columns in ({}, {"visible_in_seconds": HOUR_SECONDS}, {"leased_for_seconds": HOUR_SECONDS}, {"status": "failed"}):
        queue.enter(**columns)
    assert monitor(queue, stuck_jobs) == {}
    assert stuck_rows(queue.worker) is None
    endless, infinite, never, later = (queue.enter().job_id for _ in range(4))
    queue.owner.execute("update learning_submission_jobs set status = 'leased' where id = %s", [endless])
    queue.owner.execute(
        "update learning_submission_jobs set status = 'leased', leased_until = 'infinity' where id = %s", [infinite]
    )
    queue.owner.execute("update learning_submission_jobs set visible_at = 'infinity' where id = %s", [never])
    queue.owner.execute("update learning_submission_jobs set visible_at = now() + interval '900 years' where id = %s", [later])
    found = dict.fromkeys((endless, infinite), "leased without an end") | dict.fromkeys((never, later), "queued until infinity")
    assert monitor(queue, stuck_jobs) == found
    point = stuck_rows(queue.worker)
    assert point is not None
    assert point.subject.startswith("jobs that can never be taken: 4 (leased without an end, queued until infinity), such as ")
    queue.owner.execute(
        "insert into learning_submission_jobs (submission_id, payload, visible_at)"
        " select submission_id, '{}', 'infinity' from learning_submission_jobs, generate_series(1, 200) limit 200"
    )
    assert len(monitor(queue, stuck_jobs)) == 2 + STUCK_BOUND


def test_jobs_of_a_clock_that_was_ahead_are_found(queue: FilledQueue) -> None:
    """A time in the future is not ordinary if the row was written in the future too. A delayed job and a retry are ordinary."""
    queue.enter(visible_in_seconds=2 * HOUR_SECONDS)
    assert monitor(queue, jobs_ahead) == JobsAhead()
    entered, retried = (queue.enter(visible_in_seconds=HOUR_SECONDS).job_id for _ in range(2))
    later = "update learning_submission_jobs set {} = now() + interval '50 minutes' where id = %s"
    queue.owner.execute(later.format("created_at").encode(), [entered])
    queue.owner.execute(later.format("updated_at").encode(), [retried])
    found = monitor(queue, jobs_ahead)
    assert (found.count, found.first_job_id in {entered, retried}) == (2, True)
    assert HOUR_SECONDS - 60 < found.due_in_seconds <= HOUR_SECONDS
    point = jobs_ahead_in_check(queue.worker)
    assert point is not None
    assert point.subject.startswith("jobs that were written while the clock of the database was ahead: 2, such as ")
