"""What is to be done when, in seconds since the beginning."""

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

Act = Callable[[], None]


@dataclass(slots=True)
class Scheduler:
    """Two acts of the same time are done in the order in which they were put down."""

    began_at_seconds: float = field(default_factory=time.monotonic)
    _acts: list[tuple[float, int, Act]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=count)

    @property
    def now(self) -> float:
        return time.monotonic() - self.began_at_seconds

    def at(self, seconds: float, act: Act) -> None:
        heapq.heappush(self._acts, (seconds, next(self._numbers), act))

    def after(self, seconds: float, act: Act) -> None:
        self.at(self.now + seconds, act)

    def do_due(self) -> None:
        while self._acts and self._acts[0][0] <= self.now:
            heapq.heappop(self._acts)[2]()

    def do_all(self) -> None:
        """What is still put down, at once and in its order; not what an act puts down meanwhile."""
        acts, self._acts = sorted(self._acts, key=lambda each: each[:2]), []
        for _, _, act in acts:
            act()
