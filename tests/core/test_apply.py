"""The fleet after a fact: the next state of a slot, the causes of exits, crashes, and the leases of dead workers."""

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from supervisor.core.actions import ReclaimLease
from supervisor.core.apply import MAX_RUNS, SLOT_TRANSITIONS, ImpossibleFact, apply
from supervisor.core.culprits import MAX_SPARED
from supervisor.core.exit_causes import CAUSE_ROWS, CauseRow, row_of
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    GaveUp,
    Killed,
    LeaseReclaimed,
    Measured,
    ReclaimSent,
    RecycleAsked,
    Reloaded,
    ReloadRejected,
    Retired,
    Scaled,
    Spawned,
    SpawnFailed,
    StopAsked,
    Terminated,
)
from supervisor.core.fleet import MONITOR, ActionReason, DeadLease, ExitCause, Fleet, ReloadProblem, Run, Slot, SlotState, crashes
from supervisor.core.policy import Policy
from supervisor.core.rules import decide

PID = 100
JOB, KEY, OTHER_KEY = UUID(int=1), UUID(int=2), UUID(int=3)

FACTS: dict[type[Fact], Callable[[int], Fact]] = {
    Spawned: lambda slot: Spawned(slot, PID, 7, 50.0),
    SpawnFailed: lambda slot: SpawnFailed(slot, 11, 50.0),
    DeadlineSet: lambda slot: DeadlineSet(slot, 90.0, 50.0),
    Measured: lambda slot: Measured(slot, 1000, 50.0),
    Retired: lambda slot: Retired(slot, ActionReason.OPERATOR, 50.0),
    Terminated: lambda slot: Terminated(slot, ActionReason.DRAIN, 60.0, 50.0),
    Killed: lambda slot: Killed(slot, ActionReason.DRAIN_EXPIRED, 50.0),
    Exited: lambda slot: Exited(slot, PID, 0, 50.0),
}
FOLLOWS: dict[tuple[SlotState, type[Fact]], SlotState] = {
    (SlotState.VACANT, Spawned): SlotState.STARTING,
    (SlotState.VACANT, SpawnFailed): SlotState.VACANT,
    (SlotState.STARTING, DeadlineSet): SlotState.RUNNING,
    (SlotState.STARTING, Measured): SlotState.STARTING,
    (SlotState.STARTING, Terminated): SlotState.STOPPING,
    (SlotState.STARTING, Killed): SlotState.KILLED,
    (SlotState.STARTING, Exited): SlotState.VACANT,
    (SlotState.RUNNING, DeadlineSet): SlotState.RUNNING,
    (SlotState.RUNNING, Measured): SlotState.RUNNING,
    (SlotState.RUNNING, Retired): SlotState.RUNNING,
    (SlotState.RUNNING, Terminated): SlotState.STOPPING,
    (SlotState.RUNNING, Killed): SlotState.KILLED,
    (SlotState.RUNNING, Exited): SlotState.VACANT,
    (SlotState.STOPPING, DeadlineSet): SlotState.STOPPING,
    (SlotState.STOPPING, Measured): SlotState.STOPPING,
    (SlotState.STOPPING, Killed): SlotState.KILLED,
    (SlotState.STOPPING, Exited): SlotState.VACANT,
    (SlotState.KILLED, DeadlineSet): SlotState.KILLED,
    (SlotState.KILLED, Measured): SlotState.KILLED,
    (SlotState.KILLED, Exited): SlotState.VACANT,
}
CELLS = [
    pytest.param(number, state, kind, id=f"{place}-{state.name}-{kind.__name__}")
    for (place, number), state, kind in itertools.product((("worker", 0), ("monitor", MONITOR)), SlotState, FACTS)
]


def in_state(state: SlotState, number: int = 0, *, stop_reason: ActionReason | None = None) -> Fleet:
    """Return two workers and a monitor, one of them started at second 10 and in this state since second 20."""
    pid = PID if state is not SlotState.VACANT else 0
    slot = Slot(number, state, 20.0, pid, 7, 10.0, stop_by_seconds=60.0, stop_reason=stop_reason, starts=1)
    return Fleet.of(2).with_slot(slot)


@pytest.mark.parametrize(("number", "state", "kind"), CELLS)
def test_state_and_fact(number: int, state: SlotState, kind: type[Fact]) -> None:
    """For each state and fact there is one next state, or the fact is impossible and refused (invariant 10)."""
    before, fact = in_state(state, number), FACTS[kind](number)
    if (state, kind) in FOLLOWS:
        assert apply(before, fact).slot(number).state is FOLLOWS[state, kind]
    else:
        with pytest.raises(ImpossibleFact, match=f"{kind.__name__} for slot {number} in state {state.name}"):
            apply(before, fact)


def test_the_table_is_complete() -> None:
    """The table of `apply` has the expected cells and no others."""
    assert {(state, kind): after for state, facts in SLOT_TRANSITIONS.items() for kind, after in facts.items()} == FOLLOWS


@pytest.mark.parametrize(("state", "kind"), FOLLOWS)
def test_a_fact_about_one_slot_leaves_the_others(state: SlotState, kind: type[Fact]) -> None:
    """A fact about one slot changes neither its neighbour nor the monitor."""
    before = in_state(state)
    assert apply(before, FACTS[kind](0)).slots[1:] == before.slots[1:]


@pytest.mark.parametrize("state", SlotState)
@pytest.mark.parametrize(
    "fact",
    [
        StopAsked(50.0),
        GaveUp(50.0),
        Scaled(1, 50.0),
        Reloaded(1, 2, 50.0),
        ReloadRejected(1, 50.0),
        ReclaimSent(KEY, 7),
        LeaseReclaimed(KEY, "released"),
    ],
    ids=lambda f: type(f).__name__,
)
def test_a_fact_about_the_fleet_leaves_every_slot(state: SlotState, fact: Fact) -> None:
    """Requests to the fleet and facts about leases are possible in any state, and change no slot."""
    before = in_state(state)
    assert apply(before, fact).slots == before.slots


def test_a_foreign_pid_is_impossible() -> None:
    """The exit of a process that the slot does not hold is a bug of the supervisor."""
    with pytest.raises(ImpossibleFact, match=f"pid 99 exited, but slot 0 holds {PID}"):
        apply(in_state(SlotState.RUNNING), Exited(0, 99, 0, 50.0))


def test_a_slot_keeps_what_the_rules_need_until_the_exit() -> None:
    """From spawn to reap the slot keeps the values that the rules need. A new process starts without the old one's deadlines."""
    fleet = apply(Fleet.of(1), Spawned(0, PID, 7, 10.0))
    assert fleet.slot(0) == Slot(0, SlotState.STARTING, 10.0, PID, 7, 10.0, starts=1)
    fleet = apply(fleet, DeadlineSet(0, 40.0, 12.0))
    assert (fleet.slot(0).since_seconds, fleet.slot(0).deadline_seconds) == (12.0, 40.0)
    fleet = apply(fleet, DeadlineSet(0, 70.0, 30.0))
    assert (fleet.slot(0).since_seconds, fleet.slot(0).deadline_seconds) == (12.0, 70.0)
    fleet = apply(fleet, Terminated(0, ActionReason.DEADLINE_EXCEEDED, 76.0, 71.0))
    assert (fleet.slot(0).since_seconds, fleet.slot(0).stop_by_seconds) == (71.0, 76.0)
    fleet = apply(fleet, Killed(0, ActionReason.GRACE_EXPIRED, 76.0))
    assert fleet.slot(0).since_seconds == 76.0
    fleet = apply(fleet, Exited(0, PID, -9, 77.0))
    assert (fleet.slot(0).pid, fleet.slot(0).last_status, fleet.slot(0).crash_runs) == (0, -9, (Run(77.0, 67.0),))
    fleet = apply(fleet, Spawned(0, 101, 8, 80.0))
    again = fleet.slot(0)
    assert (again.deadline_seconds, again.stop_reason, again.starts, crashes(again.ends_by_cause)) == (None, None, 2, 1)


def dying(state: SlotState, why: ActionReason | None = None, *, retire_reason: ActionReason | None = None) -> Slot:
    return Slot(0, state, 20.0, PID, 7, 10.0, stop_reason=why, retire_reason=retire_reason, starts=1)


def killed(kill_reason: ActionReason, why: ActionReason | None = None, *, retire_reason: ActionReason | None = None) -> Slot:
    return replace(dying(SlotState.KILLED, why, retire_reason=retire_reason), kill_reason=kill_reason)


DEATHS: dict[str, tuple[Slot, int, bool, ExitCause]] = {
    "exit 0 without a request": (dying(SlotState.RUNNING), 0, False, ExitCause.EXIT_CODE),
    "bug": (dying(SlotState.RUNNING), 70, False, ExitCause.EXIT_CODE),
    "signal from outside": (dying(SlotState.RUNNING), -9, False, ExitCause.SIGNAL),
    "out of memory": (dying(SlotState.RUNNING), -9, True, ExitCause.OOM),
    "out of memory in the boot": (dying(SlotState.STARTING), -9, True, ExitCause.OOM),
    "out of memory in the drain": (dying(SlotState.STOPPING, ActionReason.DRAIN), -9, True, ExitCause.OOM),
    "out of memory when it was killed": (killed(ActionReason.OVER_HARD_LIMIT), -9, True, ExitCause.MEMORY),
    "killed beside an oom kill": (killed(ActionReason.DRAIN_EXPIRED, ActionReason.DRAIN), -9, True, ExitCause.OPERATOR),
    "left beside an oom kill": (dying(SlotState.STOPPING, ActionReason.DRAIN), 0, True, ExitCause.ASKED),
    "a bug beside an oom kill": (dying(SlotState.RUNNING), 70, True, ExitCause.EXIT_CODE),
    "failure in the boot": (dying(SlotState.STARTING), 1, False, ExitCause.BOOT),
    "signal in the boot": (dying(SlotState.STARTING), -9, False, ExitCause.BOOT),
    "exceeded deadline that obeyed SIGTERM": (
        dying(SlotState.STOPPING, ActionReason.DEADLINE_EXCEEDED),
        0,
        False,
        ExitCause.HUNG,
    ),
    "exceeded deadline that was killed": (
        killed(ActionReason.GRACE_EXPIRED, ActionReason.DEADLINE_EXCEEDED),
        -9,
        False,
        ExitCause.HUNG,
    ),
    "exceeded deadline in the drain": (
        killed(ActionReason.DEADLINE_EXCEEDED_IN_DRAIN, ActionReason.DRAIN),
        -9,
        False,
        ExitCause.HUNG,
    ),
    "over the hard limit": (killed(ActionReason.OVER_HARD_LIMIT), -9, False, ExitCause.MEMORY),
    "slow boot that obeyed SIGTERM": (dying(SlotState.STOPPING, ActionReason.BOOT_TOO_SLOW), 0, False, ExitCause.BOOT),
    "slow boot that was killed": (killed(ActionReason.BOOT_TOO_SLOW), -9, False, ExitCause.BOOT),
    "drained": (dying(SlotState.STOPPING, ActionReason.DRAIN), 0, False, ExitCause.ASKED),
    "drained until it was killed": (killed(ActionReason.GRACE_EXPIRED, ActionReason.DRAIN), -9, False, ExitCause.OPERATOR),
    "drained as it was killed": (killed(ActionReason.GRACE_EXPIRED, ActionReason.DRAIN), 0, False, ExitCause.ASKED),
    "killed at the drain's end": (killed(ActionReason.DRAIN_EXPIRED), -9, False, ExitCause.OPERATOR),
    "killed at once": (killed(ActionReason.STOP_NOW), -9, False, ExitCause.OPERATOR),
    "monitor at the end": (dying(SlotState.STOPPING, ActionReason.WORKERS_GONE), 0, False, ExitCause.ASKED),
    "outdated monitor": (dying(SlotState.STOPPING, ActionReason.OUTDATED), 0, False, ExitCause.ASKED),
    "segfault in the drain": (dying(SlotState.STOPPING, ActionReason.DRAIN), -11, False, ExitCause.SIGNAL),
    "bug in the drain": (dying(SlotState.STOPPING, ActionReason.DRAIN), 70, False, ExitCause.EXIT_CODE),
    "retired": (dying(SlotState.RUNNING, retire_reason=ActionReason.OUTDATED), 0, False, ExitCause.ASKED),
    "bug while retiring": (dying(SlotState.RUNNING, retire_reason=ActionReason.OUTDATED), 70, False, ExitCause.EXIT_CODE),
    "signal while retiring": (dying(SlotState.RUNNING, retire_reason=ActionReason.OUTDATED), -9, False, ExitCause.SIGNAL),
    "hung while retiring": (
        dying(SlotState.STOPPING, ActionReason.DEADLINE_EXCEEDED, retire_reason=ActionReason.OUTDATED),
        0,
        False,
        ExitCause.HUNG,
    ),
    "drained while retiring": (
        dying(SlotState.STOPPING, ActionReason.DRAIN, retire_reason=ActionReason.OUTDATED),
        0,
        False,
        ExitCause.ASKED,
    ),
    "retired as it was killed": (
        killed(ActionReason.OVER_HARD_LIMIT, retire_reason=ActionReason.OUTDATED),
        0,
        False,
        ExitCause.ASKED,
    ),
    "retired until it was killed": (
        killed(ActionReason.OVER_HARD_LIMIT, retire_reason=ActionReason.OUTDATED),
        -9,
        False,
        ExitCause.MEMORY,
    ),
    "exit 0 as it was killed": (killed(ActionReason.OVER_HARD_LIMIT), 0, False, ExitCause.MEMORY),
}


@pytest.mark.parametrize(("slot", "status", "is_oom", "cause"), DEATHS.values(), ids=DEATHS.keys())
def test_each_end_has_one_cause(slot: Slot, status: int, is_oom: bool, cause: ExitCause) -> None:
    """Each exit has one cause. A crash counts against the slot and the job, and a requested exit against neither."""
    before = Fleet.of(2).with_slot(slot)
    fleet = apply(before, Exited(0, PID, status, 50.0, JOB, KEY, is_oom=is_oom, jitter=0.25))
    ended = fleet.slot(0)
    assert (ended.last_cause, ended.last_status) == (cause, status)
    assert ended.ends_by_cause == tuple(int(each is cause) for each in ExitCause)
    is_crash = cause not in {ExitCause.ASKED, ExitCause.OPERATOR}
    assert (crashes(ended.ends_by_cause), ended.crash_runs) == ((1, (Run(50.0, 40.0, 0.25),)) if is_crash else (0, ()))
    assert fleet.dead_leases == (DeadLease(0, JOB, KEY, is_counted=is_crash),)
    assert fleet.crashes_since_progress == int(is_crash)


HUNG = replace(in_state(SlotState.STOPPING).slot(0), stop_reason=ActionReason.DEADLINE_EXCEEDED)


def left_by(slot: Slot, job_id: UUID = JOB, *, is_before_call: bool, fleet: Fleet | None = None) -> Fleet:
    """A fleet after the death of the worker in this slot, by a SIGKILL."""
    before = fleet or Fleet.of(2)
    return apply(before.with_slot(slot), Exited(0, PID, -9, 50.0, job_id, KEY, is_before_call=is_before_call))


def counted(fleet: Fleet) -> list[bool]:
    return [dead.is_counted for dead in fleet.dead_leases]


def test_a_hang_before_a_model_was_asked_is_not_the_job_s_fault() -> None:
    """A dead mount or a name server hangs the worker with any job, as often as it is tried. A hang in a call counts."""
    fleet = left_by(HUNG, is_before_call=True)
    again = left_by(HUNG, is_before_call=True, fleet=fleet)
    assert (counted(fleet), counted(again), counted(left_by(HUNG, is_before_call=False))) == ([False], [False, False], [True])
    assert again.slot(0).last_cause is ExitCause.HUNG


def test_a_hang_in_a_foreign_call_is_not_the_job_s_fault() -> None:
    """A slow model behind an adapter without a time-out hangs the worker with any job. A crash in such a call counts."""
    exited = Exited(0, PID, -9, 50.0, JOB, KEY, is_foreign_call=True)
    assert counted(apply(Fleet.of(2).with_slot(HUNG), exited)) == [False]
    assert counted(apply(Fleet.of(2).with_slot(in_state(SlotState.RUNNING).slot(0)), exited)) == [True]


def test_a_first_crash_before_a_model_was_asked_is_not_counted() -> None:
    """The second crash of the same job counts, so that a job that crashes every worker ends. Other jobs are not concerned."""
    alive, other_job = in_state(SlotState.RUNNING).slot(0), UUID(int=99)
    first = left_by(alive, is_before_call=True)
    second = left_by(alive, other_job, is_before_call=True, fleet=first)
    third = left_by(alive, is_before_call=True, fleet=second)
    assert counted(third) == [False, False, True]
    assert counted(left_by(alive, is_before_call=False)) == [True]


def test_few_spared_jobs_are_remembered() -> None:
    fleet, alive = Fleet.of(2), in_state(SlotState.RUNNING).slot(0)
    for number in range(MAX_SPARED + 5):
        fleet = left_by(alive, UUID(int=number), is_before_call=True, fleet=fleet)
    assert fleet.spared_job_ids == tuple(UUID(int=number) for number in range(5, MAX_SPARED + 5))


@pytest.mark.parametrize("row", CAUSE_ROWS, ids=lambda row: row.because)
def test_every_row_of_the_table_decides_an_example(row: CauseRow) -> None:
    """No row is hidden by the rows before it, and each gives the cause that its examples expect."""
    causes = {cause for slot, status, is_oom, cause in DEATHS.values() if row_of(slot, status, is_oom=is_oom) is row}
    assert causes == {row.cause}


def test_each_exit_adds_one_to_its_cause() -> None:
    """Each exit adds one to its cause and leaves the others, and crashes are the sum of those that were not requested."""
    fleet = Fleet.of(1)
    for life, (status, is_oom) in enumerate([(1, False), (-9, True), (-9, False), (-9, True)]):
        fleet = apply(apply(fleet, Spawned(0, PID, life, life)), DeadlineSet(0, 90.0, life))
        fleet = apply(fleet, Exited(0, PID, status, life + 0.5, is_oom=is_oom))
    counts = dict(zip(ExitCause, fleet.slot(0).ends_by_cause, strict=True))
    assert {cause: count for cause, count in counts.items() if count} == {
        ExitCause.EXIT_CODE: 1,
        ExitCause.OOM: 2,
        ExitCause.SIGNAL: 1,
    }
    assert crashes(fleet.slot(0).ends_by_cause) == 4


OUTWEIGHS: dict[str, tuple[ActionReason | None, ActionReason, ExitCause, ExitCause]] = {
    "the end of a drain": (ActionReason.DRAIN, ActionReason.DRAIN_EXPIRED, ExitCause.OPERATOR, ExitCause.ASKED),
    "the end of a grace": (ActionReason.DEADLINE_EXCEEDED, ActionReason.GRACE_EXPIRED, ExitCause.HUNG, ExitCause.HUNG),
    "hung in a drain": (ActionReason.DRAIN, ActionReason.DEADLINE_EXCEEDED_IN_DRAIN, ExitCause.HUNG, ExitCause.ASKED),
    "a slow boot in a drain": (ActionReason.DRAIN, ActionReason.BOOT_TOO_SLOW, ExitCause.BOOT, ExitCause.ASKED),
    "memory in a drain": (ActionReason.DRAIN, ActionReason.OVER_HARD_LIMIT, ExitCause.MEMORY, ExitCause.ASKED),
    "memory after an exceeded deadline": (
        ActionReason.DEADLINE_EXCEEDED,
        ActionReason.OVER_HARD_LIMIT,
        ExitCause.MEMORY,
        ExitCause.MEMORY,
    ),
    "an immediate stop": (None, ActionReason.STOP_NOW, ExitCause.OPERATOR, ExitCause.OPERATOR),
}


@pytest.mark.parametrize(("before", "kill", "in_time", "too_late"), OUTWEIGHS.values(), ids=OUTWEIGHS.keys())
def test_the_reason_of_the_first_signal_counts(
    before: ActionReason | None, kill: ActionReason, in_time: ExitCause, too_late: ExitCause
) -> None:
    """A SIGKILL after a grace period has the reason of the SIGTERM, unless the process itself was at fault.

    Status 0 means that the SIGKILL came too late.
    """
    fleet = apply(in_state(SlotState.STOPPING, stop_reason=before), Killed(0, kill, 50.0))
    assert apply(fleet, Exited(0, PID, -9, 51.0)).slot(0).last_cause is in_time
    assert apply(fleet, Exited(0, PID, 0, 51.0)).slot(0).last_cause is too_late


KILLS: dict[str, tuple[int, ActionReason, bool]] = {
    "worker at the drain's end": (0, ActionReason.DRAIN_EXPIRED, True),
    "worker at once": (0, ActionReason.STOP_NOW, True),
    "worker after its grace": (0, ActionReason.GRACE_EXPIRED, False),
    "monitor": (MONITOR, ActionReason.DRAIN_EXPIRED, False),
}


@pytest.mark.parametrize(("number", "why", "killed_during_drain"), KILLS.values(), ids=KILLS.keys())
def test_a_stop_that_kills_a_worker(number: int, why: ActionReason, *, killed_during_drain: bool) -> None:
    """Only a worker that the stop itself killed counts as killed during the drain."""
    fleet = apply(in_state(SlotState.STOPPING, number, stop_reason=ActionReason.DRAIN), Killed(number, why, 50.0))
    assert apply(fleet, Exited(number, PID, -9, 51.0)).killed_during_drain is killed_during_drain


@pytest.mark.parametrize("why", [ActionReason.DRAIN_EXPIRED, ActionReason.STOP_NOW])
def test_a_worker_that_left_in_the_instant_of_its_kill_was_not_killed(why: ActionReason) -> None:
    """A worker ends by itself with 0, and the SIGKILL meets a process that is not yet reaped. The stop cut nothing short."""
    fleet = apply(in_state(SlotState.STOPPING, stop_reason=ActionReason.DRAIN), Killed(0, why, 50.0))
    assert not apply(fleet, Exited(0, PID, 0, 51.0)).killed_during_drain


@pytest.mark.parametrize("why", [ActionReason.DRAIN, ActionReason.DEADLINE_EXCEEDED])
def test_the_reason_of_a_request_to_leave_is_kept(why: ActionReason) -> None:
    """The reason of a SIGTERM or of a retirement is kept until the exit."""
    assert apply(in_state(SlotState.RUNNING), Terminated(0, why, 60.0, 50.0)).slot(0).stop_reason is why
    assert (
        apply(in_state(SlotState.RUNNING), Retired(0, ActionReason.SURPLUS, 50.0)).slot(0).retire_reason is ActionReason.SURPLUS
    )


def test_a_failed_fork_waits_like_a_crash() -> None:
    """A failed fork lengthens the wait, but is neither a start nor a crash of the slot."""
    slot = apply(in_state(SlotState.VACANT), SpawnFailed(0, 11, 50.0, 0.25)).slot(0)
    assert (slot.starts, crashes(slot.ends_by_cause), slot.crash_runs) == (1, 0, (Run(50.0, 0.0, 0.25),))


def test_a_requested_exit_ends_a_row_of_crashes() -> None:
    """After a drained life the slot does not wait for the crashes before it."""
    fleet = in_state(SlotState.STOPPING, stop_reason=ActionReason.DRAIN)
    fleet = fleet.with_slot(replace(fleet.slot(0), ends_by_cause=(0, 0, 3, 0, 0, 0, 0, 0), crash_runs=(Run(1.0, 0.0),) * 3))
    slot = apply(fleet, Exited(0, PID, 0, 50.0)).slot(0)
    assert (crashes(slot.ends_by_cause), slot.crash_runs) == (3, ())


def test_the_memory_of_crashes_is_bounded() -> None:
    """In a crash loop of any length, the slot keeps the latest lives and counts all of them."""
    fleet = Fleet.of(1)
    for life in range(3 * MAX_RUNS):
        fleet = apply(apply(fleet, Spawned(0, PID, life, life)), Exited(0, PID, 1, life + 0.5))
    slot = fleet.slot(0)
    assert (crashes(slot.ends_by_cause), len(slot.crash_runs)) == (3 * MAX_RUNS, MAX_RUNS)
    assert slot.crash_runs[-1] == Run(3 * MAX_RUNS - 0.5, 0.5)


BAD_CONFIGURATIONS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "before any request to stop": ((), (50.0,)),
    "in a stop": ((30.0,), (30.0,)),
    "in a shortened stop": ((30.0, 31.0), (30.0, 31.0)),
}


@pytest.mark.parametrize("number", [0, MONITOR], ids=["worker", "monitor"])
@pytest.mark.parametrize(("asked", "expected"), BAD_CONFIGURATIONS.values(), ids=BAD_CONFIGURATIONS.keys())
def test_a_bad_configuration_stops_the_fleet(number: int, asked: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """Status 78 is a request to stop with its own exit code, and does not move a drain that has begun."""
    before = replace(in_state(SlotState.STARTING, number), stop_asked_at_seconds=asked)
    after = apply(before, Exited(number, PID, 78, 50.0))
    assert (after.has_bad_configuration, after.stop_asked_at_seconds) == (True, expected)


def test_status_78_in_a_job_is_a_crash() -> None:
    """A worker that ends with 78 in a job has worked with its settings, so it is a crash of that job and the fleet goes on."""
    after = apply(in_state(SlotState.RUNNING), Exited(0, PID, 78, 50.0, JOB, KEY))
    assert (after.has_bad_configuration, after.is_stopping) == (False, False)
    assert [dead.is_counted for dead in after.dead_leases] == [True]


def test_another_status_stops_nothing() -> None:
    """No other exit of a child is a request to stop."""
    for status in (0, 1, 70, 71, 75, -9, -15):
        after = apply(in_state(SlotState.RUNNING), Exited(0, PID, status, 50.0))
        assert (after.has_bad_configuration, after.is_stopping) == (False, False), status


def test_no_lease_nothing_to_reclaim() -> None:
    """A worker that died without a lease leaves nothing to reclaim."""
    assert apply(in_state(SlotState.RUNNING), Exited(0, PID, -9, 50.0)).dead_leases == ()


def test_a_lease_without_a_job_is_reclaimed() -> None:
    """A worker that died between writing its key and reading its job leaves the key without a job."""
    after = apply(in_state(SlotState.RUNNING), Exited(0, PID, -9, 50.0, None, KEY))
    assert after.dead_leases == (DeadLease(0, None, KEY, is_counted=True),)


def test_a_requested_lease_is_reclaimed_too() -> None:
    """A worker that died while it settled one job and leased the next leaves both keys, as either may be committed."""
    after = apply(in_state(SlotState.RUNNING), Exited(0, PID, -9, 50.0, JOB, KEY, OTHER_KEY))
    assert after.dead_leases == (DeadLease(0, JOB, KEY, is_counted=True), DeadLease(0, None, OTHER_KEY, is_counted=True))


def reclaimed_now(fleet: Fleet) -> list[UUID]:
    """Return the keys of the reclaim requests that are due."""
    return [action.lease_key for action in decide(fleet, Policy(), 100.0) if isinstance(action, ReclaimLease)]


def test_dead_leases_are_kept_until_reclaimed() -> None:
    """A lease is requested once of each monitor, survives a monitor that dies, and is dropped when it is reclaimed."""
    fleet = replace(
        in_state(SlotState.RUNNING, MONITOR), dead_leases=(DeadLease(0, JOB, KEY, True), DeadLease(1, None, OTHER_KEY, True))
    )
    assert reclaimed_now(fleet) == [KEY, OTHER_KEY]
    fleet = apply(fleet, ReclaimSent(KEY, 7))
    assert reclaimed_now(fleet) == [OTHER_KEY]
    fleet = apply(fleet, Exited(MONITOR, PID, -9, 51.0))
    assert reclaimed_now(fleet) == []
    fleet = apply(apply(fleet, Spawned(MONITOR, 101, 8, 52.0)), DeadlineSet(MONITOR, math.inf, 53.0))
    assert reclaimed_now(fleet) == [KEY, OTHER_KEY]
    fleet = apply(fleet, LeaseReclaimed(KEY, "released"))
    assert fleet.dead_leases == (DeadLease(1, None, OTHER_KEY, True),)


def test_a_fact_about_an_unknown_lease_changes_nothing() -> None:
    """A second report of a lease that is already reclaimed is possible and has no effect."""
    fleet = replace(in_state(SlotState.RUNNING), dead_leases=(DeadLease(0, JOB, KEY, True),))
    assert apply(apply(fleet, LeaseReclaimed(OTHER_KEY, "not found")), ReclaimSent(OTHER_KEY, 7)) == fleet


# Memory


def test_the_baseline_is_the_first_sample_after_the_boot() -> None:
    """A sample in the boot is no baseline, the first one after it stays the baseline, and the newest sample is kept."""
    fleet = apply(apply(Fleet.of(1), Spawned(0, PID, 7, 10.0)), Measured(0, 900, 11.0))
    assert (fleet.slot(0).rss_bytes, fleet.slot(0).baseline_bytes) == (900, None)
    fleet = apply(apply(fleet, DeadlineSet(0, 40.0, 12.0)), Measured(0, 500, 12.5))
    assert (fleet.slot(0).rss_bytes, fleet.slot(0).baseline_bytes) == (500, 500)
    fleet = apply(fleet, Measured(0, 700, 13.0))
    assert (fleet.slot(0).rss_bytes, fleet.slot(0).baseline_bytes) == (700, 500)


def test_a_new_process_starts_without_the_old_ones_state() -> None:
    """Memory, deadlines and requests belong to a process and end with it, and totals belong to the slot."""
    slot = replace(
        in_state(SlotState.RUNNING).slot(0),
        rss_bytes=9,
        baseline_bytes=8,
        is_busy=True,
        retire_reason=ActionReason.OPERATOR,
        generation=3,
    )
    fleet = Fleet.of(1).with_slot(replace(slot, is_recycle_asked=True, deadline_seconds=70.0))
    assert apply(fleet, Exited(0, PID, 0, 50.0)).slot(0) == Slot(
        0, since_seconds=50.0, starts=1, last_cause=ExitCause.ASKED, ends_by_cause=(1, 0, 0, 0, 0, 0, 0, 0)
    )


# Progress


def test_progress_of_a_worker_ends_the_count_of_crashes() -> None:
    """A finished boot or a new deadline of any worker is progress. Before the first one, the first start counts."""
    fleet = Fleet.of(2)
    assert fleet.last_progress_seconds is None
    fleet = apply(apply(fleet, Spawned(0, PID, 7, 10.0)), Spawned(1, 101, 8, 11.0))
    assert fleet.last_progress_seconds == 10.0
    fleet = apply(fleet, Exited(0, PID, 1, 12.0))
    assert (fleet.last_progress_seconds, fleet.crashes_since_progress) == (10.0, 1)
    fleet = apply(apply(fleet, Spawned(0, PID, 7, 13.0)), Exited(0, PID, 1, 14.0))
    assert (fleet.last_progress_seconds, fleet.crashes_since_progress) == (10.0, 2)
    fleet = apply(fleet, DeadlineSet(1, 90.0, 15.0))
    assert (fleet.last_progress_seconds, fleet.crashes_since_progress) == (15.0, 0)
    fleet = apply(fleet, DeadlineSet(1, 91.0, 16.0))
    assert fleet.last_progress_seconds == 16.0


def test_the_monitor_makes_no_progress() -> None:
    """Neither a deadline nor a crash of the monitor counts as progress or as a crash of the workers."""
    fleet = replace(in_state(SlotState.STARTING, MONITOR), last_progress_seconds=1.0, crashes_since_progress=4)
    fleet = apply(fleet, DeadlineSet(MONITOR, 90.0, 50.0, is_ready=True))
    assert (fleet.last_progress_seconds, fleet.crashes_since_progress, fleet.is_ready) == (1.0, 4, False)
    fleet = apply(fleet, Exited(MONITOR, PID, 1, 51.0))
    assert (crashes(fleet.slot(MONITOR).ends_by_cause), fleet.crashes_since_progress) == (1, 4)


def test_a_fleet_is_ready_when_a_worker_has_reached_the_database() -> None:
    """A boot alone is not enough, and a fleet that was ready once stays ready."""
    fleet = apply(in_state(SlotState.STARTING), DeadlineSet(0, 90.0, 50.0))
    assert (fleet.is_ready, fleet.last_good_generation) == (False, None)
    fleet = apply(fleet, DeadlineSet(0, 91.0, 51.0, is_ready=True, is_busy=True))
    assert (fleet.is_ready, fleet.last_good_generation, fleet.slot(0).is_busy) == (True, 0, True)
    fleet = apply(fleet, DeadlineSet(0, 92.0, 52.0))
    assert (fleet.is_ready, fleet.last_good_generation, fleet.slot(0).is_busy) == (True, 0, False)


GIVEN_UP: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "before any request to stop": ((), (50.0,)),
    "in a stop": ((30.0,), (30.0,)),
}


@pytest.mark.parametrize(("asked", "expected"), GIVEN_UP.values(), ids=GIVEN_UP.keys())
def test_giving_up_is_a_request_to_stop(asked: tuple[float, ...], expected: tuple[float, ...]) -> None:
    """Giving up does not move a drain that has begun."""
    after = apply(replace(in_state(SlotState.STARTING), stop_asked_at_seconds=asked), GaveUp(50.0))
    assert (after.gave_up, after.stop_asked_at_seconds) == (True, expected)


# Scale, recycle, reload


def test_scaling_adds_slots_and_removes_none() -> None:
    """A slot keeps its totals while it is not wanted, and new slots follow the present ones."""
    fleet = apply(apply(in_state(SlotState.RUNNING), Scaled(1, 50.0)), Scaled(4, 51.0))
    assert fleet == replace(
        in_state(SlotState.RUNNING), workers=(*in_state(SlotState.RUNNING).workers, Slot(2), Slot(3)), wanted=4
    )
    fewer = apply(fleet, Scaled(1, 52.0))
    assert (fewer.slots, fewer.wanted, [slot.number for slot in fewer.wanted_workers]) == (fleet.slots, 1, [0])


@pytest.mark.parametrize("workers", [0, 65])
def test_impossible_sizes(workers: int) -> None:
    """A fleet has at least one worker and at most as many as the scoreboard has room for."""
    with pytest.raises(ImpossibleFact, match=f"{workers} workers"):
        apply(Fleet.of(2), Scaled(workers, 50.0))
    assert len(apply(Fleet.of(2), Scaled(64, 50.0)).workers) == 64


def test_a_recycle_is_noted_for_a_process() -> None:
    """The request applies to the process in the slot, and is ignored for vacant slots, the monitor and unknown numbers."""
    fleet = apply(in_state(SlotState.STARTING), RecycleAsked((0, 1, MONITOR, 7), 50.0))
    assert [slot.is_recycle_asked for slot in fleet.slots] == [True, False, False]
    assert not apply(in_state(SlotState.RUNNING), RecycleAsked((1,), 50.0)).slot(0).is_recycle_asked


def test_a_reload_is_a_new_generation() -> None:
    """Later starts belong to the new generation, and the fleet is reloading until all wanted workers do."""
    fleet = apply(replace(in_state(SlotState.RUNNING), reload_problem=ReloadProblem.WRONG_SETTINGS), Reloaded(1, 1, 50.0))
    assert (fleet.generation, fleet.wanted, fleet.reload_problem, fleet.is_reloading) == (1, 1, None, True)
    assert fleet.slot(0).generation == 0
    fleet = apply(apply(fleet, Exited(0, PID, 0, 51.0)), Spawned(0, 101, 8, 52.0))
    assert (fleet.slot(0).generation, fleet.is_reloading) == (1, False)


def test_surplus_workers_do_not_delay_a_reload() -> None:
    """Only wanted workers have to get the new settings."""
    fleet = Fleet.of(2).with_slot(Slot(1, SlotState.RUNNING, pid=PID))
    assert apply(fleet, Reloaded(1, 2, 50.0)).is_reloading
    assert not apply(fleet, Reloaded(1, 1, 50.0)).is_reloading


def test_wrong_settings_change_only_the_problem() -> None:
    """The old generation stays, and the problem is noted."""
    before = in_state(SlotState.RUNNING)
    assert apply(before, ReloadRejected(3, 50.0)) == replace(before, reload_problem=ReloadProblem.WRONG_SETTINGS)
    fixed = apply(before, ReloadRejected(1, 50.0, needs_restart=True))
    assert fixed == replace(before, reload_problem=ReloadProblem.NEEDS_RESTART)


WITHDRAWN: dict[str, tuple[int | None, int, int, tuple[bool, int, ReloadProblem | None]]] = {
    # last good generation, that of the process, that of the fleet -> bad configuration, generation, problem afterwards
    "nothing ever worked": (None, 1, 1, (True, 1, None)),
    "settings that worked are bad now": (1, 1, 1, (True, 1, None)),
    "older than the last good ones": (2, 1, 2, (True, 2, None)),
    "the new settings are bad": (0, 2, 2, (False, 0, ReloadProblem.REJECTED_BY_WORKER)),
    "settings that were read once more": (0, 1, 2, (False, 2, None)),
}


@pytest.mark.parametrize(("last_good", "of_slot", "of_fleet", "expected"), WITHDRAWN.values(), ids=WITHDRAWN.keys())
def test_a_bad_reload_is_withdrawn(
    last_good: int | None, of_slot: int, of_fleet: int, expected: tuple[bool, int, ReloadProblem | None]
) -> None:
    """New settings that no worker can use do not stop a fleet that worked with older ones. It goes back to those."""
    before = replace(in_state(SlotState.STARTING), last_good_generation=last_good, generation=of_fleet)
    before = before.with_slot(replace(before.slot(0), generation=of_slot))
    after = apply(before, Exited(0, PID, 78, 50.0))
    assert (after.has_bad_configuration, after.generation, after.reload_problem) == expected
    assert after.is_stopping is after.has_bad_configuration


def test_the_newest_good_generation_counts() -> None:
    """A worker with older settings does not lower the last good generation."""
    fleet = replace(in_state(SlotState.RUNNING), last_good_generation=2, generation=2)
    assert apply(fleet, DeadlineSet(0, 90.0, 50.0, is_ready=True)).last_good_generation == 2
    newer = fleet.with_slot(replace(fleet.slot(0), generation=3))
    assert apply(newer, DeadlineSet(0, 90.0, 50.0, is_ready=True)).last_good_generation == 3


@pytest.mark.parametrize("number", [2, -2])
def test_an_unknown_slot_is_an_error(number: int) -> None:
    """A slot that does not exist is neither read nor replaced, and no change is lost without notice."""
    fleet = Fleet.of(2)
    with pytest.raises(IndexError):
        fleet.slot(number)
    with pytest.raises(IndexError):
        fleet.with_slot(Slot(number))
