"""Samples of a worker's memory: periodically, at once after a job, and never without a process."""

import os
import resource
from dataclasses import replace

import pytest

from supervisor.adapters.memory import BUSY_EVERY_SECONDS, IDLE_EVERY_SECONDS, MemoryWatch
from supervisor.core.fleet import MONITOR, Fleet, Slot, SlotState

NOW = 1000.0
OURSELVES = Slot(0, SlotState.RUNNING, pid=os.getpid(), baseline_bytes=1)


def fleet(slot: Slot) -> Fleet:
    return Fleet((slot,), Slot(MONITOR), 1)


def measured(watch: MemoryWatch, slot: Slot, at_seconds: float, at_once: tuple[int, ...] = ()) -> list[int]:
    return [fact.slot for fact in watch.measured(fleet(slot), at_seconds, at_once)]


@pytest.mark.parametrize(("is_busy", "every_seconds"), [(True, BUSY_EVERY_SECONDS), (False, IDLE_EVERY_SECONDS)])
def test_each_worker_has_its_period(*, is_busy: bool, every_seconds: float) -> None:
    """A worker with a job is sampled ten times as often as one without."""
    watch, slot = MemoryWatch(), replace(OURSELVES, is_busy=is_busy)
    assert measured(watch, slot, NOW) == [0]
    assert measured(watch, slot, NOW + every_seconds - 0.01) == []
    assert measured(watch, slot, NOW + every_seconds) == [0]


def test_a_worker_is_sampled_at_once_after_a_job() -> None:
    """The last sample may contain memory that the job has freed."""
    watch = MemoryWatch()
    assert measured(watch, OURSELVES, NOW) == [0]
    assert measured(watch, OURSELVES, NOW + 0.01, at_once=(0,)) == [0]


def test_a_worker_without_a_baseline_gets_one() -> None:
    """The first sample after the boot is a fact even if it equals the last one of the boot."""
    watch = MemoryWatch()
    (fact,) = watch.measured(fleet(OURSELVES), NOW)
    at_boot = replace(OURSELVES, rss_bytes=fact.rss_bytes, baseline_bytes=None)
    assert measured(watch, at_boot, NOW + IDLE_EVERY_SECONDS) == [0]


@pytest.mark.parametrize("slot", [replace(OURSELVES, pid=2**22 + 1), replace(OURSELVES, state=SlotState.KILLED), Slot(0)])
def test_without_a_process_there_is_no_sample(slot: Slot) -> None:
    """A vanished process, a killed one and a vacant slot have no size, without an error."""
    assert measured(MemoryWatch(), slot, NOW) == []


def test_without_a_free_descriptor_there_is_no_sample() -> None:
    """On a host without free file descriptors a sample is skipped, and the supervisor goes on."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        found = measured(MemoryWatch(), OURSELVES, NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found == []
