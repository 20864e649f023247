"""Other jobs of the instance: their writes show whether a failing statement is the fault of one row or of its surroundings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from worker.core.refusal import Access
from worker.ipc.contract import Counter
from worker.ipc.scoreboard import Scoreboard

MAX_JOBS = 1000

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Rivals:
    """Counts the jobs that all workers have ended in one way since the statement first failed for this job."""

    def __init__(self, scoreboard: Scoreboard, counters: tuple[Counter, ...]) -> None:
        self._scoreboard, self._counters = scoreboard, counters
        self._at_first_failure: int | None = None
        self._at_try = 0

    def counted(self, request: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
        """The request, with a count before each try: a job that ends during the try may have passed after it."""

        def attempt(asked: Asked) -> Answer:
            if self._at_first_failure is not None:
                self._at_try = self._count()
            return request(asked)

        return attempt

    def has_passed(self) -> bool:
        """After a failed try: true if another job has passed between the first failure and this try."""
        if self._at_first_failure is None:
            self._at_first_failure = self._count()
            return False
        return self._at_try > self._at_first_failure

    def _count(self) -> int:
        return _ended(self._scoreboard, self._counters)


@dataclass(frozen=True, slots=True)
class _Refused:
    """`accepted`: those of this kind that all workers of the instance had at the refusal."""

    access: Access
    accepted: int


class RefusedAccesses:
    """The accesses that were refused to one worker, and those that the instance has had since.

    One refusal convicts no row, because all rows may be concerned, as by a trigger that a migration has left wrong.
    """

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._last: dict[Access, _Refused] = {}
        self._by_job: dict[UUID, _Refused] = {}

    def add(self, access: Access, job_id: UUID) -> None:
        refused = self._last[access] = _Refused(access, self.accepted(access))
        if len(self._by_job) >= MAX_JOBS:
            del self._by_job[next(iter(self._by_job))]
        self._by_job[job_id] = refused

    def is_refused(self, access: Access) -> bool:
        """Report whether the last access of this kind was a refused one."""
        last = self._last.get(access)
        return last is not None and self.accepted(access) == last.accepted

    def has_rival(self, job_id: UUID) -> bool:
        """Report whether the job was refused, and the same kind of access was accepted for another job since."""
        refused = self._by_job.get(job_id)
        return refused is not None and self.accepted(refused.access) > refused.accepted

    def forget(self, job_id: UUID) -> None:
        self._by_job.pop(job_id, None)

    def accepted(self, access: Access) -> int:
        """Count the accesses of this kind that all workers of the instance have had."""
        return _ended(self._scoreboard, (access.value,))


def _ended(scoreboard: Scoreboard, counters: tuple[Counter, ...]) -> int:
    slots = range(scoreboard.control.read().leasing_slots)
    records = filter(None, map(scoreboard.worker, slots))
    return sum(record.counters[counter] for record in records for counter in counters)
