"""The monitor's statements that reclaim leases, on its asynchronous kind of connection, for tests that are not asynchronous."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.dead_leases import ReclaimResult, reclaim_lease, reclaim_orphaned_lease


class Monitor:
    """Runs one statement at a time."""

    def __init__(self, runner: asyncio.Runner, connection: AsyncConnection) -> None:
        self._runner, self._connection = runner, connection

    def reclaim_lease(self, job_id: UUID | None, lease_key: UUID, max_crashes: int) -> ReclaimResult:
        return self._runner.run(reclaim_lease(self._connection, job_id, lease_key, max_crashes=max_crashes))

    def reclaim_orphaned_lease(self, job_id: UUID, lease_key: UUID) -> ReclaimResult:
        return self._runner.run(reclaim_orphaned_lease(self._connection, job_id, lease_key))


@contextmanager
def open_monitor(dsn: str) -> Iterator[Monitor]:
    with asyncio.Runner() as runner:
        connection = runner.run(connect_monitor(dsn, "test", pooled="false"))
        yield Monitor(runner, connection)
        runner.run(connection.close())
