"""How much memory each worker holds now: its resident set, 0.01 ms a sample, never waiting."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import psutil

from supervisor.core.facts import Measured
from supervisor.core.fleet import Fleet, Slot, SlotState

# Just below the loop's ticks (Policy.busy_tick_seconds, tick_seconds), so that every tick finds its samples due at once.
BUSY_EVERY_SECONDS, IDLE_EVERY_SECONDS = 0.09, 0.9


@dataclass(slots=True)
class _Watched:
    process: psutil.Process
    measured_at_seconds: float = float("-inf")


class MemoryWatch:
    """Samples children that are not reaped yet: their pids cannot be anybody else's. Who cannot be looked at has no size."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}

    def measured(self, fleet: Fleet, now_seconds: float, at_once: Collection[int] = ()) -> Iterator[Measured]:
        """What is due and new: a size that is known already is no news, but the first one after the boot is the baseline.

        Slots `at_once` have just put a job down: what they held in it must not be taken for what they hold now.
        """
        slots = [slot for slot in fleet.workers if slot.is_occupied and slot.state is not SlotState.KILLED]
        self._watched = {slot.pid: self._watched[slot.pid] for slot in slots if slot.pid in self._watched}
        for slot in slots:
            rss_bytes = self._sample(slot, now_seconds, is_due=slot.number in at_once)
            is_baseline = slot.baseline_bytes is None and slot.state is not SlotState.STARTING
            if rss_bytes and (is_baseline or rss_bytes != slot.rss_bytes):
                yield Measured(slot.number, rss_bytes, now_seconds)

    def _sample(self, slot: Slot, now_seconds: float, *, is_due: bool) -> int:
        """0: not due, or nobody there."""
        try:
            watched = self._watched.get(slot.pid) or self._watch(slot.pid)
            every_seconds = BUSY_EVERY_SECONDS if slot.is_busy else IDLE_EVERY_SECONDS
            if not is_due and now_seconds < watched.measured_at_seconds + every_seconds:
                return 0
            watched.measured_at_seconds = now_seconds
            return int(watched.process.memory_info().rss)
        except (psutil.Error, OSError):  # nobody there, or no descriptor left to look with
            return 0

    def _watch(self, pid: int) -> _Watched:
        watched = self._watched[pid] = _Watched(psutil.Process(pid))
        return watched
