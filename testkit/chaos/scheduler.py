"""Call functions at their time, in seconds since the start of the run."""

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

Task = Callable[[], None]


@dataclass(slots=True)
class Scheduler:
    """Two tasks of the same time run in the order in which they were added."""

    began_at_seconds: float = field(default_factory=time.monotonic)
    _tasks: list[tuple[float, int, Task]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def now(self) -> float:
        return time.monotonic() - self.began_at_seconds

    def at(self, seconds: float, task: Task) -> None:
        heapq.heappush(self._tasks, (seconds, next(self._numbers), task))

    def after(self, seconds: float, task: Task) -> None:
        self.at(self.now + seconds, task)

    def run_due(self) -> None:
        while self._tasks and self._tasks[0][0] <= self.now:
            heapq.heappop(self._tasks)[2]()

    def run_all(self) -> None:
        """Run all tasks at once and in order. Tasks that they add are not run."""
        tasks, self._tasks = sorted(self._tasks, key=lambda each: each[:2]), []
        for _, _, task in tasks:
            task()
