"""How the fleet looks after a fact: which stage may follow which, what counts as a crash, and what becomes of leases."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from supervisor.core.action import ReturnLease
from supervisor.core.decide import decide
from supervisor.core.fact import (
    Exited,
    Fact,
    Killed,
    LeaseReturned,
    LeaseSent,
    Promised,
    Spawned,
    SpawnFailed,
    StopAsked,
    Terminated,
)
from supervisor.core.fleet import MONITOR, DeadLease, Fleet, Run, Slot, Stage, Why
from supervisor.core.policy import Policy
from supervisor.core.record import MAX_RUNS, ImpossibleFact, record

PID = 100
JOB, KEY, OTHER_KEY = UUID(int=1), UUID(int=2), UUID(int=3)

FACTS: dict[type[Fact], Callable[[int], Fact]] = {
    Spawned: lambda slot: Spawned(slot, PID, 7, 50.0),
    SpawnFailed: lambda slot: SpawnFailed(slot, 11, 50.0),
    Promised: lambda slot: Promised(slot, 90.0, 50.0),
    Terminated: lambda slot: Terminated(slot, Why.DRAIN, 60.0, 50.0),
    Killed: lambda slot: Killed(slot, Why.DRAIN_EXPIRED, 50.0),
    Exited: lambda slot: Exited(slot, PID, 0, 50.0),
}
FOLLOWS: dict[tuple[Stage, type[Fact]], Stage] = {
    (Stage.VACANT, Spawned): Stage.STARTING,
    (Stage.VACANT, SpawnFailed): Stage.VACANT,
    (Stage.STARTING, Promised): Stage.RUNNING,
    (Stage.STARTING, Terminated): Stage.STOPPING,
    (Stage.STARTING, Killed): Stage.KILLED,
    (Stage.STARTING, Exited): Stage.VACANT,
    (Stage.RUNNING, Promised): Stage.RUNNING,
    (Stage.RUNNING, Terminated): Stage.STOPPING,
    (Stage.RUNNING, Killed): Stage.KILLED,
    (Stage.RUNNING, Exited): Stage.VACANT,
    (Stage.STOPPING, Promised): Stage.STOPPING,
    (Stage.STOPPING, Killed): Stage.KILLED,
    (Stage.STOPPING, Exited): Stage.VACANT,
    (Stage.KILLED, Promised): Stage.KILLED,
    (Stage.KILLED, Exited): Stage.VACANT,
}
CELLS = [
    pytest.param(number, stage, kind, id=f"{place}-{stage.name}-{kind.__name__}")
    for (place, number), stage, kind in itertools.product((("worker", 0), ("monitor", MONITOR)), Stage, FACTS)
]


def in_stage(stage: Stage, number: int = 0, *, stop_why: Why | None = None) -> Fleet:
    """Two workers and a monitor; one of them in this stage since second 20, started at second 10."""
    pid = PID if stage is not Stage.VACANT else 0
    slot = Slot(number, stage, 20.0, pid, 7, 10.0, stop_by_seconds=60.0, stop_why=stop_why, starts=1)
    return Fleet.of(2).with_slot(slot)


@pytest.mark.parametrize(("number", "stage", "kind"), CELLS)
def test_stage_and_fact(number: int, stage: Stage, kind: type[Fact]) -> None:
    """Each cell of stage and fact is either the one stage that follows, or refused as impossible (invariant 10)."""
    before, fact = in_stage(stage, number), FACTS[kind](number)
    if (stage, kind) in FOLLOWS:
        assert record(before, fact).slot(number).stage is FOLLOWS[stage, kind]
    else:
        with pytest.raises(ImpossibleFact, match=f"{kind.__name__} for slot {number} in stage {stage.name}"):
            record(before, fact)


@pytest.mark.parametrize(("stage", "kind"), FOLLOWS)
def test_a_fact_about_one_slot_leaves_the_others(stage: Stage, kind: type[Fact]) -> None:
    """What happens to one slot changes neither its neighbour nor the monitor."""
    before = in_stage(stage)
    assert record(before, FACTS[kind](0)).slots[1:] == before.slots[1:]


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize(
    "fact", [StopAsked(50.0), LeaseSent(KEY, 7), LeaseReturned(KEY, "released")], ids=lambda f: type(f).__name__
)
def test_a_fact_about_the_fleet_leaves_every_slot(stage: Stage, fact: Fact) -> None:
    """Requests to stop and news of leases come in any stage and move none."""
    before = in_stage(stage)
    assert record(before, fact).slots == before.slots


def test_a_foreign_pid_is_impossible() -> None:
    """The exit of a process that the slot does not hold is a bug of the supervisor."""
    with pytest.raises(ImpossibleFact, match=f"pid 99 exited, but slot 0 holds {PID}"):
        record(in_stage(Stage.RUNNING), Exited(0, 99, 0, 50.0))


def test_one_life() -> None:
    """From spawn to reap the slot keeps what the rules go by, and a new life starts without the old one's promises."""
    fleet = record(Fleet.of(1), Spawned(0, PID, 7, 10.0))
    assert fleet.slot(0) == Slot(0, Stage.STARTING, 10.0, PID, 7, 10.0, starts=1)
    fleet = record(fleet, Promised(0, 40.0, 12.0))
    assert (fleet.slot(0).since_seconds, fleet.slot(0).deadline_seconds) == (12.0, 40.0)
    fleet = record(fleet, Promised(0, 70.0, 30.0))
    assert (fleet.slot(0).since_seconds, fleet.slot(0).deadline_seconds) == (12.0, 70.0)
    fleet = record(fleet, Terminated(0, Why.BROKEN_PROMISE, 76.0, 71.0))
    assert (fleet.slot(0).since_seconds, fleet.slot(0).stop_by_seconds) == (71.0, 76.0)
    fleet = record(fleet, Killed(0, Why.GRACE_EXPIRED, 76.0))
    assert fleet.slot(0).stop_why is Why.BROKEN_PROMISE
    fleet = record(fleet, Exited(0, PID, -9, 77.0))
    assert (fleet.slot(0).pid, fleet.slot(0).last_status, fleet.slot(0).crash_runs) == (0, -9, (Run(77.0, 67.0),))
    fleet = record(fleet, Spawned(0, 101, 8, 80.0))
    again = fleet.slot(0)
    assert (again.deadline_seconds, again.stop_why, again.starts, again.crashes) == (None, None, 2, 1)


DEATHS: dict[str, tuple[Stage, Why | None, int, bool]] = {
    "exit 0 that nobody asked for": (Stage.RUNNING, None, 0, True),
    "bug": (Stage.RUNNING, None, 70, True),
    "signal from outside": (Stage.RUNNING, None, -9, True),
    "failure in the boot": (Stage.STARTING, None, 1, True),
    "broken promise that gave in": (Stage.STOPPING, Why.BROKEN_PROMISE, 0, True),
    "broken promise that was killed": (Stage.KILLED, Why.BROKEN_PROMISE, -9, True),
    "slow boot that was killed": (Stage.KILLED, Why.BOOT_TOO_SLOW, -9, True),
    "drained": (Stage.STOPPING, Why.DRAIN, 0, False),
    "drained until it was killed": (Stage.KILLED, Why.DRAIN, -9, False),
    "killed at the drain's end": (Stage.KILLED, Why.DRAIN_EXPIRED, -9, False),
    "killed at once": (Stage.KILLED, Why.STOP_NOW, -9, False),
    "last out": (Stage.STOPPING, Why.LAST_OUT, 0, False),
    "segfault in the drain": (Stage.STOPPING, Why.DRAIN, -11, True),
    "bug in the drain": (Stage.STOPPING, Why.DRAIN, 70, True),
}


@pytest.mark.parametrize(("stage", "stop_why", "status", "is_crash"), DEATHS.values(), ids=DEATHS.keys())
def test_what_is_a_crash(stage: Stage, stop_why: Why | None, status: int, *, is_crash: bool) -> None:
    """A death that nobody asked for counts against the slot and against the job; one that was asked for against neither."""
    fleet = record(in_stage(stage, stop_why=stop_why), Exited(0, PID, status, 50.0, JOB, KEY))
    slot = fleet.slot(0)
    assert (slot.crashes, slot.crash_runs) == ((1, (Run(50.0, 40.0),)) if is_crash else (0, ()))
    assert fleet.dead_leases == (DeadLease(0, JOB, KEY, is_counted=is_crash),)


KILLS: dict[str, tuple[int, Why, bool]] = {
    "worker at the drain's end": (0, Why.DRAIN_EXPIRED, True),
    "worker at once": (0, Why.STOP_NOW, True),
    "worker after its grace": (0, Why.GRACE_EXPIRED, False),
    "monitor": (MONITOR, Why.DRAIN_EXPIRED, False),
}


@pytest.mark.parametrize(("number", "why", "was_cut_short"), KILLS.values(), ids=KILLS.keys())
def test_what_cuts_a_stop_short(number: int, why: Why, *, was_cut_short: bool) -> None:
    """Only a worker that the stop itself killed makes the supervisor's exit code say so, and it stays said."""
    fleet = record(in_stage(Stage.STOPPING, number), Killed(number, why, 50.0))
    assert fleet.was_cut_short is was_cut_short
    assert record(fleet, Exited(number, PID, -9, 51.0)).was_cut_short is was_cut_short


def test_a_first_kill_names_the_reason() -> None:
    """A worker killed without a SIGTERM before is remembered by the reason of its kill."""
    assert record(in_stage(Stage.RUNNING), Killed(0, Why.STOP_NOW, 50.0)).slot(0).stop_why is Why.STOP_NOW


def test_a_failed_fork_waits_like_a_crash() -> None:
    """A fork that failed lengthens the wait, but is neither a start nor a crash of the slot."""
    slot = record(in_stage(Stage.VACANT), SpawnFailed(0, 11, 50.0)).slot(0)
    assert (slot.starts, slot.crashes, slot.crash_runs) == (1, 0, (Run(50.0, 0.0),))


def test_an_end_that_was_asked_for_ends_the_row() -> None:
    """After a drained life the slot owes no wait for the crashes before it."""
    fleet = in_stage(Stage.STOPPING, stop_why=Why.DRAIN)
    fleet = fleet.with_slot(replace(fleet.slot(0), ends_by_cause=(0, 0, 3, 0, 0, 0, 0, 0), crash_runs=(Run(1.0, 0.0),) * 3))
    slot = record(fleet, Exited(0, PID, 0, 50.0)).slot(0)
    assert (slot.crashes, slot.crash_runs) == (3, ())


def test_the_memory_of_crashes_is_bounded() -> None:
    """However long a crash loop lasts, the slot remembers the latest lives and counts them all."""
    fleet = Fleet.of(1)
    for life in range(3 * MAX_RUNS):
        fleet = record(record(fleet, Spawned(0, PID, life, life)), Exited(0, PID, 1, life + 0.5))
    slot = fleet.slot(0)
    assert (slot.crashes, len(slot.crash_runs)) == (3 * MAX_RUNS, MAX_RUNS)
    assert slot.crash_runs[-1] == Run(3 * MAX_RUNS - 0.5, 0.5)


REFUSALS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "before any request to stop": ((), (50.0,)),
    "in a stop": ((30.0,), (30.0,)),
    "in a shortened stop": ((30.0, 31.0), (30.0, 31.0)),
}


@pytest.mark.parametrize("number", [0, MONITOR], ids=["worker", "monitor"])
@pytest.mark.parametrize(("asked", "expected"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_refused_configuration_stops_the_fleet(number: int, asked: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """Status 78 is a request to stop with an exit code of its own, and moves no drain that has begun."""
    before = replace(in_stage(Stage.STARTING, number), stop_asked_at_seconds=asked)
    after = record(before, Exited(number, PID, 78, 50.0))
    assert (after.is_refused, after.stop_asked_at_seconds) == (True, expected)


def test_another_status_stops_nothing() -> None:
    """No other exit of a child is a request to stop."""
    for status in (0, 1, 70, 71, 75, -9, -15):
        after = record(in_stage(Stage.RUNNING), Exited(0, PID, status, 50.0))
        assert (after.is_refused, after.is_stopping) == (False, False), status


def test_no_lease_no_debt() -> None:
    """A worker that died without a lease leaves nothing to return."""
    assert record(in_stage(Stage.RUNNING), Exited(0, PID, -9, 50.0)).dead_leases == ()


def test_a_lease_without_a_job_is_a_debt() -> None:
    """A worker that died between naming its key and learning its job leaves the key alone."""
    after = record(in_stage(Stage.RUNNING), Exited(0, PID, -9, 50.0, None, KEY))
    assert after.dead_leases == (DeadLease(0, None, KEY, is_counted=True),)


def asked_for(fleet: Fleet) -> list[UUID]:
    """Which keys the monitor is asked for now."""
    return [action.lease_key for action in decide(fleet, Policy(), 100.0) if isinstance(action, ReturnLease)]


def test_dead_leases_are_kept_until_returned() -> None:
    """A lease is asked for once, survives the monitor that was asked, is asked for again of the next, and goes when returned."""
    fleet = replace(
        in_stage(Stage.RUNNING, MONITOR), dead_leases=(DeadLease(0, JOB, KEY, True), DeadLease(1, None, OTHER_KEY, True))
    )
    assert asked_for(fleet) == [KEY, OTHER_KEY]
    fleet = record(fleet, LeaseSent(KEY, 7))
    assert asked_for(fleet) == [OTHER_KEY]
    fleet = record(fleet, Exited(MONITOR, PID, -9, 51.0))
    assert asked_for(fleet) == []
    fleet = record(record(fleet, Spawned(MONITOR, 101, 8, 52.0)), Promised(MONITOR, math.inf, 53.0))
    assert asked_for(fleet) == [KEY, OTHER_KEY]
    fleet = record(fleet, LeaseReturned(KEY, "released"))
    assert fleet.dead_leases == (DeadLease(1, None, OTHER_KEY, True),)


def test_news_of_an_unknown_lease_changes_nothing() -> None:
    """A second answer for a lease that is returned already comes late, not wrong."""
    fleet = replace(in_stage(Stage.RUNNING), dead_leases=(DeadLease(0, JOB, KEY, True),))
    assert record(record(fleet, LeaseReturned(OTHER_KEY, "not found")), LeaseSent(OTHER_KEY, 7)) == fleet
