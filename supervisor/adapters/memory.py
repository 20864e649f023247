"""Samples of each worker's resident set. A sample takes 0.01 ms and never waits."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import psutil

from supervisor.core.facts import Measured
from supervisor.core.fleet import Fleet, Slot, SlotState

# Just below the loop's ticks (Policy.busy_tick_seconds, tick_seconds), so that a sample is due at every tick.
BUSY_EVERY_SECONDS, IDLE_EVERY_SECONDS = 0.09, 0.9


@dataclass(slots=True)
class _Watched:
    process: psutil.Process
    measured_at_seconds: float = float("-inf")


class MemoryWatch:
    """Samples children that are not reaped yet, so that their pids are not reused. One that cannot be sampled has no size."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}

    def measured(self, fleet: Fleet, now_seconds: float, at_once: Collection[int] = ()) -> Iterator[Measured]:
        """Yield samples that are due and differ from the last one. The first after the boot is always yielded, as the baseline.

        Slots in `at_once` are due in any case: they have just ended a job, and their last sample is of that job.
        """
        slots = [slot for slot in fleet.workers if slot.is_occupied and slot.state is not SlotState.KILLED]
        self._watched = {slot.pid: self._watched[slot.pid] for slot in slots if slot.pid in self._watched}
        for slot in slots:
            rss_bytes = self._sample(slot, now_seconds, is_due=slot.number in at_once)
            is_baseline = slot.baseline_bytes is None and slot.state is not SlotState.STARTING
            if rss_bytes and (is_baseline or rss_bytes != slot.rss_bytes):
                yield Measured(slot.number, rss_bytes, now_seconds)

    def _sample(self, slot: Slot, now_seconds: float, *, is_due: bool) -> int:
        """Return the resident set in bytes, or 0 if no sample is due or the process is gone."""
        try:
            watched = self._watched.get(slot.pid) or self._watch(slot.pid)
            every_seconds = BUSY_EVERY_SECONDS if slot.is_busy else IDLE_EVERY_SECONDS
            if not is_due and now_seconds < watched.measured_at_seconds + every_seconds:
                return 0
            watched.measured_at_seconds = now_seconds
            return int(watched.process.memory_info().rss)
        except (psutil.Error, OSError):  # the process is gone, or no descriptor is free
            return 0

    def _watch(self, pid: int) -> _Watched:
        watched = self._watched[pid] = _Watched(psutil.Process(pid))
        return watched
