"""When a worker's memory is looked at: in its rhythm, at once after a job, and never where there is nobody."""

import os
import resource
from dataclasses import replace

import pytest

from supervisor.adapters.memory import BUSY_EVERY_SECONDS, IDLE_EVERY_SECONDS, MemoryWatch
from supervisor.core.fleet import MONITOR, Fleet, Slot, SlotState

NOW = 1000.0
OURSELVES = Slot(0, SlotState.RUNNING, pid=os.getpid(), baseline_bytes=1)


def fleet(slot: Slot) -> Fleet:
    return Fleet((slot, Slot(MONITOR)), 1)


def measured(watch: MemoryWatch, slot: Slot, at_seconds: float, at_once: tuple[int, ...] = ()) -> list[int]:
    return [fact.slot for fact in watch.measured(fleet(slot), at_seconds, at_once)]


@pytest.mark.parametrize(("is_busy", "every_seconds"), [(True, BUSY_EVERY_SECONDS), (False, IDLE_EVERY_SECONDS)])
def test_each_has_its_rhythm(*, is_busy: bool, every_seconds: float) -> None:
    """A worker in a job is looked at ten times as often as one without."""
    watch, slot = MemoryWatch(), replace(OURSELVES, is_busy=is_busy)
    assert measured(watch, slot, NOW) == [0]
    assert measured(watch, slot, NOW + every_seconds - 0.01) == []
    assert measured(watch, slot, NOW + every_seconds) == [0]


def test_who_has_put_a_job_down_is_looked_at_at_once() -> None:
    """The last look may have seen what the job has given back."""
    watch = MemoryWatch()
    assert measured(watch, OURSELVES, NOW) == [0]
    assert measured(watch, OURSELVES, NOW + 0.01, at_once=(0,)) == [0]


def test_a_worker_without_a_baseline_gets_one() -> None:
    """Its size is told after the boot even where it is the same as in the boot."""
    watch = MemoryWatch()
    (fact,) = watch.measured(fleet(OURSELVES), NOW)
    at_boot = replace(OURSELVES, rss_bytes=fact.rss_bytes, baseline_bytes=None)
    assert measured(watch, at_boot, NOW + IDLE_EVERY_SECONDS) == [0]


@pytest.mark.parametrize("slot", [replace(OURSELVES, pid=2**22 + 1), replace(OURSELVES, state=SlotState.KILLED), Slot(0)])
def test_where_nobody_is_there_is_nothing(slot: Slot) -> None:
    """A process that has vanished, one that was killed and an empty slot have no size, and that is no error."""
    assert measured(MemoryWatch(), slot, NOW) == []


def test_without_a_descriptor_to_look_with_there_is_nothing() -> None:
    """A host that is out of open files costs a look, and not the supervisor."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        found = measured(MemoryWatch(), OURSELVES, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == []
