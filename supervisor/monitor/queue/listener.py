"""The task that owns the monitor's connection: it listens, polls the queue, wakes workers and serves requests."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import assert_never

import psycopg
from psycopg.pq.abc import PGconn

from supervisor.admission.decision import AcquireModelLock
from supervisor.event_log import EventLog
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.permit_watch import PermitWatch
from supervisor.monitor.queue.reclaimer import LeaseReclaimer
from supervisor.monitor.queue.requests import CheckModelUse, DatabaseRequest, DatabaseRequests, PollSoon, Reconnect
from supervisor.monitor.queue.silent_instances import InstanceWatch
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from worker.ipc.backoff import doubling, jittered
from worker.ipc.channel import ReclaimLeaseRequest
from worker.ipc.scoreboard import Scoreboard
from worker.queue.abilities import Abilities, abilities_claimed
from worker.queue.connection import AsyncConnection, connect_monitor, has_answered, is_pooled, refused_row
from worker.queue.dead_leases import ReclaimResult
from worker.queue.instances import all_instances
from worker.queue.leases import LeaseOwner
from worker.queue.outages import outage_of
from worker.queue.permit_sessions import monitor_name
from worker.queue.polls import (
    QueuePoll,
    StepBacklog,
    is_waiting_besides,
    jobs_ahead,
    left_queued,
    listen,
    open_jobs,
    parked_jobs,
    poll_queue,
    queue_stats,
    step_backlog,
    stuck_jobs,
)
from worker.queue.sqlstate import is_damage
from worker.settings import WorkerSettings

MONITOR_DEADLINE_SECONDS = 60.0
COUNT_EVERY_SECONDS = 1.0
SURVEY_EVERY_SECONDS = 5.0
POLL_SOON_SECONDS = 0.05  # after a notification: the job may have been leased already, or be delayed
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.1, 5.0  # between two attempts to connect


@dataclass(frozen=True, slots=True)
class ConnectionUsers:
    """Parts of the monitor that use the connection or are affected by a poll. `on_poll` is called after each poll."""

    requests: DatabaseRequests
    reclaimer: LeaseReclaimer
    model_lock: ModelLockClient
    permits: PermitWatch
    waker: Waker
    on_poll: Callable[[], None]


class QueueListener:
    """One task, one statement at a time. An outage ends the connection, never the task."""

    def __init__(
        self,
        settings: WorkerSettings,
        scoreboard: Scoreboard,
        owner: LeaseOwner,
        state: MonitorState,
        users: ConnectionUsers,
        event_log: EventLog,
    ) -> None:
        self._settings, self._scoreboard, self._state, self._event_log = settings, scoreboard, state, event_log
        self._requests, self._reclaimer, self._model_lock = users.requests, users.reclaimer, users.model_lock
        self._permits, self._waker, self._on_poll = users.permits, users.waker, users.on_poll
        self._monitor_record = replace(scoreboard.monitor.read(), incarnation=owner.incarnation)
        self._session_name = monitor_name(owner.incarnation, owner.instance)
        self._instances = InstanceWatch(f"{owner.instance:08x}")
        self._sender_pids: list[int] = []  # of notifications that are not dispatched yet
        self._poll_at_seconds = self._surveyed_at_seconds = -math.inf
        self._is_renewing = False

    async def run(self) -> None:
        """Runs until it is cancelled. Raises UnsuitableDatabase for a role that must not be used."""
        failures = 0
        while True:
            self._set_deadline()
            try:
                connection = await self._connect()
                async with connection:
                    await self._serve(connection)
                failures = 0  # the end was requested
                self._model_lock.connection_lost()
            except (psycopg.Error, OSError) as outage:
                failures = 0 if self._state.is_connected else failures
                self._mark_lost(outage)
            wait_seconds = doubling(FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS, failures)
            await asyncio.sleep(jittered(wait_seconds))
            failures += 1

    async def _connect(self) -> AsyncConnection:
        connection = await connect_monitor(
            self._settings.learning_database_url.get_secret_value(),
            self._session_name,
            allows_service_role=self._settings.allows_service_role,
            pooled=self._settings.database_pooled,
        )
        self._state.is_pooled = is_pooled(connection)
        if not self._state.is_pooled:  # in a shared session, LISTEN would deliver to whichever client uses it next
            connection.add_notify_handler(lambda notification: self._sender_pids.append(notification.pid))  # with a result
            await listen(connection)
        return connection

    async def _serve(self, connection: AsyncConnection) -> None:
        """Serves until a new connection is requested."""
        self._poll_at_seconds, self._is_renewing = -math.inf, False
        while not self._is_renewing:
            self._set_deadline()
            for request in self._requests.take_all():
                self._accept(request)
            await self._reclaimer.reclaim(connection, self._count_reclaimed)
            await self._reclaimer.reclaim_dead_instances(connection, self._count_reclaimed)
            await self._model_lock.serve(connection)
            await self._permits.serve(connection)
            if time.monotonic() >= self._poll_at_seconds:
                await self._poll(connection)
            await self._wait(connection)

    def _accept(self, request: DatabaseRequest) -> None:
        match request:
            case PollSoon():
                self._poll_at_seconds = min(self._poll_at_seconds, time.monotonic() + POLL_SOON_SECONDS)
            case Reconnect():
                self._is_renewing = True
            case ReclaimLeaseRequest():
                self._reclaimer.add(request)
            case AcquireModelLock(model):
                self._model_lock.want(model)
            case CheckModelUse():
                self._model_lock.add_check(request)
            case _:
                assert_never(request)

    async def _poll(self, connection: AsyncConnection) -> None:
        """Polls the queue, wakes a worker if a job waits, and sets the time of the next poll."""
        self._waker.refresh_worker_pids()
        poll = await self._poll_queue(connection)
        self._mark_connected()
        if poll.is_waiting:
            self._waker.wake_one()
        self._state.is_waiting = poll.is_waiting and await self._is_workable(connection)
        if self._state.admission.is_governed:
            await self._count_backlog(connection, is_waiting=poll.is_waiting)
            self._on_poll()
        now = time.monotonic()
        if now >= self._state.counted_at_seconds + COUNT_EVERY_SECONDS:
            await self._count(connection, now)
        if now >= self._surveyed_at_seconds + SURVEY_EVERY_SECONDS:
            await self._survey(connection, now)
            await self._find_silent_instances(connection, now)
        self._state.polled_at_seconds = now
        self._set_deadline()
        self._poll_at_seconds = now + min(self._settings.worker_poll_interval, poll.due_in_seconds)

    async def _poll_queue(self, connection: AsyncConnection) -> QueuePoll:
        """A damaged payload that cannot be read belongs to a waiting job, until a worker reports its row."""
        try:
            return await poll_queue(connection, self._state.refused_rows.rows, self._abilities())
        except psycopg.Error as error:
            if not is_damage(error.sqlstate or ""):
                raise
            return QueuePoll(is_waiting=True, due_in_seconds=math.inf)

    async def _count(self, connection: AsyncConnection, now: float) -> None:
        """Keeps the last count if a damaged payload cannot be read."""
        self._state.counted_at_seconds = now
        try:
            self._state.stats = await queue_stats(connection, self._state.refused_rows.rows, self._abilities())
        except psycopg.Error as error:
            if not is_damage(error.sqlstate or ""):
                raise

    def _abilities(self) -> Abilities:
        """The jobs that any worker of this instance takes."""
        slots = range(self._scoreboard.control.read().leasing_slots)
        records = filter(None, map(self._scoreboard.worker, slots))
        return abilities_claimed(
            (record.abilities for record in records),
            skips_tests=self._settings.worker_skip_pytest_jobs,
            test_run_id=self._settings.worker_test_run_id,
        )

    async def _is_workable(self, connection: AsyncConnection) -> bool:
        """True if a waiting job is none of those that the database refuses to change."""
        refused = self._state.refused_rows.rows
        return not refused or await is_waiting_besides(connection, list(refused), self._abilities())

    async def _count_backlog(self, connection: AsyncConnection, *, is_waiting: bool) -> None:
        """Keeps the last count if a damaged payload cannot be read: a worker will report that row."""
        with _without_damaged_rows():
            refused = self._state.refused_rows.rows
            self._state.backlog = await step_backlog(connection, refused, self._abilities()) if is_waiting else StepBacklog()

    async def _find_silent_instances(self, connection: AsyncConnection, now: float) -> None:
        """Finds instances that hold jobs and do nothing. Behind a pooler no session is an instance's own."""
        if not self._state.is_pooled:
            rows = await all_instances(connection)
            self._state.silent_instances = self._instances.silent(rows, now, self._settings.worker_poll_interval)

    async def _survey(self, connection: AsyncConnection, now: float) -> None:
        """Finds rows that no worker can take, jobs that any instance has put aside, and refused rows whose jobs have ended."""
        self._surveyed_at_seconds, refused_rows = now, self._state.refused_rows
        with _without_damaged_rows():
            self._state.stuck_jobs, self._state.jobs_ahead = await stuck_jobs(connection), await jobs_ahead(connection)
            self._state.left_queued = await left_queued(connection, refused_rows.rows, self._abilities())
            for job_id, sqlstate in (await parked_jobs(connection)).items():
                refused_rows.add(job_id, sqlstate, now)
            if refused_rows.rows:
                refused_rows.keep(await open_jobs(connection, list(refused_rows.rows)), now)

    def _due_in_seconds(self) -> float:
        poll_in_seconds = self._poll_at_seconds - time.monotonic()
        return min(
            poll_in_seconds,
            self._reclaimer.due_in_seconds(),
            self._model_lock.due_in_seconds(),
            self._permits.due_in_seconds(),
        )

    async def _wait(self, connection: AsyncConnection) -> None:
        """Waits for a notification, a request, or the time at which something is due."""
        self._dispatch()
        loop, fd = asyncio.get_running_loop(), connection.fileno()
        loop.add_reader(fd, self._read_notifications, connection.pgconn, fd)
        try:
            async with asyncio.timeout(self._due_in_seconds()):
                await self._requests.arrived.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(fd)
            self._requests.arrived.clear()

    def _read_notifications(self, pgconn: PGconn, fd: int) -> None:
        """Called when the idle connection becomes readable. The next statement reports a lost connection."""
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            asyncio.get_running_loop().remove_reader(fd)
            self.wake()
        while notification := pgconn.notifies():
            self._sender_pids.append(notification.be_pid)
        self._dispatch()

    def _dispatch(self) -> None:
        """Wakes one worker for each notification. Those of our own workers are ignored, because they enter no job.

        Handles notifications in batches, so that a burst does not delay query results.
        """
        foreign, self._sender_pids = self._waker.count_foreign(self._sender_pids), []
        if foreign:
            self._waker.wake(foreign)
            self._requests.send(PollSoon())

    def wake(self) -> None:
        """Ends the wait, without a request."""
        self._requests.arrived.set()

    def _mark_connected(self) -> None:
        """Called after the first successful query, because a connection on which every statement fails is of no use."""
        if not self._state.is_connected:
            self._state.mark_connected(time.monotonic())
            self._event_log.connected(is_pooled=self._state.is_pooled)

    def _mark_lost(self, outage: BaseException) -> None:
        name = outage_of(outage)
        if self._state.is_connected or self._state.outage != name:
            self._event_log.connection_lost(error=name)
        self._state.mark_lost(name, time.monotonic(), has_error_reply=has_answered(outage))
        self._model_lock.connection_lost()
        self._permits.connection_lost()
        self._instances.forget()
        self._state.silent_instances = ()
        self._set_deadline()

    def _count_reclaimed(self, result: ReclaimResult) -> None:
        reclaimed = self._monitor_record.leases_reclaimed + (result is not ReclaimResult.NOT_FOUND)
        quarantined = self._monitor_record.quarantined + (result is ReclaimResult.QUARANTINED)
        self._monitor_record = replace(self._monitor_record, leases_reclaimed=reclaimed, quarantined=quarantined)
        if result is ReclaimResult.RECLAIMED:
            self._waker.wake_one()
        self._set_deadline()

    def _set_deadline(self) -> None:
        """Publishes the monitor's deadline. Everything between two calls has a limit, and all limits together are far below."""
        self._monitor_record = replace(
            self._monitor_record,
            deadline_seconds=time.monotonic() + MONITOR_DEADLINE_SECONDS,
            polled_at_seconds=self._state.polled_at_seconds,
        )
        self._scoreboard.monitor.write(self._monitor_record)


@contextmanager
def _without_damaged_rows() -> Iterator[None]:
    """Suppress an error of single rows, which must not end the connection that serves all others."""
    try:
        yield
    except psycopg.Error as error:
        if refused_row(error) is None:
            raise
