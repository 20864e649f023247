"""The fleet after a fact. `apply` is pure, and refuses a fact that cannot have happened."""

from dataclasses import replace
from typing import assert_never

from supervisor.core.culprits import is_counted, spared
from supervisor.core.exit_causes import cause_of
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    FactOfASlot,
    FactOfTheFleet,
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
    SurvivorKilled,
    Terminated,
)
from supervisor.core.fleet import ActionReason, DeadLease, ExitCause, Fleet, ReloadProblem, Run, Slot, SlotState
from worker.ipc.scoreboard import MAX_SLOTS

MAX_RUNS = 16  # more would not lengthen the backoff, which has reached its maximum long before

SLOT_TRANSITIONS: dict[SlotState, dict[type[FactOfASlot], SlotState]] = {  # a fact that is not listed cannot happen in the state
    SlotState.VACANT: {
        Spawned: SlotState.STARTING,
        SpawnFailed: SlotState.VACANT,
    },
    SlotState.STARTING: {
        DeadlineSet: SlotState.RUNNING,
        Measured: SlotState.STARTING,
        Terminated: SlotState.STOPPING,
        Killed: SlotState.KILLED,
        Exited: SlotState.VACANT,
    },
    SlotState.RUNNING: {
        DeadlineSet: SlotState.RUNNING,
        Measured: SlotState.RUNNING,
        Retired: SlotState.RUNNING,
        Terminated: SlotState.STOPPING,
        Killed: SlotState.KILLED,
        Exited: SlotState.VACANT,
    },
    SlotState.STOPPING: {
        DeadlineSet: SlotState.STOPPING,
        Measured: SlotState.STOPPING,
        Killed: SlotState.KILLED,
        Exited: SlotState.VACANT,
    },
    SlotState.KILLED: {
        DeadlineSet: SlotState.KILLED,
        Measured: SlotState.KILLED,
        Exited: SlotState.VACANT,
    },
}


class ImpossibleFact(ValueError):
    """A fact that contradicts the fleet. It is a bug of the supervisor and never a state of the world."""


def apply(fleet: Fleet, fact: Fact) -> Fleet:
    """Return the fleet after the fact. Raises ImpossibleFact if the fact cannot happen to this fleet."""
    if not isinstance(fact, FactOfASlot):
        return _of_the_fleet(fleet, fact)
    before = fleet.slot(fact.slot)
    return _of_a_slot(fleet, before, _moved(before, fact), fact)


def _moved(slot: Slot, fact: FactOfASlot) -> Slot:
    """Return the slot in the state after the fact."""
    state = SLOT_TRANSITIONS[slot.state].get(type(fact))
    if state is None:
        raise ImpossibleFact(f"{type(fact).__name__} for slot {slot.number} in state {slot.state.name}")
    return slot if state is slot.state else replace(slot, state=state, since_seconds=fact.at_seconds)


def _of_a_slot(fleet: Fleet, before: Slot, slot: Slot, fact: FactOfASlot) -> Fleet:
    """Apply the fact to `slot`, which is in its new state already. `before` is the slot in its former state."""
    match fact:
        case Spawned():
            return _spawned(fleet, slot, fact)
        case SpawnFailed(_, _, at, jitter):
            return fleet.with_slot(replace(slot, crash_runs=_with_run(slot, Run(at, 0.0, jitter))))
        case DeadlineSet():
            return _deadline_set(fleet, slot, fact)
        case Measured():
            return fleet.with_slot(_measured(slot, fact))
        case Retired(_, why):
            return fleet.with_slot(replace(slot, retire_reason=why))
        case Terminated(_, why, stop_by):
            return fleet.with_slot(replace(slot, stop_by_seconds=stop_by, stop_reason=why))
        case Killed(_, why):
            return fleet.with_slot(replace(slot, kill_reason=why))
        case Exited():
            return _exited(fleet, before, slot, fact)
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
        case ReloadRejected(needs_restart=needs_restart):
            problem = ReloadProblem.NEEDS_RESTART if needs_restart else ReloadProblem.WRONG_SETTINGS
            return replace(fleet, reload_problem=problem)
        case ReclaimSent(key, incarnation):
            sent = tuple(replace(d, asked_monitor=incarnation) if d.lease_key == key else d for d in fleet.dead_leases)
            return replace(fleet, dead_leases=sent)
        case LeaseReclaimed(key):
            return replace(fleet, dead_leases=tuple(d for d in fleet.dead_leases if d.lease_key != key))
        case SurvivorKilled():
            return fleet
        case _:
            assert_never(fact)


def _spawned(fleet: Fleet, slot: Slot, fact: Spawned) -> Fleet:
    starting = replace(
        slot,
        started_at_seconds=fact.at_seconds,
        pid=fact.pid,
        incarnation=fact.incarnation,
        starts=slot.starts + 1,
        generation=fleet.generation,
    )
    begun = fact.at_seconds if fleet.last_progress_seconds is None else fleet.last_progress_seconds
    return replace(fleet.with_slot(starting), last_progress_seconds=begun)


def _deadline_set(fleet: Fleet, slot: Slot, fact: DeadlineSet) -> Fleet:
    step = replace(slot, is_busy=fact.is_busy, is_in_call=fact.is_in_call, permit_since_seconds=fact.permit_since_seconds)
    updated = fleet.with_slot(replace(step, deadline_seconds=fact.deadline_seconds))
    if not slot.is_worker:
        return updated
    progressed = replace(updated, last_progress_seconds=fact.at_seconds, crashes_since_progress=0)
    return _confirmed(progressed, slot.generation) if fact.is_ready else progressed


def _confirmed(fleet: Fleet, generation: int) -> Fleet:
    """Note that a worker works with the settings of its generation. It confirms no newer ones."""
    newest = generation if fleet.last_good_generation is None else max(generation, fleet.last_good_generation)
    return replace(fleet, is_ready=True, last_good_generation=newest)


def _measured(slot: Slot, fact: Measured) -> Slot:
    """Note the sample. The first one after the boot is also the baseline."""
    is_first = slot.baseline_bytes is None and slot.state is not SlotState.STARTING
    return replace(slot, rss_bytes=fact.rss_bytes, baseline_bytes=fact.rss_bytes if is_first else slot.baseline_bytes)


def _exited(fleet: Fleet, before: Slot, slot: Slot, fact: Exited) -> Fleet:
    """Vacate the slot, note the leases to reclaim, and count a crash."""
    if before.pid != fact.pid:
        raise ImpossibleFact(f"pid {fact.pid} exited, but slot {before.number} holds {before.pid}")
    cause = cause_of(before, fact.status, is_oom=fact.is_oom)
    in_hand = fact.job_id, fact.lease_key, is_counted(fact, cause, fleet.spared_job_ids)
    requested = None, fact.next_lease_key, cause.is_crash
    dead = tuple(DeadLease(slot.number, job_id, key, counts) for job_id, key, counts in (in_hand, requested) if key)
    after = replace(
        fleet.with_slot(_vacated(slot, fact, cause)),
        dead_leases=fleet.dead_leases + dead,
        spared_job_ids=spared(fact, cause, fleet.spared_job_ids),
        crashes_since_progress=fleet.crashes_since_progress + (slot.is_worker and cause.is_crash),
        killed_during_drain=fleet.killed_during_drain or _is_killed_by_the_stop(before, cause),
    )
    return _without_bad_configuration(after, before.generation, fact.at_seconds) if fact.is_bad_configuration else after


def _is_killed_by_the_stop(before: Slot, cause: ExitCause) -> bool:
    """A worker that had just left by itself when the SIGKILL was sent was not killed."""
    is_of_the_stop = before.kill_reason in {ActionReason.DRAIN_EXPIRED, ActionReason.STOP_NOW}
    return before.is_worker and is_of_the_stop and cause is not ExitCause.ASKED


def _vacated(slot: Slot, fact: Exited, cause: ExitCause) -> Slot:
    """Return a fresh slot with the totals of the old one. A requested end also ends a row of crashes."""
    run = Run(fact.at_seconds, fact.at_seconds - slot.started_at_seconds, fact.jitter)
    ends = tuple(count + (number == cause) for number, count in enumerate(slot.ends_by_cause))
    return Slot(
        slot.number,
        slot.state,
        slot.since_seconds,
        starts=slot.starts,
        last_status=fact.status,
        last_cause=cause,
        ends_by_cause=ends,
        crash_runs=_with_run(slot, run) if cause.is_crash else (),
    )


def _without_bad_configuration(fleet: Fleet, generation: int, at_seconds: float) -> Fleet:
    """Go back to the last settings that worked. Without any, stop, because no restart can help."""
    if fleet.last_good_generation is None or fleet.last_good_generation >= generation:
        return replace(_stopped(fleet, at_seconds), has_bad_configuration=True)
    if generation != fleet.generation:  # an earlier exit has withdrawn them, or newer settings were read meanwhile
        return fleet
    return replace(fleet, generation=fleet.last_good_generation, reload_problem=ReloadProblem.REJECTED_BY_WORKER)


def _stopped(fleet: Fleet, at_seconds: float) -> Fleet:
    return replace(fleet, stop_asked_at_seconds=fleet.stop_asked_at_seconds or (at_seconds,))


def _scaled(fleet: Fleet, workers: int) -> Fleet:
    """Add slots as needed. None is removed, so that its totals are kept."""
    if not 1 <= workers <= MAX_SLOTS:
        raise ImpossibleFact(f"{workers} workers")
    new = tuple(Slot(number) for number in range(len(fleet.workers), workers))
    return replace(fleet, workers=(*fleet.workers, *new), wanted=workers)


def _recycle_asked(fleet: Fleet, numbers: tuple[int, ...]) -> Fleet:
    for slot in fleet.workers:
        if slot.is_occupied and slot.number in numbers:
            fleet = fleet.with_slot(replace(slot, is_recycle_asked=True))
    return fleet


def _with_run(slot: Slot, run: Run) -> tuple[Run, ...]:
    return (*slot.crash_runs, run)[-MAX_RUNS:]
