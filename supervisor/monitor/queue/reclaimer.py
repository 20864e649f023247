"""Reclaims the leases of dead workers, at the supervisor's request, and of dead instances, whose lock is free.

A row that is locked, or that the database refuses to change, is tried again after a growing wait. The others do not wait for it.
"""

import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg

from supervisor.adapters.instance import dead_instances, forget, remove_socket
from supervisor.adapters.survivors import kill_survivors_of_instance
from supervisor.event_log import EventLog
from supervisor.monitor.queue.refused_rows import RefusedRows
from worker.ipc import channel
from worker.ipc.backoff import doubling
from worker.ipc.channel import LeaseReclaimedReport, ReclaimLeaseRequest
from worker.queue.connection import AsyncConnection, refused_row
from worker.queue.dead_leases import ReclaimResult, leases_of, park_lease, reclaim_lease, reclaim_orphaned_lease
from worker.queue.refusals import Refusals
from worker.queue.sqlstate import Fault, fault_of, is_passing, reason_of
from worker.timeouts import STATEMENT_DEADLINE_SECONDS

RECHECK_SECONDS = 0.2  # a dead worker's last statement may still commit after the first attempt
BUSY_ROW_SECONDS = 0.1
MAX_BUSY_ROW_SECONDS = 60.0
DEAD_INSTANCES_SECONDS = 2.0
LATE_COMMIT_SECONDS = STATEMENT_DEADLINE_SECONDS  # after a death: the server has ended every statement of the dead by then
FAILURES_OF_A_LOCK = 5  # from this on a locked row is reported as a refused one

OnReclaimed = Callable[[ReclaimResult], None]


@dataclass(slots=True)
class PendingReclaim:
    """A request on its way. `is_recheck`: the first attempt found nothing. `failures`: attempts that met a refusal or a lock."""

    request: ReclaimLeaseRequest
    due_at_seconds: float
    is_recheck: bool = False
    failures: int = 0


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """`sqlstate` of the refusal, if the statement failed. `is_slow`: it waited, so the other rows are left for the next pass."""

    result: ReclaimResult | None
    sqlstate: str = ""

    @property
    def is_slow(self) -> bool:
        return is_passing(self.sqlstate)


class LeaseReclaimer:
    """Requests on their way, and reports that the supervisor has not taken yet.

    A request leaves its queue only after its statement was answered. If this process dies, the supervisor repeats its
    requests to the next monitor.
    """

    def __init__(
        self,
        channel_fd: int,
        directory: Path,
        database: str,
        max_crashes: int,
        event_log: EventLog,
        refused_rows: RefusedRows,
    ) -> None:
        self._channel_fd, self._directory, self._database = channel_fd, directory, database
        self._max_crashes, self._event_log, self._refused_rows = max_crashes, event_log, refused_rows
        self._pending: list[PendingReclaim] = []
        self._unsent: deque[LeaseReclaimedReport] = deque()
        self._orphans = Refusals()  # leases of dead instances that could not be reclaimed
        self._searched_at_seconds = float("-inf")
        self._dead_since_seconds: dict[int, float] = {}  # instance -> its first search without a lease

    def add(self, request: ReclaimLeaseRequest) -> None:
        self._pending.append(PendingReclaim(request, time.monotonic()))

    def due_in_seconds(self) -> float:
        """Time until `reclaim` or `reclaim_dead_instances` has work again."""
        now = time.monotonic()
        if self._unsent or any(not each.is_recheck and each.due_at_seconds <= now for each in self._pending):
            return BUSY_ROW_SECONDS
        due_in_seconds = (max(0.0, each.due_at_seconds - now) for each in self._pending)
        return min(due_in_seconds, default=DEAD_INSTANCES_SECONDS)

    async def reclaim(self, connection: AsyncConnection, on_reclaimed: OnReclaimed) -> None:
        """Processes what is due. Stops after a row that waited, because many waits would exceed the monitor's deadline."""
        self._send_reports()
        now = time.monotonic()
        for pending in sorted(
            (each for each in self._pending if each.due_at_seconds <= now), key=lambda each: each.due_at_seconds
        ):
            outcome = await self._attempt(connection, pending)
            if outcome.result is not None:
                self._conclude(pending, outcome.result, on_reclaimed)
            else:
                self._postpone(pending)
            if outcome.is_slow:
                return

    async def _attempt(self, connection: AsyncConnection, pending: PendingReclaim) -> RowOutcome:
        request, limit = pending.request, self._max_crashes if pending.request.is_counted else None
        return await self._reclaim_or_park(
            connection,
            request.job_id,
            request.lease_key,
            pending.failures,
            lambda: reclaim_lease(connection, request.job_id, request.lease_key, max_crashes=limit),
        )

    async def _reclaim_or_park(
        self,
        connection: AsyncConnection,
        job_id: UUID | None,
        lease_key: UUID,
        failures: int,
        reclaim: Callable[[], Awaitable[ReclaimResult]],
    ) -> RowOutcome:
        """Reclaims the lease, or parks its job if the database refuses that. Without a result the database refuses both."""
        try:
            return RowOutcome(await reclaim())
        except psycopg.Error as error:
            sqlstate = refused_row(error)
            if sqlstate is None:
                raise
        result = None
        if fault_of(sqlstate) is Fault.ROW:
            result = await self._park(connection, job_id, lease_key, sqlstate)
        if job_id is not None and (not is_passing(sqlstate) or failures >= FAILURES_OF_A_LOCK):
            self._refused_rows.add(job_id, sqlstate, time.monotonic())
            self._event_log.row_refused(job=job_id, outcome="parked", error=reason_of(sqlstate))
        return RowOutcome(result, sqlstate)

    async def _park(
        self, connection: AsyncConnection, job_id: UUID | None, lease_key: UUID, sqlstate: str
    ) -> ReclaimResult | None:
        try:
            return await park_lease(connection, job_id, lease_key, reason_of(sqlstate))
        except psycopg.Error as error:
            if refused_row(error) is None:
                raise
            return None

    def _conclude(self, pending: PendingReclaim, result: ReclaimResult, on_reclaimed: OnReclaimed) -> None:
        """A first attempt that found nothing is repeated once, unless the row was locked or refused: then the lease exists."""
        if result is ReclaimResult.NOT_FOUND and not pending.is_recheck and not pending.failures:
            pending.is_recheck, pending.due_at_seconds = True, time.monotonic() + RECHECK_SECONDS
            return
        self._pending.remove(pending)
        self._report(pending.request, result, on_reclaimed)

    def _postpone(self, pending: PendingReclaim) -> None:
        """The second attempt follows in the next pass, after the rows that have not been tried. Then the wait grows."""
        wait_seconds = doubling(BUSY_ROW_SECONDS, MAX_BUSY_ROW_SECONDS, pending.failures - 1) if pending.failures else 0.0
        pending.is_recheck, pending.failures = False, pending.failures + 1
        pending.due_at_seconds = time.monotonic() + wait_seconds

    def _report(self, request: ReclaimLeaseRequest, result: ReclaimResult, on_reclaimed: OnReclaimed) -> None:
        self._unsent.append(LeaseReclaimedReport(lease_key=request.lease_key, outcome=result.value))
        self._send_reports()
        on_reclaimed(result)

    def _send_reports(self) -> None:
        """The supervisor sends each request once to each monitor, so a report that does not fit into the socket is kept."""
        while self._unsent and channel.send(self._channel_fd, self._unsent[0]):
            self._unsent.popleft()

    async def reclaim_dead_instances(self, connection: AsyncConnection, on_reclaimed: OnReclaimed) -> None:
        """Frees the leases of each instance whose lock is free. An instance is forgotten when it can have no further lease."""
        if time.monotonic() < self._searched_at_seconds + DEAD_INSTANCES_SECONDS:
            return
        with dead_instances(self._directory, self._database) as numbers:
            for number in numbers:
                self._kill_survivors(number)
                is_free = await self._reclaim_instance(connection, number, on_reclaimed)
                remove_socket(self._directory, number)
                if is_free and self._is_over(number):
                    forget(self._directory, number)
                    del self._dead_since_seconds[number]
        self._searched_at_seconds = time.monotonic()

    def _is_over(self, number: int) -> bool:
        """False while a lease statement of the dead may still commit, as behind a pooler: each search looks for it again."""
        now = time.monotonic()
        return now >= self._dead_since_seconds.setdefault(number, now) + LATE_COMMIT_SECONDS

    def _kill_survivors(self, number: int) -> None:
        """Their database sessions could hold a permit, or a row that is to be reclaimed."""
        for pid in kill_survivors_of_instance(self._directory, number):
            self._event_log.instance_survivor_killed(instance=number, pid=pid)

    async def _reclaim_instance(self, connection: AsyncConnection, number: int, on_reclaimed: OnReclaimed) -> bool:
        """False if a lease is left, because its row is locked or refused. The next search finds it again."""
        is_free = True
        for job_id, lease_key in await leases_of(connection, number):
            if self._orphans.is_waiting(job_id, time.monotonic()):
                is_free = False
                continue
            outcome = await self._reclaim_orphan(connection, job_id, lease_key)
            if outcome.result is None:
                self._orphans.add(job_id, outcome.sqlstate, time.monotonic())
                is_free = False
            else:
                self._event_log.dead_instance_lease(instance=number, job=job_id, outcome=outcome.result.value)
                on_reclaimed(outcome.result)
            if outcome.is_slow:
                return False
        return is_free

    async def _reclaim_orphan(self, connection: AsyncConnection, job_id: UUID, lease_key: UUID) -> RowOutcome:
        known = self._orphans.of(job_id)
        return await self._reclaim_or_park(
            connection,
            job_id,
            lease_key,
            known.tries if known else 0,
            lambda: reclaim_orphaned_lease(connection, job_id, lease_key),
        )
