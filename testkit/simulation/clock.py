"""A simulated clock that jumps to the next event."""

import heapq
from collections.abc import Callable


class Clock:
    """A queue of events by time. Events of the same time run in the order in which they were planned."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._planned = 0

    def at(self, time: float, do: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._events, (time, self._planned, do))

    @property
    def next_time(self) -> float:
        return self._events[0][0] if self._events else float("inf")

    def run_next(self) -> None:
        self.now, _, do = heapq.heappop(self._events)
        do()
