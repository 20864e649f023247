"""The monitor's regular queries: is a job waiting, when is the next one due, how many rows are there, and for which model."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import DictRow

from worker.core.refusal import ALL_REFUSED
from worker.ipc.contract import Obstacle
from worker.queue.abilities import ABILITIES_OF_2025, Abilities, ability_values
from worker.queue.connection import AsyncConnection
from worker.queue.leases import LOOK_AHEAD
from worker.queue.sqlstate import sqlstate_in
from worker.queue.statements import statement

COUNT_BOUND = 10_001
CHANNEL = "learning_submissions"
STUCK_BOUND = 100
_POLL, _STATS, _BACKLOG = statement("poll_queue"), statement("queue_stats"), statement("backlog")
_STUCK, _PARKED, _OPEN = statement("stuck_jobs"), statement("parked_jobs"), statement("open_jobs")
_AHEAD = statement("jobs_ahead")
_BESIDES, _LEFT = statement("waiting_besides"), statement("left_queued")


@dataclass(frozen=True, slots=True)
class QueuePoll:
    """`is_waiting`: a job can be leased now. `due_in_seconds`: time until the next one can, infinite if there is none.

    The next one is a delayed job, or a leased one whose lease will expire.
    """

    is_waiting: bool
    due_in_seconds: float


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Rows by status, each counted up to COUNT_BOUND, and the waiting time of the oldest visible job, if there is one."""

    queued: int = 0
    leased: int = 0
    failed: int = 0
    oldest_wait_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class JobsAhead:
    """Queued jobs with a time in the future that no delay explains. The first of them is due in `due_in_seconds`."""

    count: int = 0
    first_job_id: UUID | None = None
    due_in_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StepBacklog:
    """Visible jobs among the first LOOK_AHEAD of the queue, by the model that they need next.

    The age is that of the oldest one, or 0 without a job.
    """

    vision_jobs: int = 0
    feedback_jobs: int = 0
    vision_oldest_seconds: float = 0.0
    feedback_oldest_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftQueued:
    """Jobs among the first COUNT_BOUND of the queue that stay queued, because the instance cannot do them.

    `kind` is a kind of submission, a program file's kind of task, or `other`.
    """

    kind: str
    obstacle: Obstacle
    jobs: int


async def poll_queue(
    connection: AsyncConnection, refused_job_ids: Collection[UUID] = (), abilities: Abilities = ABILITIES_OF_2025
) -> QueuePoll:
    """A refused row is a waiting job, and its payload is not read."""
    values = {"refused_job_ids": list(refused_job_ids), **ability_values(abilities)}
    row = await (await connection.execute(_POLL, values)).fetchone()
    due = row["due_in_seconds"] if row else None
    return QueuePoll(bool(row and row["is_waiting"]), math.inf if due is None else due)


async def is_waiting_besides(connection: AsyncConnection, job_ids: list[UUID], abilities: Abilities = ABILITIES_OF_2025) -> bool:
    """Report whether a job other than these can be leased now."""
    row = await (await connection.execute(_BESIDES, {"job_ids": job_ids, **ability_values(abilities)})).fetchone()
    return bool(row and row["is_waiting"])


async def queue_stats(
    connection: AsyncConnection, refused_job_ids: Collection[UUID] = (), abilities: Abilities = ABILITIES_OF_2025
) -> QueueStats:
    """Count the rows. Refused ones count too, and their payloads are not read."""
    values = {"bound": COUNT_BOUND, "refused_job_ids": list(refused_job_ids), **ability_values(abilities)}
    row = await (await connection.execute(_STATS, values)).fetchone()
    return QueueStats(**row) if row else QueueStats()


async def left_queued(
    connection: AsyncConnection, refused_job_ids: Collection[UUID] = (), abilities: Abilities = ABILITIES_OF_2025
) -> tuple[LeftQueued, ...]:
    """Count the jobs of the queue that the abilities do not reach. The payloads of refused rows are not read."""
    values = {"bound": COUNT_BOUND, "refused_job_ids": list(refused_job_ids), **ability_values(abilities)}
    rows = await (await connection.execute(_LEFT, values)).fetchall()
    return left_in(rows)


def left_in(rows: Iterable[DictRow]) -> tuple[LeftQueued, ...]:
    """Return the rows of left_queued.sql, the most jobs first."""
    found = (LeftQueued(row["kind"], Obstacle(row["obstacle"]), row["jobs"]) for row in rows)
    return tuple(sorted(found, key=lambda each: (-each.jobs, each.kind, each.obstacle)))


async def step_backlog(
    connection: AsyncConnection, refused_job_ids: Collection[UUID] = (), abilities: Abilities = ABILITIES_OF_2025
) -> StepBacklog:
    """Count without the rows that the database refused: no worker can take them."""
    values = {"bound": LOOK_AHEAD, "refused_job_ids": list(refused_job_ids), **ability_values(abilities)}
    row = await (await connection.execute(_BACKLOG, values)).fetchone()
    return StepBacklog(**row) if row else StepBacklog()


async def stuck_jobs(connection: AsyncConnection) -> dict[UUID, str]:
    """Return rows that no worker can ever take, with their fault, at most STUCK_BOUND of each kind."""
    rows = await (await connection.execute(_STUCK, {"bound": STUCK_BOUND})).fetchall()
    return {row["id"]: row["fault"] for row in rows}


async def jobs_ahead(connection: AsyncConnection) -> JobsAhead:
    """Return the jobs that wait because the clock of the database was ahead when they were written, at most STUCK_BOUND."""
    rows = await (await connection.execute(_AHEAD, {"bound": STUCK_BOUND})).fetchall()
    return JobsAhead(len(rows), rows[0]["id"], rows[0]["due_in_seconds"]) if rows else JobsAhead()


async def parked_jobs(connection: AsyncConnection) -> dict[UUID, str]:
    """Return the jobs of all instances that were put aside, with the SQLSTATE that is the reason."""
    rows = await (await connection.execute(_PARKED)).fetchall()
    found = {row["id"]: sqlstate_in(row["error_code"].removesuffix(ALL_REFUSED)) for row in rows}
    return {job_id: sqlstate for job_id, sqlstate in found.items() if sqlstate}


async def open_jobs(connection: AsyncConnection, job_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the jobs that are neither finished nor failed."""
    rows = await (await connection.execute(_OPEN, {"job_ids": list(job_ids)})).fetchall()
    return {row["id"] for row in rows}


async def listen(connection: AsyncConnection) -> None:
    await connection.execute(f"listen {CHANNEL}")
