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
        return _ended(self._scoreboard, self._counters)


class RefusedResults:
    """The results of one worker that were refused in a row: meanwhile no worker of the instance has written one.

    Several in a row show that all rows may be concerned, as by a trigger that a migration has left wrong.
    """

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard
        self._completed = self._in_a_row = 0

    def add(self) -> bool:
        """Count one more. False for the first one, which the row alone may explain."""
        self._in_a_row = self._in_a_row + 1 if self._is_last() else 1
        self._completed = _ended(self._scoreboard, (Counter.COMPLETED,))
        return self._in_a_row > 1

    def _is_last(self) -> bool:
        """Report whether the last result was a refused one."""
        return self._in_a_row > 0 and _ended(self._scoreboard, (Counter.COMPLETED,)) == self._completed


def _ended(scoreboard: Scoreboard, counters: tuple[Counter, ...]) -> int:
    slots = range(scoreboard.control.read().leasing_slots)
    records = filter(None, map(scoreboard.worker, slots))
    return sum(record.counters[counter] for record in records for counter in counters)
