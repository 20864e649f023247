"""The monitor's looks at the queue: is anything waiting, when is the next job due, and how many rows are there."""

import math
from dataclasses import dataclass

from worker.queue.dead_leases import AsyncConnection
from worker.queue.statements import statement

COUNT_BOUND = 10_001
CHANNEL = "learning_submissions"
_GLANCE, _STATS = statement("poll_queue"), statement("queue_stats")


@dataclass(frozen=True, slots=True)
class QueuePoll:
    """`due_in_seconds` is that of the first delayed or leased job that does not wait yet: above 0, infinite if there is none."""

    is_waiting: bool
    due_in_seconds: float


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Rows by status, counted to COUNT_BOUND; how long the oldest visible job has waited, if there is one."""

    queued: int = 0
    leased: int = 0
    failed: int = 0
    oldest_wait_seconds: float | None = None


async def poll_queue(connection: AsyncConnection) -> QueuePoll:
    row = await (await connection.execute(_GLANCE)).fetchone()
    due = row["due_in_seconds"] if row else None
    return QueuePoll(bool(row and row["is_waiting"]), math.inf if due is None else due)


async def queue_stats(connection: AsyncConnection) -> QueueStats:
    row = await (await connection.execute(_STATS, {"bound": COUNT_BOUND})).fetchone()
    return QueueStats(**row) if row else QueueStats()


async def listen(connection: AsyncConnection) -> None:
    await connection.execute(f"listen {CHANNEL}")
