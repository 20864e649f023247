"""The monitor's one connection: it listens, looks at the queue now and then, wakes workers and gives leases back."""

import asyncio
import math
import random
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg
from psycopg.pq.abc import PGconn

from supervisor.event_log import EventLog
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.reclaimer import LeaseReclaimer
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from worker.ipc.scoreboard import Scoreboard
from worker.queue.backlog import StepBacklog, step_backlog
from worker.queue.connection import connect_monitor, has_answered, is_pooled
from worker.queue.dead_leases import AsyncConnection, ReclaimResult
from worker.queue.polls import listen, poll_queue, queue_stats
from worker.settings import WorkerSettings

MONITOR_DEADLINE_SECONDS = 60.0
COUNT_EVERY_SECONDS = 1.0
SECOND_LOOK_SECONDS = 0.05  # after news: was it taken, and is it a job for later?
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.1, 5.0


class QueueListener:
    """One task, one statement at a time. An outage ends a connection, never the watch."""

    def __init__(
        self,
        settings: WorkerSettings,
        scoreboard: Scoreboard,
        incarnation: int,
        releases: LeaseReclaimer,
        keeper: ModelLockClient,
        waker: Waker,
        journal: EventLog,
    ) -> None:
        self._settings, self._scoreboard, self._releases, self._keeper = settings, scoreboard, releases, keeper
        self._waker, self._journal = waker, journal
        self._monitor_record = replace(scoreboard.monitor_record(), incarnation=incarnation)
        self._stirred = asyncio.Event()
        self._heard: list[int] = []  # of whom news has come, by their backends
        self._look_at_seconds = -math.inf
        self.sight = MonitorState()
        self.on_look: Callable[[], None] = lambda: None  # is told that the sight of the queue is new

    def stir(self) -> None:
        """Something is to be done before the next look."""
        self._stirred.set()

    def look_soon(self) -> None:
        """There is news of the queue; a look that is under way may have come too early for it."""
        self._look_at_seconds = min(self._look_at_seconds, time.monotonic() + SECOND_LOOK_SECONDS)
        self.stir()

    async def run(self) -> None:
        """Until it is cancelled. Raises UnsuitableDatabase for a role that must not be used."""
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            self._set_deadline()
            try:
                connection = await self._connect()
                async with connection:
                    await self._serve(connection)
            except (psycopg.Error, OSError) as outage:
                wait_seconds = FIRST_WAIT_SECONDS if self.sight.is_connected else wait_seconds
                self._lose(outage)
            await asyncio.sleep(wait_seconds * random.uniform(0.5, 1.0))  # noqa: S311  jitter is no secret
            wait_seconds = min(2 * wait_seconds, MAX_WAIT_SECONDS)

    async def _connect(self) -> AsyncConnection:
        connection = await connect_monitor(
            self._settings.learning_database_url.get_secret_value(),
            "learning-supervisor monitor",
            allows_service_role=self._settings.allow_service_dsn_for_testing,
            pooled=self._settings.database_pooled,
        )
        self.sight.is_pooled = is_pooled(connection)
        if not self.sight.is_pooled:  # a session that is another's next would hear for that one
            connection.add_notify_handler(lambda news: self._heard.append(news.pid))  # of what comes with an answer
            await listen(connection)
        return connection

    async def _serve(self, connection: AsyncConnection) -> None:
        self._look_at_seconds = -math.inf
        while True:
            self._set_deadline()
            await self._releases.give_back(connection, self._count_returned)
            await self._releases.sweep(connection, self._count_returned)
            await self._keeper.serve(connection)
            look_again_seconds = await self._look(connection)
            due_in_seconds = min(self._releases.due_in_seconds(), self._keeper.due_in_seconds())
            await self._wait(connection, min(look_again_seconds, due_in_seconds))

    async def _look(self, connection: AsyncConnection) -> float:
        """Looks at the queue, if it is time, and wakes a worker for what waits there; in how many seconds to look again."""
        if time.monotonic() < self._look_at_seconds:
            return self._look_at_seconds - time.monotonic()
        self._look_at_seconds = math.inf
        self._waker.recognise()
        look = await poll_queue(connection)
        self._greet()
        if look.is_waiting:
            self._waker.wake_one()
        if self.sight.admission.is_governed:
            self.sight.backlog = await step_backlog(connection) if look.is_waiting else StepBacklog()
            self.on_look()
        now = time.monotonic()
        if now >= self.sight.counted_at_seconds + COUNT_EVERY_SECONDS:
            self.sight.stats, self.sight.counted_at_seconds = await queue_stats(connection), now
        self.sight.looked_at_seconds = now
        self._set_deadline()
        look_again_seconds = min(self._settings.worker_poll_interval, look.due_in_seconds)
        self._look_at_seconds = min(self._look_at_seconds, now + look_again_seconds)
        return self._look_at_seconds - now

    async def _wait(self, connection: AsyncConnection, timeout_seconds: float) -> None:
        """Until there is news, a request or the time."""
        self._hear()
        loop, fd = asyncio.get_running_loop(), connection.fileno()
        loop.add_reader(fd, self._listen, connection.pgconn, fd)
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._stirred.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(fd)
            self._stirred.clear()

    def _listen(self, pgconn: PGconn, fd: int) -> None:
        """What came without being asked for. A lost connection is found by the next statement."""
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            asyncio.get_running_loop().remove_reader(fd)
            self.stir()
        while notification := pgconn.notifies():
            self._heard.append(notification.be_pid)
        self._hear()

    def _hear(self) -> None:
        """One wake-up per notification of somebody else: our own workers tell of what they finished, and enter nothing.

        What has come at once is judged at once: news must not come faster than it is heard, or the answers behind it come late.
        """
        news, self._heard = self._waker.count_others(self._heard), []
        if news:
            self._waker.wake(news)
            self.look_soon()

    def _greet(self) -> None:
        """Connected is who was answered: a connection on which every statement fails is none."""
        if not self.sight.is_connected:
            self.sight.connect(time.monotonic())
            self._journal.monitor("INFO", "connected", pooled=self.sight.is_pooled)

    def _lose(self, outage: BaseException) -> None:
        if self.sight.is_connected or self.sight.outage != type(outage).__name__:
            self._journal.monitor("WARNING", "connection_lost", error=type(outage).__name__)
        self.sight.is_connected = self.sight.is_listening = False
        self.sight.outage, self.sight.is_refused = type(outage).__name__, has_answered(outage)
        self._keeper.lost()
        self._set_deadline()

    def _count_returned(self, outcome: ReclaimResult) -> None:
        returned = self._monitor_record.leases_returned + (outcome is not ReclaimResult.NOT_FOUND)
        quarantined = self._monitor_record.quarantined + (outcome is ReclaimResult.QUARANTINED)
        self._monitor_record = replace(self._monitor_record, leases_returned=returned, quarantined=quarantined)
        if outcome is ReclaimResult.RECLAIMED:
            self._waker.wake_one()
        self._set_deadline()

    def _set_deadline(self) -> None:
        """Everything between two deadlines has a bound of its own, all of them together far below this."""
        self._monitor_record = replace(
            self._monitor_record,
            deadline_seconds=time.monotonic() + MONITOR_DEADLINE_SECONDS,
            looked_at_seconds=self.sight.looked_at_seconds,
        )
        self._scoreboard.write_monitor_record(self._monitor_record)
