"""How the fleet looks after a fact. `record` is pure and refuses what cannot have happened."""

from dataclasses import replace
from typing import assert_never

from supervisor.core.facts import (
    Exited,
    Fact,
    FactOfASlot,
    FactOfTheFleet,
    GaveUp,
    Killed,
    LeaseReturned,
    LeaseSent,
    Measured,
    Promised,
    RecycleAsked,
    Reloaded,
    ReloadRefused,
    Retired,
    Scaled,
    Spawned,
    SpawnFailed,
    StopAsked,
    Terminated,
)
from supervisor.core.fleet import ALIVE, BLAMELESS, Cause, DeadLease, Fleet, ReloadProblem, Run, Slot, Stage, Why
from worker.ipc.scoreboard import MAX_SLOTS

_SIGKILLED = -9
MAX_RUNS = 16  # more would not change the backoff, which is capped long before

_OCCUPIED = frozenset(Stage) - {Stage.VACANT}
FOLLOWS_IN: dict[type[FactOfASlot], frozenset[Stage]] = {
    Spawned: frozenset({Stage.VACANT}),
    SpawnFailed: frozenset({Stage.VACANT}),
    Promised: _OCCUPIED,
    Measured: _OCCUPIED,
    Retired: frozenset({Stage.RUNNING}),
    Terminated: frozenset({Stage.STARTING, Stage.RUNNING}),
    Killed: ALIVE,
    Exited: _OCCUPIED,
}


class ImpossibleFact(ValueError):
    """A fact that contradicts the fleet: a bug of the supervisor, never a state of the world."""


def record(fleet: Fleet, fact: Fact) -> Fleet:
    """The fleet after the fact. Raises ImpossibleFact for a stage that cannot follow."""
    if not isinstance(fact, FactOfASlot):
        return _of_the_fleet(fleet, fact)
    slot = fleet.slot(fact.slot)
    if slot.stage not in FOLLOWS_IN[type(fact)]:
        raise ImpossibleFact(f"{type(fact).__name__} for slot {slot.number} in stage {slot.stage.name}")
    return _of_a_slot(fleet, slot, fact)


def _of_a_slot(fleet: Fleet, slot: Slot, fact: FactOfASlot) -> Fleet:
    match fact:
        case Spawned():
            return _spawned(fleet, slot, fact)
        case SpawnFailed(_, _, at, jitter):
            return fleet.with_slot(replace(slot, crash_runs=_with_run(slot, Run(at, 0.0, jitter))))
        case Promised():
            return _promised(fleet, slot, fact)
        case Measured(_, rss_bytes):
            is_first = slot.baseline_bytes is None and slot.stage is not Stage.STARTING
            baseline_bytes = rss_bytes if is_first else slot.baseline_bytes
            return fleet.with_slot(replace(slot, rss_bytes=rss_bytes, baseline_bytes=baseline_bytes))
        case Retired(_, why):
            return fleet.with_slot(replace(slot, retire_why=why))
        case Terminated(_, why, stop_by, at):
            stopping = replace(slot, stage=Stage.STOPPING, since_seconds=at, stop_by_seconds=stop_by, stop_why=why)
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
        case ReloadRefused():
            return replace(fleet, reload_problem=ReloadProblem.WRONG_SETTINGS)
        case LeaseSent(key, incarnation):
            sent = tuple(replace(d, sent_to=incarnation) if d.lease_key == key else d for d in fleet.dead_leases)
            return replace(fleet, dead_leases=sent)
        case LeaseReturned(key):
            return replace(fleet, dead_leases=tuple(d for d in fleet.dead_leases if d.lease_key != key))
        case _:
            assert_never(fact)


def _spawned(fleet: Fleet, slot: Slot, fact: Spawned) -> Fleet:
    starting = replace(
        slot,
        stage=Stage.STARTING,
        since_seconds=fact.at_seconds,
        started_at_seconds=fact.at_seconds,
        pid=fact.pid,
        incarnation=fact.incarnation,
        starts=slot.starts + 1,
        generation=fleet.generation,
    )
    begun = fact.at_seconds if fleet.last_progress_seconds is None else fleet.last_progress_seconds
    return replace(fleet.with_slot(starting), last_progress_seconds=begun)


def _promised(fleet: Fleet, slot: Slot, fact: Promised) -> Fleet:
    promised = replace(slot, deadline_seconds=fact.deadline_seconds, is_busy=fact.is_busy)
    if slot.stage is Stage.STARTING:
        promised = replace(promised, stage=Stage.RUNNING, since_seconds=fact.at_seconds)
    if not slot.is_worker:
        return fleet.with_slot(promised)
    gone_on = replace(fleet.with_slot(promised), last_progress_seconds=fact.at_seconds, crashes_since_progress=0)
    return _proven(gone_on, slot.generation) if fact.is_ready else gone_on


def _proven(fleet: Fleet, generation: int) -> Fleet:
    """A worker of the settings before the last ones proves nothing about the last ones."""
    newest = generation if fleet.proven_generation is None else max(generation, fleet.proven_generation)
    return replace(fleet, is_ready=True, proven_generation=newest)


def _killed(fleet: Fleet, slot: Slot, fact: Killed) -> Fleet:
    is_cut_short = fleet.was_cut_short or (slot.is_worker and fact.why in {Why.DRAIN_EXPIRED, Why.STOP_NOW})
    killed = replace(slot, stage=Stage.KILLED, since_seconds=fact.at_seconds, kill_why=fact.why)
    return replace(fleet.with_slot(killed), was_cut_short=is_cut_short)


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


def cause_of(slot: Slot, status: int, *, is_oom: bool) -> Cause:
    """Why the process in the slot ended: what we know of it comes first, what we have done to it next, its status last.

    Who has left with 0, as he was asked to, was killed too late: no kill ends with 0.
    """
    was_asked = slot.stop_why in BLAMELESS or (slot.stop_why is None and slot.is_retiring)
    if status == 0 and was_asked:
        return Cause.ASKED
    if is_oom and status == _SIGKILLED and slot.stage is not Stage.KILLED:
        return Cause.OOM
    why = _why_we_ended(slot)
    if slot.stage is Stage.KILLED and why in BLAMELESS:
        return Cause.OPERATOR
    if why in _CAUSES:
        return _CAUSES[why]
    if slot.stage is Stage.STARTING:
        return Cause.BOOT
    return Cause.SIGNAL if status < 0 else Cause.EXIT_CODE


def _why_we_ended(slot: Slot) -> Why | None:
    """The end of a wait kills for the reason of the wait; what the process did itself outweighs what it was asked."""
    is_own_doing = slot.kill_why in {Why.HUNG_IN_A_DRAIN, Why.BOOT_TOO_SLOW, Why.OVER_HARD_LIMIT}
    return slot.kill_why if is_own_doing else slot.stop_why or slot.kill_why


_CAUSES: dict[Why | None, Cause] = {
    Why.BROKEN_PROMISE: Cause.HUNG,
    Why.HUNG_IN_A_DRAIN: Cause.HUNG,
    Why.OVER_HARD_LIMIT: Cause.MEMORY,
    Why.BOOT_TOO_SLOW: Cause.BOOT,
}


def _vacant(slot: Slot, fact: Exited, cause: Cause) -> Slot:
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
    if fleet.proven_generation is None or fleet.proven_generation >= generation:
        return replace(_stopped(fleet, at_seconds), is_refused=True)
    if generation != fleet.generation:  # somebody was before us, or the operator has read the settings again
        return fleet
    return replace(fleet, generation=fleet.proven_generation, reload_problem=ReloadProblem.REFUSED_BY_A_WORKER)


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
