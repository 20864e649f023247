"""Giving back the leases of the dead: of our own workers when the supervisor asks, of whole instances when their lock is free."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from psycopg.errors import LockNotAvailable

from supervisor.adapters.instance import dead_instances, forget
from supervisor.event_log import EventLog
from worker.ipc import channel
from worker.queue.dead_leases import AsyncConnection, ReclaimResult, leases_of, reclaim_lease, reclaim_orphaned_lease

SECOND_LOOK_SECONDS = 0.2  # a dead worker's last statement may still commit after the first look
BUSY_ROW_SECONDS = 0.1
SWEEP_SECONDS = 2.0


class LeaseReclaimer:
    """What is still to be given back. Nothing is lost with this process: the supervisor asks its successor again."""

    def __init__(self, channel_fd: int, directory: Path, database: str, max_crashes: int, journal: EventLog) -> None:
        self._channel_fd, self._directory, self._database = channel_fd, directory, database
        self._max_crashes, self._journal = max_crashes, journal
        self._asked: deque[channel.ReclaimLeaseRequest] = deque()
        self._second_looks: deque[tuple[float, channel.ReclaimLeaseRequest]] = deque()
        self._untold: deque[channel.LeaseReclaimedReport] = deque()
        self._swept_at_seconds = float("-inf")

    def take(self, request: channel.ReclaimLeaseRequest) -> None:
        """What the supervisor asks for."""
        self._asked.append(request)

    def due_in_seconds(self) -> float:
        """When there is something to do again."""
        if self._asked or self._untold:
            return BUSY_ROW_SECONDS
        return max(0.0, self._second_looks[0][0] - time.monotonic()) if self._second_looks else SWEEP_SECONDS

    async def give_back(self, connection: AsyncConnection, on_returned: Callable[[ReclaimResult], None]) -> None:
        """Everything that is due, until somebody sits on a row: who waited for each of many would break the monitor's deadline.

        A request leaves its queue only after its statement was answered.
        """
        self._tell()
        with suppress(LockNotAvailable):
            await self._look_twice(connection, on_returned)  # first: what is locked there is asked for like the others
            await self._look_once(connection, on_returned)

    async def _look_once(self, connection: AsyncConnection, on_returned: Callable[[ReclaimResult], None]) -> None:
        for _ in range(len(self._asked)):
            request = self._asked[0]
            try:
                outcome = await self._return(connection, request)
            except LockNotAvailable:  # the others first
                self._asked.rotate(-1)
                raise
            self._asked.popleft()
            if outcome is ReclaimResult.NOT_FOUND:
                self._second_looks.append((time.monotonic() + SECOND_LOOK_SECONDS, request))
            else:
                self._report(request, outcome, on_returned)

    async def _look_twice(self, connection: AsyncConnection, on_returned: Callable[[ReclaimResult], None]) -> None:
        while self._second_looks and self._second_looks[0][0] <= time.monotonic():
            request = self._second_looks[0][1]
            try:
                outcome = await self._return(connection, request)
            except LockNotAvailable:  # it is there by now
                self._asked.append(self._second_looks.popleft()[1])
                raise
            self._second_looks.popleft()
            self._report(request, outcome, on_returned)

    async def sweep(self, connection: AsyncConnection, on_returned: Callable[[ReclaimResult], None]) -> None:
        """Frees the leases of instances whose lock can be taken, and forgets them when that is done."""
        if time.monotonic() < self._swept_at_seconds + SWEEP_SECONDS:
            return
        with dead_instances(self._directory, self._database) as numbers:
            for number in numbers:
                with suppress(LockNotAvailable):  # somebody sits on one of its rows: it is not forgotten, the next sweep comes by
                    await self._free_all_of(connection, number, on_returned)
                    forget(self._directory, number)
        self._swept_at_seconds = time.monotonic()

    async def _free_all_of(self, connection: AsyncConnection, number: int, on_returned: Callable[[ReclaimResult], None]) -> None:
        for job_id, lease_key in await leases_of(connection, number):
            outcome = await reclaim_orphaned_lease(connection, job_id, lease_key)
            self._journal.monitor("WARNING", "dead_instance_lease", instance=f"{number:08x}", job=job_id, outcome=outcome.value)
            on_returned(outcome)

    async def _return(self, connection: AsyncConnection, request: channel.ReclaimLeaseRequest) -> ReclaimResult:
        limit = self._max_crashes if request.is_counted else None
        return await reclaim_lease(connection, request.job_id, request.lease_key, max_crashes=limit)

    def _report(
        self, request: channel.ReclaimLeaseRequest, outcome: ReclaimResult, on_returned: Callable[[ReclaimResult], None]
    ) -> None:
        self._untold.append(channel.LeaseReclaimedReport(lease_key=request.lease_key, outcome=outcome.value))
        self._tell()
        on_returned(outcome)

    def _tell(self) -> None:
        """The supervisor asks each monitor once, so what it could not take it is told again."""
        while self._untold and channel.send(self._channel_fd, self._untold[0]):
            self._untold.popleft()
