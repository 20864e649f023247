"""How the fleet looks after a fact. `record` is pure and refuses what cannot have happened."""

from dataclasses import replace
from typing import assert_never

from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    FactOfASlot,
    FactOfTheFleet,
    GaveUp,
    Killed,
    LeaseReclaimed,
    LeaseSent,
    Measured,
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
from supervisor.core.fleet import (
    ALIVE,
    REQUESTED_STOPS,
    ActionReason,
    DeadLease,
    ExitCause,
    Fleet,
    ReloadProblem,
    Run,
    Slot,
    SlotState,
)
from worker.ipc.scoreboard import MAX_SLOTS

_SIGKILLED = -9
MAX_RUNS = 16  # more would not change the backoff, which is capped long before

_OCCUPIED = frozenset(SlotState) - {SlotState.VACANT}
FOLLOWS_IN: dict[type[FactOfASlot], frozenset[SlotState]] = {
    Spawned: frozenset({SlotState.VACANT}),
    SpawnFailed: frozenset({SlotState.VACANT}),
    DeadlineSet: _OCCUPIED,
    Measured: _OCCUPIED,
    Retired: frozenset({SlotState.RUNNING}),
    Terminated: frozenset({SlotState.STARTING, SlotState.RUNNING}),
    Killed: ALIVE,
    Exited: _OCCUPIED,
}


class ImpossibleFact(ValueError):
    """A fact that contradicts the fleet: a bug of the supervisor, never a state of the world."""


def apply(fleet: Fleet, fact: Fact) -> Fleet:
    """The fleet after the fact. Raises ImpossibleFact for a state that cannot follow."""
    if not isinstance(fact, FactOfASlot):
        return _of_the_fleet(fleet, fact)
    slot = fleet.slot(fact.slot)
    if slot.state not in FOLLOWS_IN[type(fact)]:
        raise ImpossibleFact(f"{type(fact).__name__} for slot {slot.number} in state {slot.state.name}")
    return _of_a_slot(fleet, slot, fact)


def _of_a_slot(fleet: Fleet, slot: Slot, fact: FactOfASlot) -> Fleet:
    match fact:
        case Spawned():
            return _spawned(fleet, slot, fact)
        case SpawnFailed(_, _, at, jitter):
            return fleet.with_slot(replace(slot, crash_runs=_with_run(slot, Run(at, 0.0, jitter))))
        case DeadlineSet():
            return _deadlines(fleet, slot, fact)
        case Measured(_, rss_bytes):
            is_first = slot.baseline_bytes is None and slot.state is not SlotState.STARTING
            baseline_bytes = rss_bytes if is_first else slot.baseline_bytes
            return fleet.with_slot(replace(slot, rss_bytes=rss_bytes, baseline_bytes=baseline_bytes))
        case Retired(_, why):
            return fleet.with_slot(replace(slot, retire_reason=why))
        case Terminated(_, why, stop_by, at):
            stopping = replace(slot, state=SlotState.STOPPING, since_seconds=at, stop_by_seconds=stop_by, stop_reason=why)
            return fleet.with_slot(stopping)
        case Killed():
            return _killed(fleet, slot, fact)
        case Exited():
            return _exited(fleet, slot, fact)
        case _:
            assert_never(fact)


def _of_the_fleet(fleet: Fleet, fact: FactOfTheFleet) -> Fleet:
    match fact:
        case StopAsked(at):
            return replace(fleet, stop_asked_at_seconds=(*fleet.stop_asked_at_seconds[:2], at))
        case GaveUp(at):
            return replace(_stopped(fleet, at), gave_up=True)
        case Scaled(workers):
            return _scaled(fleet, workers)
        case RecycleAsked(slots):
            return _recycle_asked(fleet, slots)
        case Reloaded(generation, workers):
            return replace(_scaled(fleet, workers), generation=generation, reload_problem=None)
        case ReloadRejected():
            return replace(fleet, reload_problem=ReloadProblem.WRONG_SETTINGS)
        case LeaseSent(key, incarnation):
            sent = tuple(replace(d, sent_to=incarnation) if d.lease_key == key else d for d in fleet.dead_leases)
            return replace(fleet, dead_leases=sent)
        case LeaseReclaimed(key):
            return replace(fleet, dead_leases=tuple(d for d in fleet.dead_leases if d.lease_key != key))
        case _:
            assert_never(fact)


def _spawned(fleet: Fleet, slot: Slot, fact: Spawned) -> Fleet:
    starting = replace(
        slot,
        state=SlotState.STARTING,
        since_seconds=fact.at_seconds,
        started_at_seconds=fact.at_seconds,
        pid=fact.pid,
        incarnation=fact.incarnation,
        starts=slot.starts + 1,
        generation=fleet.generation,
    )
    begun = fact.at_seconds if fleet.last_progress_seconds is None else fleet.last_progress_seconds
    return replace(fleet.with_slot(starting), last_progress_seconds=begun)


def _deadlines(fleet: Fleet, slot: Slot, fact: DeadlineSet) -> Fleet:
    deadline_set = replace(slot, deadline_seconds=fact.deadline_seconds, is_busy=fact.is_busy)
    if slot.state is SlotState.STARTING:
        deadline_set = replace(deadline_set, state=SlotState.RUNNING, since_seconds=fact.at_seconds)
    if not slot.is_worker:
        return fleet.with_slot(deadline_set)
    gone_on = replace(fleet.with_slot(deadline_set), last_progress_seconds=fact.at_seconds, crashes_since_progress=0)
    return _proven(gone_on, slot.generation) if fact.is_ready else gone_on


def _proven(fleet: Fleet, generation: int) -> Fleet:
    """A worker of the settings before the last ones proves nothing about the last ones."""
    newest = generation if fleet.last_good_generation is None else max(generation, fleet.last_good_generation)
    return replace(fleet, is_ready=True, last_good_generation=newest)


def _killed(fleet: Fleet, slot: Slot, fact: Killed) -> Fleet:
    is_cut_short = fleet.killed_during_drain or (
        slot.is_worker and fact.why in {ActionReason.DRAIN_EXPIRED, ActionReason.STOP_NOW}
    )
    killed = replace(slot, state=SlotState.KILLED, since_seconds=fact.at_seconds, kill_reason=fact.why)
    return replace(fleet.with_slot(killed), killed_during_drain=is_cut_short)


def _exited(fleet: Fleet, slot: Slot, fact: Exited) -> Fleet:
    if slot.pid != fact.pid:
        raise ImpossibleFact(f"pid {fact.pid} exited, but slot {slot.number} holds {slot.pid}")
    cause = cause_of(slot, fact.status, is_oom=fact.is_oom)
    leases = (fact.job_id, fact.lease_key), (None, fact.next_lease_key)
    dead = tuple(DeadLease(slot.number, job_id, key, cause.is_crash) for job_id, key in leases if key)
    left = replace(
        fleet.with_slot(_vacant(slot, fact, cause)),
        dead_leases=fleet.dead_leases + dead,
        crashes_since_progress=fleet.crashes_since_progress + (slot.is_worker and cause.is_crash),
    )
    return _refused(left, slot.generation, fact.at_seconds) if fact.is_refusal else left


def cause_of(slot: Slot, status: int, *, is_oom: bool) -> ExitCause:
    """Why the process in the slot ended: what we know of it comes first, what we have done to it next, its status last.

    Who has left with 0, as he was asked to, was killed too late: no kill ends with 0.
    """
    was_asked = slot.stop_reason in REQUESTED_STOPS or (slot.stop_reason is None and slot.is_retiring)
    if status == 0 and was_asked:
        return ExitCause.ASKED
    if is_oom and status == _SIGKILLED and slot.state is not SlotState.KILLED:
        return ExitCause.OOM
    why = _why_we_ended(slot)
    if slot.state is SlotState.KILLED and why in REQUESTED_STOPS:
        return ExitCause.OPERATOR
    if why in _CAUSES:
        return _CAUSES[why]
    if slot.state is SlotState.STARTING:
        return ExitCause.BOOT
    return ExitCause.SIGNAL if status < 0 else ExitCause.EXIT_CODE


def _why_we_ended(slot: Slot) -> ActionReason | None:
    """The end of a wait kills for the reason of the wait; what the process did itself outweighs what it was asked."""
    is_own_doing = slot.kill_reason in {
        ActionReason.DEADLINE_EXCEEDED_IN_DRAIN,
        ActionReason.BOOT_TOO_SLOW,
        ActionReason.OVER_HARD_LIMIT,
    }
    return slot.kill_reason if is_own_doing else slot.stop_reason or slot.kill_reason


_CAUSES: dict[ActionReason | None, ExitCause] = {
    ActionReason.DEADLINE_EXCEEDED: ExitCause.HUNG,
    ActionReason.DEADLINE_EXCEEDED_IN_DRAIN: ExitCause.HUNG,
    ActionReason.OVER_HARD_LIMIT: ExitCause.MEMORY,
    ActionReason.BOOT_TOO_SLOW: ExitCause.BOOT,
}


def _vacant(slot: Slot, fact: Exited, cause: ExitCause) -> Slot:
    """What outlives a process. An end that was asked for ends a row of crashes."""
    run = Run(fact.at_seconds, fact.at_seconds - slot.started_at_seconds, fact.jitter)
    ends = tuple(count + (number == cause) for number, count in enumerate(slot.ends_by_cause))
    return Slot(
        slot.number,
        since_seconds=fact.at_seconds,
        starts=slot.starts,
        last_status=fact.status,
        last_cause=cause,
        ends_by_cause=ends,
        crash_runs=_with_run(slot, run) if cause.is_crash else (),
    )


def _refused(fleet: Fleet, generation: int, at_seconds: float) -> Fleet:
    """A configuration that can never work: back to the one that did, else a request to stop with an exit code of its own."""
    if fleet.last_good_generation is None or fleet.last_good_generation >= generation:
        return replace(_stopped(fleet, at_seconds), is_refused=True)
    if generation != fleet.generation:  # somebody was before us, or the operator has read the settings again
        return fleet
    return replace(fleet, generation=fleet.last_good_generation, reload_problem=ReloadProblem.REJECTED_BY_WORKER)


def _stopped(fleet: Fleet, at_seconds: float) -> Fleet:
    return replace(fleet, stop_asked_at_seconds=fleet.stop_asked_at_seconds or (at_seconds,))


def _scaled(fleet: Fleet, workers: int) -> Fleet:
    """Slots are added and never removed: their totals are kept."""
    if not 1 <= workers <= MAX_SLOTS:
        raise ImpossibleFact(f"{workers} workers")
    new = tuple(Slot(number) for number in range(len(fleet.workers), workers))
    return replace(fleet, slots=(*fleet.workers, *new, fleet.monitor), wanted=workers)


def _recycle_asked(fleet: Fleet, numbers: tuple[int, ...]) -> Fleet:
    asked = {slot.number for slot in fleet.workers if slot.is_occupied and slot.number in numbers}
    slots = tuple(replace(slot, is_recycle_asked=True) if slot.number in asked else slot for slot in fleet.slots)
    return replace(fleet, slots=slots)


def _with_run(slot: Slot, run: Run) -> tuple[Run, ...]:
    return (*slot.crash_runs, run)[-MAX_RUNS:]
