"""Number and age of the jobs at the front of the queue, by the model that they need next."""

from dataclasses import dataclass

from worker.queue.dead_leases import AsyncConnection
from worker.queue.leases import LOOK_AHEAD
from worker.queue.statements import statement

_BACKLOG = statement("backlog")


@dataclass(frozen=True, slots=True)
class StepBacklog:
    """Visible jobs among the first LOOK_AHEAD of the queue, and the age of the oldest one, or 0 without a job."""

    vision_jobs: int = 0
    feedback_jobs: int = 0
    vision_oldest_seconds: float = 0.0
    feedback_oldest_seconds: float = 0.0


async def step_backlog(connection: AsyncConnection) -> StepBacklog:
    row = await (await connection.execute(_BACKLOG, {"bound": LOOK_AHEAD})).fetchone()
    return StepBacklog(**row) if row else StepBacklog()
