"""Reclaims the leases of dead workers, at the supervisor's request, and of dead instances, whose lock is free."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from psycopg.errors import LockNotAvailable

from supervisor.adapters.instance import dead_instances, forget
from supervisor.adapters.survivors import kill_survivors_of_instance
from supervisor.event_log import EventLog
from worker.ipc import channel
from worker.ipc.channel import LeaseReclaimedReport, ReclaimLeaseRequest
from worker.queue.connection import AsyncConnection
from worker.queue.dead_leases import ReclaimResult, leases_of, reclaim_lease, reclaim_orphaned_lease

RECHECK_SECONDS = 0.2  # a dead worker's last statement may still commit after the first attempt
BUSY_ROW_SECONDS = 0.1
DEAD_INSTANCES_SECONDS = 2.0

OnReclaimed = Callable[[ReclaimResult], None]


class LeaseReclaimer:
    """Requests on their way: new ones, those to check a second time, and reports that the supervisor has not taken yet.

    A request leaves its queue only after its statement was answered. If this process dies, the supervisor repeats its
    requests to the next monitor.
    """

    def __init__(self, channel_fd: int, directory: Path, database: str, max_crashes: int, event_log: EventLog) -> None:
        self._channel_fd, self._directory, self._database = channel_fd, directory, database
        self._max_crashes, self._event_log = max_crashes, event_log
        self._new: deque[ReclaimLeaseRequest] = deque()
        self._rechecks: deque[tuple[float, ReclaimLeaseRequest]] = deque()  # due at, oldest first
        self._unsent: deque[LeaseReclaimedReport] = deque()
        self._searched_at_seconds = float("-inf")

    def add(self, request: ReclaimLeaseRequest) -> None:
        self._new.append(request)

    def due_in_seconds(self) -> float:
        """Time until `reclaim` or `reclaim_dead_instances` has work again."""
        if self._new or self._unsent:
            return BUSY_ROW_SECONDS
        return max(0.0, self._rechecks[0][0] - time.monotonic()) if self._rechecks else DEAD_INSTANCES_SECONDS

    async def reclaim(self, connection: AsyncConnection, on_reclaimed: OnReclaimed) -> None:
        """Processes what is due. Stops at the first locked row, because many lock waits would exceed the monitor's deadline."""
        self._send_reports()
        if await self._recheck(connection, on_reclaimed):
            await self._reclaim_new(connection, on_reclaimed)

    async def _recheck(self, connection: AsyncConnection, on_reclaimed: OnReclaimed) -> bool:
        """Second attempts. False if a row is locked: the lease exists by now, so its request counts as new again."""
        while self._rechecks and self._rechecks[0][0] <= time.monotonic():
            request = self._rechecks[0][1]
            result = await self._try_to_reclaim(connection, request)
            self._rechecks.popleft()
            if result is None:
                self._new.append(request)
                return False
            self._report(request, result, on_reclaimed)
        return True

    async def _reclaim_new(self, connection: AsyncConnection, on_reclaimed: OnReclaimed) -> None:
        """First attempts. A request whose row is locked goes to the end, so that it does not block the others."""
        for _ in range(len(self._new)):
            request = self._new[0]
            result = await self._try_to_reclaim(connection, request)
            if result is None:
                self._new.rotate(-1)
                return
            self._new.popleft()
            if result is ReclaimResult.NOT_FOUND:
                self._rechecks.append((time.monotonic() + RECHECK_SECONDS, request))
            else:
                self._report(request, result, on_reclaimed)

    async def _try_to_reclaim(self, connection: AsyncConnection, request: ReclaimLeaseRequest) -> ReclaimResult | None:
        """None if the job's row is locked."""
        limit = self._max_crashes if request.is_counted else None
        try:
            return await reclaim_lease(connection, request.job_id, request.lease_key, max_crashes=limit)
        except LockNotAvailable:
            return None

    def _report(self, request: ReclaimLeaseRequest, result: ReclaimResult, on_reclaimed: OnReclaimed) -> None:
        self._unsent.append(LeaseReclaimedReport(lease_key=request.lease_key, outcome=result.value))
        self._send_reports()
        on_reclaimed(result)

    def _send_reports(self) -> None:
        """The supervisor sends each request once to each monitor, so a report that does not fit into the socket is kept."""
        while self._unsent and channel.send(self._channel_fd, self._unsent[0]):
            self._unsent.popleft()

    async def reclaim_dead_instances(self, connection: AsyncConnection, on_reclaimed: OnReclaimed) -> None:
        """Frees the leases of each instance whose lock is free, then forgets the instance."""
        if time.monotonic() < self._searched_at_seconds + DEAD_INSTANCES_SECONDS:
            return
        with dead_instances(self._directory, self._database) as numbers:
            for number in numbers:
                self._kill_survivors(number)
                with suppress(LockNotAvailable):  # a row is locked: the instance is not forgotten, the next search finds it
                    await self._reclaim_instance(connection, number, on_reclaimed)
                    forget(self._directory, number)
        self._searched_at_seconds = time.monotonic()

    def _kill_survivors(self, number: int) -> None:
        """Their database sessions could hold a permit, or a row that is to be reclaimed."""
        for pid in kill_survivors_of_instance(self._directory, number):
            self._event_log.instance_survivor_killed(instance=number, pid=pid)

    async def _reclaim_instance(self, connection: AsyncConnection, number: int, on_reclaimed: OnReclaimed) -> None:
        for job_id, lease_key in await leases_of(connection, number):
            outcome = await reclaim_orphaned_lease(connection, job_id, lease_key)
            self._event_log.dead_instance_lease(instance=number, job=job_id, outcome=outcome.value)
            on_reclaimed(outcome)
