"""Permits: no more calls to a model than the count, from any session, and no permit lost when its holder dies."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock
from uuid import uuid4

import pytest

from testkit.filled_queue import FilledQueue, worker_connection
from testkit.waiting import until
from worker.core.outcome import AlreadyFinal, Completed, Failed, Lease, Lost, Outcome, Released, Retried
from worker.ipc.contract import ErrorCode, Step
from worker.queue.checkpoints import OcrResult, write_checkpoint
from worker.queue.connection import Connection
from worker.queue.leases import LeaseRequest
from worker.queue.permits import NO_PERMITS, HeldPermit, Permits, begin_step, execute_and_give_back, wait_for_permit
from worker.queue.settle import Settlement, settle, settle_and_lease

pytestmark = pytest.mark.postgres

FAR_SECONDS = 20.0
LEASE_SECONDS = 60.0
LOCKS = """
    select classid::bigint as key, objid::int as number, granted, pid from pg_locks
     where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""


@pytest.fixture
def sessions(queue: FilledQueue) -> Iterator[Callable[[], "Session"]]:
    """Opens sessions with a leased job each, and closes all at the end."""
    with ExitStack() as opened:
        yield lambda: Session(queue, opened.enter_context(worker_connection(queue.database)))


class Session:
    """A worker's connection and the job that it holds."""

    def __init__(self, queue: FilledQueue, connection: Connection) -> None:
        entered = queue.enter(leased_for_seconds=LEASE_SECONDS)
        assert entered.lease_key is not None
        self.connection = connection
        self.lease = Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)

    def begin(self, permits: Permits) -> HeldPermit | None:
        start = begin_step(self.connection, self.lease, LEASE_SECONDS, permits)
        assert start.is_ours
        return start.permit

    def give_back(self, held: HeldPermit | None) -> None:
        assert execute_and_give_back(self.connection, "select 1", {}, held) == 1


Sessions = Callable[[], Session]


def model(count: int) -> Permits:
    """Return permits of a model that no other test uses."""
    return Permits.of("http://127.0.0.1:11434", f"model-{uuid4()}", count)


def held_numbers(queue: FilledQueue, permits: Permits) -> list[int]:
    """Return the numbers that any session holds, once for each time they are held."""
    return sorted(lock["number"] for lock in locks(queue, permits) if lock["granted"])


def locks(queue: FilledQueue, permits: Permits) -> list[dict[str, int]]:
    return [lock for lock in queue.owner.execute(LOCKS) if lock["key"] == permits.key % 2**32]


def end_and_lease(session: Session, permits: Permits, held: HeldPermit | None = None) -> Settlement:
    request = LeaseRequest(uuid4(), LEASE_SECONDS, permits=permits)
    return settle_and_lease(session.connection, session.lease, AlreadyFinal(), held, request)


@pytest.mark.parametrize("kind", ["text", "image", "file"])
def test_the_next_job_brings_a_permit_for_typed_text(queue: FilledQueue, sessions: Sessions, kind: str) -> None:
    """Typed text goes straight to the feedback model, so its lease brings a permit. A document's lease brings none."""
    session, permits = sessions(), model(2)
    queue.enter(kind=kind)
    settlement = end_and_lease(session, permits)
    assert settlement.next_lease is not None
    expected = HeldPermit(1) if kind == "text" else None
    assert settlement.next_permit == expected
    assert held_numbers(queue, permits) == ([1] if expected else [])


def test_the_permit_passes_from_one_job_to_the_next(queue: FilledQueue, sessions: Sessions) -> None:
    """The end of a job gives the only permit back before the next job tries to take it."""
    session, permits = sessions(), model(1)
    held = session.begin(permits)
    queue.enter()
    settlement = end_and_lease(session, permits, held)
    assert settlement.next_permit == held
    assert held_numbers(queue, permits) == [1]
    session.give_back(settlement.next_permit)
    assert held_numbers(queue, permits) == []


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_final_next_job_takes_no_permit(queue: FilledQueue, sessions: Sessions, status: str) -> None:
    """A submission that is completed or failed already needs no model."""
    session, permits = sessions(), model(1)
    queue.owner.execute(
        "update learning_submissions set analysis_status = %s, error_code = case when %s = 'failed' then 'vision_failed' end "
        "where id = %s",
        [status, status, queue.enter().submission_id],
    )
    settlement = end_and_lease(session, permits)
    assert (settlement.next_lease is not None, settlement.next_permit) == (True, None)


def test_a_next_job_without_a_free_permit_is_leased(queue: FilledQueue, sessions: Sessions) -> None:
    """While another session has the only permit, the next job is leased without one."""
    other, session, permits = sessions(), sessions(), model(1)
    assert other.begin(permits)
    queue.enter()
    settlement = end_and_lease(session, permits)
    assert (settlement.next_lease is not None, settlement.next_permit) == (True, None)
    assert held_numbers(queue, permits) == [1]


def test_no_next_job_takes_no_permit(queue: FilledQueue, sessions: Sessions) -> None:
    """An end without a next job leaves all permits free."""
    session, permits = sessions(), model(1)
    assert end_and_lease(session, permits) == Settlement(is_written=True)
    assert held_numbers(queue, permits) == []


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_more_permits_than_the_count_are_taken(queue: FilledQueue, sessions: Sessions, count: int) -> None:
    """With two sessions too many, each permit is taken once. The others get none and keep their renewed lease."""
    permits = model(count)
    held = [sessions().begin(permits) for _ in range(count + 2)]
    assert [permit.number for permit in held if permit] == list(range(1, count + 1))
    assert held[count:] == [None, None]
    assert held_numbers(queue, permits) == list(range(1, count + 1))


def test_a_session_takes_exactly_one_number(queue: FilledQueue, sessions: Sessions) -> None:
    """The search ends at the first free number and locks no second one."""
    permits = model(64)
    first, second = sessions(), sessions()
    assert first.begin(permits) == HeldPermit(1)
    assert second.begin(permits) == HeldPermit(2)
    assert held_numbers(queue, permits) == [1, 2]


def test_models_and_servers_have_permits_of_their_own(sessions: Sessions) -> None:
    """A call to one model takes no permit of another, or of the same model on another server."""
    here, there = "http://127.0.0.1:11434", "http://ollama:11434"
    names = [(here, "vision"), (here, "feedback"), (there, "vision")]
    assert len({Permits.of(*name, 1).key for name in names}) == 3
    assert all(sessions().begin(Permits.of(*name, 1)) for name in names)
    assert not any(sessions().begin(Permits.of(*name, 1)) for name in names)


def test_a_step_without_a_model_takes_no_permit(queue: FilledQueue, sessions: Sessions) -> None:
    """It renews its lease and locks nothing."""
    assert sessions().begin(NO_PERMITS) is None
    assert held_numbers(queue, NO_PERMITS) == []


def test_a_lost_lease_takes_no_permit(queue: FilledQueue, sessions: Sessions) -> None:
    """Without the lease nothing is locked, because the permit would never be given back."""
    permits, session = model(3), sessions()
    stranger = Lease(session.lease.job_id, session.lease.submission_id, uuid4(), {}, 0)
    start = begin_step(session.connection, stranger, LEASE_SECONDS, permits)
    assert (start.is_ours, start.permit) == (False, None)
    assert held_numbers(queue, permits) == []


# Giving back


def test_a_permit_is_released_with_a_statement(sessions: Sessions) -> None:
    """The number that one session gives back is taken by the next."""
    permits, first, second = model(1), sessions(), sessions()
    held = first.begin(permits)
    assert second.begin(permits) is None
    first.give_back(held)
    assert second.begin(permits) == held


def test_closing_the_connection_frees_the_permit(queue: FilledQueue, sessions: Sessions) -> None:
    """A worker that ends gives back its permit."""
    permits, first, second = model(1), sessions(), sessions()
    held = first.begin(permits)
    first.connection.close()
    until(lambda: held_numbers(queue, permits) == [])
    assert second.begin(permits) == held


def test_death_frees_the_permit(queue: FilledQueue, sessions: Sessions) -> None:
    """A connection that breaks gives it back too."""
    permits, first, second = model(1), sessions(), sessions()
    held = first.begin(permits)
    queue.owner.execute("select pg_terminate_backend(%s)", [first.connection.info.backend_pid])
    until(lambda: held_numbers(queue, permits) == [])
    assert second.begin(permits) == held


OUTCOMES: list[Outcome] = [
    Completed("text", "feedback", {}),
    Failed(ErrorCode.VISION_FAILED, "vision_failed", "SomeError"),
    Retried(Step.VISION, "SomeError", 0),
    Released("drain"),
    AlreadyFinal(),
    Lost(),
]


@pytest.mark.parametrize("is_taken_over", [False, True])
@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_every_end_of_a_job_releases_its_permit(
    queue: FilledQueue, sessions: Sessions, outcome: Outcome, *, is_taken_over: bool
) -> None:
    """However a job ends, also with a lost lease, its worker keeps no permit."""
    permits, session = model(1), sessions()
    held = session.begin(permits)
    if is_taken_over:
        queue.owner.execute("update learning_submission_jobs set lease_key = %s where id = %s", [uuid4(), session.lease.job_id])
    is_written = settle(session.connection, session.lease, outcome, held)
    assert is_written == (not is_taken_over and not isinstance(outcome, Lost))
    assert held_numbers(queue, permits) == []


@pytest.mark.parametrize("is_ours", [True, False])
def test_a_checkpoint_releases_the_permit(queue: FilledQueue, sessions: Sessions, *, is_ours: bool) -> None:
    """The vision model's permit is free when its text is committed, and when the lease turns out to be lost."""
    permits, session = model(1), sessions()
    held = session.begin(permits)
    lease = session.lease if is_ours else Lease(session.lease.job_id, session.lease.submission_id, uuid4(), {}, 0)
    assert write_checkpoint(session.connection, lease, OcrResult("text", {}, "origin"), LEASE_SECONDS, held) == is_ours
    assert held_numbers(queue, permits) == []


# Waiting


def test_waiting_ends_when_a_permit_is_released(queue: FilledQueue, sessions: Sessions) -> None:
    """PostgreSQL wakes a waiting session when the number is free, long before the timeout."""
    permits, holder, waiter = model(1), sessions(), sessions()
    held = holder.begin(permits)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_permit, waiter.connection, permits, 1, FAR_SECONDS / 4)
        until(lambda: any(not lock["granted"] for lock in locks(queue, permits)))
        holder.give_back(held)
        assert waiting.result() == held
    assert [lock["pid"] for lock in locks(queue, permits)] == [waiter.connection.info.backend_pid]


def test_waiting_has_an_end(queue: FilledQueue, sessions: Sessions) -> None:
    """After the timeout there is no permit and no lock, and the connection works on with its own limits."""
    permits, holder, waiter = model(1), sessions(), sessions()
    holder.begin(permits)
    started_at_seconds = time.monotonic()
    assert wait_for_permit(waiter.connection, permits, 1, 0.2) is None
    assert 0.2 <= time.monotonic() - started_at_seconds < FAR_SECONDS
    assert waiter.connection.execute("show lock_timeout").fetchone() == {"lock_timeout": "5s"}
    assert [lock["pid"] for lock in locks(queue, permits)] == [holder.connection.info.backend_pid]


def test_a_permit_taken_after_a_wait_is_held_once(queue: FilledQueue, sessions: Sessions) -> None:
    """Session locks count how often they are taken. This one is free after it was given back once."""
    permits, session = model(1), sessions()
    held = wait_for_permit(session.connection, permits, 1, FAR_SECONDS)
    assert session.begin(NO_PERMITS) is None
    session.give_back(held)
    assert held_numbers(queue, permits) == []


def test_many_workers_never_exceed_the_count(sessions: Sessions) -> None:
    """Six sessions take and give back two permits, by trying and by waiting. Never are three held at once."""
    permits, guard, holding, most = model(2), Lock(), 0, 0

    def call_model(session: Session, number: int) -> None:
        nonlocal holding, most
        for _ in range(15):
            held = session.begin(permits) or wait_for_permit(session.connection, permits, number, FAR_SECONDS)
            with guard:
                holding += 1
                most = max(most, holding)
            session.connection.execute("select 1")
            with guard:
                holding -= 1
            session.give_back(held)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(call_model, [sessions() for _ in range(6)], [1, 2] * 3))
    assert (most <= 2, holding) == (True, 0)
