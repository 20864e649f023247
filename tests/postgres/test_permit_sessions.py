"""Sessions that hold a permit for no job are found and can be ended, and no others."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from supervisor.event_log import EventLog
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.permit_watch import PermitWatch
from supervisor.monitor.state import MonitorState
from testkit.database import url
from testkit.filled_queue import FilledQueue
from testkit.waiting import LIMIT_SECONDS, until
from worker.core.outcome import Lease
from worker.ipc.scoreboard import Scoreboard
from worker.queue import permit_sessions as module
from worker.queue.connection import Connection, connect, connect_monitor
from worker.queue.leases import LeaseOwner
from worker.queue.model_lock import ModelLockKeys, acquire_model_lock, is_in_use
from worker.queue.permit_sessions import PermitSession, end_session, monitor_name, permit_sessions, worker_name
from worker.queue.permits import Permits, begin_step
from worker.settings import WorkerSettings

pytestmark = pytest.mark.postgres
SCHEMAS = (2025,)  # sessions and locks are the same in each

LEASE_SECONDS = 60.0
ALIVE = "select from pg_stat_activity where pid = %s"


class Holder:
    """A worker's session with a lease, and with the only permit of a model."""

    def __init__(self, queue: FilledQueue, name: str = "", *, slot: int = 0) -> None:
        self.owner = LeaseOwner(1, uuid4().int % 2**32)
        self.name = name or worker_name(slot, 4711, self.owner.incarnation)
        self.queue, self.permits = queue, Permits.of("http://127.0.0.1:11434", f"model-{uuid4()}", 1)
        entered = queue.enter(leased_for_seconds=LEASE_SECONDS)
        self.lease = Lease(entered.job_id, entered.submission_id, self.owner.new_key(), {}, 0)
        self.set_key(self.lease.lease_key)
        self.connection = self.connect()
        assert begin_step(self.connection, self.lease, LEASE_SECONDS, self.permits).permit

    def connect(self) -> Connection:
        return connect(self.queue.database.worker_dsn, self.name)

    def set_key(self, key: UUID) -> None:
        self.queue.owner.execute("update learning_submission_jobs set lease_key = %s where id = %s", [key, self.lease.job_id])

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def is_alive(self) -> bool:
        return self.queue.owner.execute(ALIVE, [self.pid]).fetchone() is not None


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session counts as quiet without a pause."""
    monkeypatch.setattr(module, "QUIET_SECONDS", 0.0)


def sessions(queue: FilledQueue, permits: Permits, dsn: str = "") -> list[PermitSession]:
    async def run() -> list[PermitSession]:
        async with await connect_monitor(dsn or queue.database.worker_dsn, "test", pooled="false") as connection:
            return await permit_sessions(connection, [permits.key])

    return asyncio.run(run())


def end(queue: FilledQueue, session: PermitSession) -> None:
    async def run() -> None:
        async with await connect_monitor(queue.database.worker_dsn, "test", pooled="false") as connection:
            await end_session(connection, session)

    asyncio.run(run())


def test_a_permit_with_a_running_lease_is_in_use(queue: FilledQueue, undo: ExitStack) -> None:
    """However long its session is idle, because the worker may be in a long call."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)
    (session,) = sessions(queue, holder.permits)
    assert (session.number, session.is_granted, session.backend_pid) == (1, True, holder.pid)
    assert (session.application_name, session.client_address, session.may_end) == (holder.name, None, True)
    assert not session.is_overdue


@pytest.mark.parametrize(
    "change", ["leased_until = now()", "lease_key = gen_random_uuid()", "status = 'queued', lease_key = null"]
)
def test_a_permit_ends_with_the_lease_of_its_job(queue: FilledQueue, undo: ExitStack, change: str) -> None:
    """After the lease has expired, was taken over or given back, the session is overdue, and ending it frees the permit."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)
    queue.owner.execute(
        sql.SQL("update learning_submission_jobs set " + change + " where id = %s"),
        [holder.lease.job_id],
    )
    (session,) = sessions(queue, holder.permits)
    assert session.is_overdue
    end(queue, session)
    until(lambda: not holder.is_alive())
    assert sessions(queue, holder.permits) == []


def test_a_session_that_its_worker_has_given_up_is_overdue(queue: FilledQueue, undo: ExitStack) -> None:
    """The worker still has its lease, but works on another connection, so the old one holds the permit for no call."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)
    undo.callback(holder.connect().close)
    (session,) = sessions(queue, holder.permits)
    assert session.is_overdue


def test_a_session_between_its_lease_and_its_permit_is_not_overdue(
    queue: FilledQueue, undo: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_locks shows a lock before the table shows the lease, so that a session that is not quiet yet is spared."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)
    holder.set_key(uuid4())
    monkeypatch.setattr(module, "QUIET_SECONDS", LEASE_SECONDS)
    (session,) = sessions(queue, holder.permits)
    assert not session.is_overdue


@pytest.mark.parametrize("name", ["psql", "", "learning-supervisor slot 0 pid 4711", "learning-supervisor monitor 0c0ffee"])
def test_the_session_of_another_program_is_never_overdue(queue: FilledQueue, undo: ExitStack, name: str) -> None:
    """Its use of the permit is unknown. Sessions of an older version do not name their worker's number."""
    holder = Holder(queue, name or " ")
    undo.callback(holder.connection.close)
    holder.set_key(uuid4())
    (session,) = sessions(queue, holder.permits)
    assert not session.is_overdue


def test_a_session_of_another_role_is_found_and_cannot_be_ended(queue: FilledQueue, undo: ExitStack) -> None:
    """The server shows its name, but not its times, and the attempt to end it is not made."""
    holder, other = Holder(queue), f"{queue.database.name}_other"
    undo.callback(holder.connection.close)
    names = {"other": sql.Identifier(other), "database": sql.Identifier(queue.database.name)}
    queue.owner.execute(sql.SQL("create role {other} login password 'secret'").format(**names))
    undo.callback(queue.owner.execute, sql.SQL("drop owned by {other}; drop role {other}").format(**names))
    queue.owner.execute(
        sql.SQL("grant connect on database {database} to {other}; grant select on learning_submission_jobs to {other}").format(
            **names
        )
    )
    holder.set_key(uuid4())
    (session,) = sessions(queue, holder.permits, url(queue.database.worker_dsn, user=other, password="secret"))
    assert (session.may_end, session.quiet_seconds, session.application_name) == (False, None, holder.name)
    assert session.is_overdue


def test_a_later_session_with_the_same_pid_is_not_ended(queue: FilledQueue, undo: ExitStack) -> None:
    """The server may give a pid again, so the start of the session is compared."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)
    (session,) = sessions(queue, holder.permits)
    assert session.session_start is not None
    end(
        queue,
        PermitSession(**{**{name: getattr(session, name) for name in session.__slots__}, "session_start": "2000-01-01 00:00+00"}),
    )
    assert holder.connection.execute("select 1 as it").fetchone() == {"it": 1}


def test_a_waiting_session_is_listed_as_not_granted(queue: FilledQueue, undo: ExitStack) -> None:
    """The look finds for which model a session waits."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)
    waiter = psycopg.connect(queue.database.worker_dsn, autocommit=True)
    undo.callback(waiter.close)
    waiter.pgconn.send_query(f"select pg_advisory_lock({holder.permits.key}, 1)".encode())
    until(lambda: len(sessions(queue, holder.permits)) == 2)
    assert sorted(session.is_granted for session in sessions(queue, holder.permits)) == [False, True]


@pytest.mark.parametrize("quiet_seconds", [0.0, 60.0])
def test_the_lock_of_a_monitor_that_no_longer_polls_is_freed(
    queue: FilledQueue, monkeypatch: pytest.MonkeyPatch, quiet_seconds: float
) -> None:
    """The other model gets its turn. A monitor that has run a statement within the limit keeps its lock."""
    monkeypatch.setattr(module, "MONITOR_QUIET_SECONDS", quiet_seconds)
    held: list[str | None] = []
    lines: list[str] = []

    async def run() -> None:
        frozen = await connect_monitor(queue.database.worker_dsn, monitor_name(1, 9), pooled="false")
        async with await connect_monitor(queue.database.worker_dsn, monitor_name(2, 8), pooled="false") as connection:
            assert await acquire_model_lock(frozen, ModelLockKeys.of("here", "vision", "feedback"))
            watch = PermitWatch(settings(), Scoreboard(), MonitorState(), EventLog("INFO", lines.append))
            client = ModelLockClient("here", ("vision", "feedback"), watch, held.append)
            client.want("feedback")
            for _ in range(20):
                await client.serve(connection)
                await asyncio.sleep(client.due_in_seconds() if not held else 0)
        await frozen.close()

    asyncio.run(run())
    assert held == ([] if quiet_seconds else ["feedback"])
    assert [line for line in lines if "permit_overdue" in line and "model=vision" in line] == lines
    assert len(lines) == (0 if quiet_seconds else 1)


def test_the_model_lock_of_a_stopped_server_process_does_not_count(queue: FilledQueue) -> None:
    """Its monitor works on with another session, and the process cannot be ended. The other model gets its turn."""
    held: list[str | None] = []

    async def run() -> None:
        given_up = await connect_monitor(queue.database.worker_dsn, monitor_name(1, 9), pooled="false")
        async with await connect_monitor(queue.database.worker_dsn, monitor_name(1, 9), pooled="false") as connection:
            assert await acquire_model_lock(given_up, ModelLockKeys.of("here", "vision", "feedback"))
            watch = PermitWatch(settings(), Scoreboard(), MonitorState(), EventLog("INFO", lambda _: None))
            client = ModelLockClient("here", ("vision", "feedback"), watch, held.append)
            client.want("feedback")
            os.kill(given_up.info.backend_pid, signal.SIGSTOP)
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    while not held:
                        await client.serve(connection)
                        await asyncio.sleep(0 if held else client.due_in_seconds())
            finally:
                os.kill(given_up.info.backend_pid, signal.SIGCONT)
        await given_up.close()

    asyncio.run(run())
    assert held == ["feedback"]


def settings() -> WorkerSettings:
    return WorkerSettings.model_validate({"LEARNING_DATABASE_URL": "postgresql://worker@/learning", "ai_backend": "stub"})


def test_a_lost_permit_is_no_use_of_its_model(queue: FilledQueue, undo: ExitStack) -> None:
    """Else the other model would wait for a call that has ended."""
    holder = Holder(queue)
    undo.callback(holder.connection.close)

    async def run() -> list[bool]:
        async with await connect_monitor(queue.database.worker_dsn, "test", pooled="false") as connection:
            lost = replace(holder.permits, lost=frozenset({1}))
            return [await is_in_use(connection, permits) for permits in (holder.permits, lost)]

    assert asyncio.run(run()) == [True, False]
