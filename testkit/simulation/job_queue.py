"""The queue according to its contract: leases with keys, fenced writes, checkpoints, counted deaths and quarantine."""

from collections.abc import Callable
from enum import Enum
from uuid import UUID

from testkit.simulation.plan import Trait
from testkit.simulation.violation import Violation

MAX_CRASHES = 2
MAX_EXPIRIES = 5


class Status(Enum):
    QUEUED = "queued"
    LEASED = "leased"
    COMPLETED = "completed"
    QUARANTINED = "quarantined"


class Job:
    __slots__ = ("attempts", "crashes", "expiries", "has_text", "id", "key", "leased_until", "status", "trait")

    def __init__(self, number: int, trait: Trait) -> None:
        self.id, self.trait = UUID(int=number + 1), trait
        self.status, self.key, self.leased_until = Status.QUEUED, UUID(int=0), 0.0
        self.crashes = self.expiries = self.attempts = 0
        self.has_text = False

    @property
    def is_final(self) -> bool:
        return self.status in {Status.COMPLETED, Status.QUARANTINED}


class JobQueue:
    """The jobs. `open` has those that have not ended, oldest first. `on_visible` is called when a job becomes leasable."""

    def __init__(self, on_visible: Callable[[], None]) -> None:
        self.open: list[Job] = []
        self._on_visible = on_visible

    def enter(self, job: Job) -> None:
        self.open.append(job)
        self._on_visible()

    def leased(self) -> list[Job]:
        return [job for job in self.open if job.status is Status.LEASED]

    def has_visible(self, now: float) -> bool:
        return any(_is_visible(job, now) for job in self.open)

    def lease(self, key: UUID, now: float, seconds: float) -> Job | None:
        """Lease the oldest visible job. An expired lease of it is counted in the same statement."""
        for job in self.open:
            if not _is_visible(job, now):
                continue
            job.expiries += job.status is Status.LEASED
            if job.expiries >= MAX_EXPIRIES:
                self._end(job, Status.QUARANTINED)
                return None
            job.status, job.key, job.leased_until = Status.LEASED, key, now + seconds
            job.attempts += 1
            return job
        return None

    def renew(self, job: Job, key: UUID, until: float) -> bool:
        if not _is_held(job, key):
            return False
        job.leased_until = until
        return True

    def checkpoint(self, job: Job, key: UUID) -> bool:
        if not _is_held(job, key):
            return False
        job.has_text = True
        return True

    def complete(self, job: Job, key: UUID) -> bool:
        if not _is_held(job, key):
            return False
        self._end(job, Status.COMPLETED)
        return True

    def release(self, key: UUID, count_as: str = "") -> str:
        """Release the job with this key and return the outcome. `count_as` is crashes, expiries or empty."""
        job = next((job for job in self.open if _is_held(job, key)), None)
        if job is None:
            return "not_found"
        job.crashes += count_as == "crashes"
        job.expiries += count_as == "expiries"
        if job.crashes >= MAX_CRASHES or job.expiries >= MAX_EXPIRIES:
            self._end(job, Status.QUARANTINED)
            return "quarantined"
        job.status = Status.QUEUED
        self._on_visible()
        return "reclaimed"

    def _end(self, job: Job, status: Status) -> None:
        if job.is_final:
            raise Violation("5: no result is written twice", f"job {job.id.int} was {job.status.value}, now {status.value}")
        job.status = status
        self.open.remove(job)


def _is_visible(job: Job, now: float) -> bool:
    return job.status is Status.QUEUED or (job.status is Status.LEASED and job.leased_until <= now)


def _is_held(job: Job, key: UUID) -> bool:
    return job.status is Status.LEASED and job.key == key
