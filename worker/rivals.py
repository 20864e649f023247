"""Other jobs of the instance: their results show whether a failing statement is the fault of one row or of its surroundings."""

from collections.abc import Callable
from typing import TypeVar

from worker.ipc.contract import Counter
from worker.ipc.scoreboard import Scoreboard

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
        slots = range(self._scoreboard.control.read().leasing_slots)
        records = filter(None, map(self._scoreboard.worker, slots))
        return sum(record.counters[counter] for record in records for counter in self._counters)
