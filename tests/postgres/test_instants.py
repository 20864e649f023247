"""Statements that meet a timeout, an expiry or a lock in the same instant: one of the two happens, never both or neither."""

import os
import select
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import LiteralString
from uuid import UUID, uuid4

import pytest
from psycopg.errors import LockNotAvailable

from supervisor.settings.model import parse
from testkit.bare_worker import event_pair
from testkit.filled_queue import FilledQueue, owner_connection, worker_connection
from testkit.monitor import Monitor, open_monitor
from testkit.waiting import until
from worker import session
from worker.admission import Admission
from worker.context import WorkerContext
from worker.core.outcome import Completed, Lease
from worker.held_lease import HeldLease
from worker.ipc.contract import Wiring
from worker.ipc.scoreboard import ControlRecord, Scoreboard
from worker.lease_search import LeaseSearch, PendingLease
from worker.loop import Loop
from worker.queue import bounded
from worker.queue.connection import Connection, connect
from worker.queue.dead_leases import ReclaimResult
from worker.queue.leases import LeaseRequest, lease_job
from worker.queue.permits import NO_PERMITS, begin_step
from worker.queue.refusals import Refusals
from worker.report import Report
from worker.rivals import RefusedAccesses
from worker.session import Session, Stopped
from worker.usage import JobUsage
from worker.wakeups import Wakeups

pytestmark = pytest.mark.postgres

LONG_SECONDS = 60.0
LEASE_SECONDS = 0.004
LOCK_TIMEOUT_SECONDS = 0.005
REPLY_TIMEOUT_SECONDS = 0.05
SERVER_NOTICES_SECONDS = 0.05  # client_connection_check_interval
COMPLETED = Completed("what was read", "well done", {"schema": "criteria.v2", "score": 4, "criteria_results": []})
FREE_THE_JOB: LiteralString = """
    update learning_submission_jobs set status = 'queued', lease_key = null, leased_until = null, payload = payload - 'expiries'
"""
DELAY_SETTLEMENTS: LiteralString = """
    create or replace function delay_settlement() returns trigger security definer language plpgsql as
    $$ begin
        perform pg_sleep(seconds) from settlement_delay where nextval('settlement_attempts') = 1;
        return old;
    end $$;
    create table if not exists settlement_delay as select 0.0::float8 as seconds;
    create sequence if not exists settlement_attempts;
    create or replace trigger delay_settlement before delete on learning_submission_jobs
    for each row execute function delay_settlement()
"""


def rounds(first_tier: int, second_tier: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("count", [first_tier, pytest.param(second_tier, marks=pytest.mark.second_tier)])


def offsets_seconds(count: int, width_seconds: float) -> list[float]:
    """From minus to plus `width_seconds`, in equal steps."""
    return [width_seconds * (2 * number / count - 1) for number in range(count)]


# A lease


@rounds(200, 3_000)
def test_a_renewal_in_the_instant_of_the_expiry(queue: FilledQueue, count: int) -> None:
    """Either the holder renews its lease or another worker takes the job, and that not before the holder's own clock allows."""
    queue.enter()
    with worker_connection(queue.database) as other, ThreadPoolExecutor(1) as pool:
        for offset_seconds in offsets_seconds(count, 0.001):
            queue.owner.execute(FREE_THE_JOB)
            sent_at_seconds = time.monotonic()
            held = lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS))
            assert held is not None
            meet_at_seconds = sent_at_seconds + LEASE_SECONDS + offset_seconds
            taken = pool.submit(_take_at, other, meet_at_seconds)
            _sleep_until(meet_at_seconds)
            is_ours = begin_step(queue.worker, held, LONG_SECONDS, NO_PERMITS).is_ours
            lease, taken_at_seconds = taken.result()
            assert is_ours is (lease is None)
            assert lease is None or taken_at_seconds >= sent_at_seconds + LEASE_SECONDS


def _take_at(other: Connection, at_seconds: float) -> tuple[Lease | None, float]:
    _sleep_until(at_seconds)
    lease = lease_job(other, LeaseRequest(uuid4(), LONG_SECONDS))
    return lease, time.monotonic()


def _sleep_until(at_seconds: float) -> None:
    time.sleep(max(0.0, at_seconds - time.monotonic()))


# The monitor's wait for a row


@rounds(100, 2_000)
def test_a_row_that_is_freed_in_the_instant_of_the_lock_timeout(
    queue: FilledQueue, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A lease is reclaimed once and its death counted once, by the attempt that ran into the timeout or by the next one."""
    monkeypatch.setitem(bounded.MONITOR_BOUNDS, "lock_timeout_ms", int(LOCK_TIMEOUT_SECONDS * 1000))
    timeouts = 0
    with (
        owner_connection(queue.database) as locker,
        open_monitor(queue.database.worker_dsn) as monitor,
        ThreadPoolExecutor(1) as pool,
    ):
        for offset_seconds in offsets_seconds(count, 0.001):
            dead = queue.enter(leased_for_seconds=LONG_SECONDS)
            assert dead.lease_key is not None
            locker.execute("begin")
            locker.execute("select from learning_submission_jobs where id = %s for update", [dead.job_id])
            freed = pool.submit(_commit_at, locker, time.monotonic() + LOCK_TIMEOUT_SECONDS + offset_seconds)
            results = list(_attempts(monitor, dead.job_id, dead.lease_key))
            freed.result()
            timeouts += len(results) - 2
            assert results[-2:] == [ReclaimResult.RECLAIMED, ReclaimResult.NOT_FOUND]
            job = queue.job(dead.job_id)
            assert (job["status"], job["lease_key"], job["payload"]["crashes"]) == ("queued", None, 1)
    assert timeouts > 0


def _attempts(monitor: Monitor, job_id: UUID, lease_key: UUID) -> Iterator[ReclaimResult | None]:
    """Attempt as the reclaimer does, and once more after the last result. None is a timeout."""
    result: ReclaimResult | None = None
    while result is not ReclaimResult.NOT_FOUND:
        try:
            result = monitor.reclaim_lease(job_id, lease_key, max_crashes=2)
        except LockNotAvailable:
            result = None
        yield result


def _commit_at(locker: Connection, at_seconds: float) -> None:
    _sleep_until(at_seconds)
    locker.execute("commit")


# The worker's wait for a reply


@contextmanager
def working(queue: FilledQueue) -> Iterator[WorkerContext]:
    """The context of a worker in this process, without adapters."""
    with ExitStack() as undo:
        fds = [os.eventfd(0, os.EFD_NONBLOCK), *event_pair(), *os.pipe()]
        for fd in fds:
            undo.callback(os.close, fd)
        wiring = Wiring(0, 1, 1, Scoreboard(), fds[0], fds[2], fds[3])
        wiring.scoreboard.control.write(ControlRecord(leasing_slots=1))
        settings = parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": queue.database.worker_dsn}).worker
        report, wakeups = Report(wiring), Wakeups(fds[0], fds[3], lambda: False)
        session = Session(partial(connect, queue.database.worker_dsn, "test"), report, wakeups)
        undo.callback(session.close)
        yield WorkerContext(
            wiring,
            Admission(wiring, settings),
            settings,
            None,
            None,
            frozenset(),
            "",
            report,
            wakeups,
            session,
            JobUsage(report, session),
        )


@rounds(15, 1_000)
def test_a_reply_in_the_instant_of_its_timeout(queue: FilledQueue, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A settlement commits or not while its reply is given up: one result is written, and the next lease is held or not made."""
    monkeypatch.setattr(bounded, "REPLY_TIMEOUT_SECONDS", REPLY_TIMEOUT_SECONDS)
    queue.owner.execute(DELAY_SETTLEMENTS)
    connections: set[int] = set()
    with working(queue) as ctx:
        for offset_seconds in offsets_seconds(count, 0.008):
            job, following = queue.enter(leased_for_seconds=LONG_SECONDS), queue.enter()
            delay_seconds = REPLY_TIMEOUT_SECONDS - 0.004 + offset_seconds  # the statement takes some milliseconds in addition
            queue.owner.execute("update settlement_delay set seconds = %s", [delay_seconds])
            queue.owner.execute("select setval('settlement_attempts', 1, false)")
            lease = Lease(job.job_id, job.submission_id, job.lease_key or uuid4(), {}, 0)
            held = HeldLease(ctx, lease, time.monotonic(), RefusedAccesses(ctx.wiring.scoreboard))
            outcome, next_held = Loop(ctx)._settle(held, COMPLETED)
            connections.add(ctx.report._record.backend_pid)
            assert outcome == COMPLETED
            assert queue.results() == [(job.submission_id, "completed")]
            assert queue.job(following.job_id)["lease_key"] == (next_held.lease.lease_key if next_held else None)
            queue.owner.execute("truncate audit_results, learning_submission_jobs, learning_submissions cascade")
    assert len(connections) > 1


@rounds(5, 100)
def test_a_wake_up_does_not_shorten_the_wait_after_a_cut(queue: FilledQueue, count: int) -> None:
    """The server notices a closed connection within 50 ms. A wake-up does not let the worker look for its statement earlier."""
    cut_at_seconds = 0.0

    def cut(connection: Connection) -> float:
        nonlocal cut_at_seconds
        connection.close()
        cut_at_seconds = time.monotonic()
        connection.execute("select 1")
        raise AssertionError

    with working(queue) as ctx:
        for _ in range(count):
            os.eventfd_write(ctx.wiring.wake_fd, 1)
            asked_at_seconds = ctx.session.ask(cut, lambda _connection: time.monotonic())
            assert asked_at_seconds - cut_at_seconds >= SERVER_NOTICES_SECONDS


def test_a_stop_ends_the_wait_after_a_cut(queue: FilledQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a job leaves when it is asked to, however long it would wait for its next connection."""
    monkeypatch.setattr(session, "FIRST_WAIT_SECONDS", LONG_SECONDS)
    monkeypatch.setattr(session, "MAX_WAIT_SECONDS", LONG_SECONDS)
    with working(queue) as ctx, ThreadPoolExecutor(1) as pool:

        def cut(connection: Connection) -> None:
            connection.close()
            pool.submit(_stop_soon, ctx)
            connection.execute("select 1")

        began_at_seconds = time.monotonic()
        with pytest.raises(Stopped):
            ctx.session.ask(cut)
        assert time.monotonic() - began_at_seconds < LONG_SECONDS / 2


def _stop_soon(ctx: WorkerContext) -> None:
    time.sleep(0.05)
    ctx.wakeups._remember_stop(0, None)


# The end of a session


def _end_at(owner: Connection, backend_pid: int, at_seconds: float) -> None:
    _sleep_until(at_seconds)
    owner.execute("select pg_terminate_backend(%s)", [backend_pid])


def test_a_request_after_the_end_of_its_session_was_not_sent(queue: FilledQueue) -> None:
    """The server has ended the idle session. The next request is made on a new one, and not looked for as one in doubt."""

    def look(_connection: Connection) -> int:
        raise AssertionError

    with working(queue) as ctx:
        ended = ctx.session.ask(lambda connection: connection)
        _end_at(queue.owner, ended.info.backend_pid, time.monotonic())
        until(lambda: select.select([ended], [], [], 0)[0])
        assert ctx.session.ask(lambda connection: connection.info.backend_pid, look) != ended.info.backend_pid


def _lease(pending: PendingLease, connection: Connection) -> Lease | None:
    return lease_job(connection, pending.request)


@rounds(60, 1_000)
def test_a_lease_in_the_instant_of_its_session_s_end(queue: FilledQueue, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The server ends the session before, while or after it runs the lease. If the worker withdraws its key, no job has it."""
    monkeypatch.setattr(session, "FIRST_WAIT_SECONDS", 0.01)
    job_id, withdrawn = queue.enter().job_id, 0
    with working(queue) as ctx, owner_connection(queue.database) as owner, ThreadPoolExecutor(1) as pool:
        for offset_seconds in offsets_seconds(count, 0.002):
            queue.owner.execute(FREE_THE_JOB)
            ctx.report.set_lease(None, None)
            pending = PendingLease(LeaseRequest(uuid4(), LONG_SECONDS), time.monotonic())
            backend_pid = ctx.session.ask(lambda connection: connection.info.backend_pid)
            meet_at_seconds = time.monotonic() + 0.004
            ended = pool.submit(_end_at, owner, backend_pid, meet_at_seconds + offset_seconds)
            _sleep_until(meet_at_seconds)
            lease = LeaseSearch(ctx, Refusals())._ask(pending, partial(_lease, pending))
            ended.result()
            is_withdrawn = ctx.report._record.next_lease_key is None
            withdrawn += is_withdrawn
            assert (lease is None) is (queue.job(job_id)["lease_key"] is None)
            assert lease is None or not is_withdrawn
    assert 0 < withdrawn < count
