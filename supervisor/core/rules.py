"""What to do now: a list of rules, each a pure function of the fleet, the policy and the time.

The rules look at what is, not at what has just happened, so a lost signal or a failed fork needs no code of its own. The
first rule that has something to do with a slot wins.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import assert_never

from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.fleet import ALIVE, MONITOR, ActionReason, Fleet, Slot, SlotState
from supervisor.core.policy import Policy
from worker.ipc.scoreboard import ControlRecord

# EX_UNAVAILABLE, EX_TEMPFAIL, EX_CONFIG of sysexits.h
EXIT_DONE, EXIT_GAVE_UP, EXIT_CUT_SHORT, EXIT_REFUSED = 0, 69, 75, 78

Rule = Callable[[Fleet, Policy, float], Iterator[Action]]


def kill_after_the_drain(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """The drain's end, or a third request to stop, leaves nobody: their leases are given back afterwards."""
    if now_seconds < drain_by(fleet, policy):
        return
    why = ActionReason.STOP_NOW if len(fleet.stop_asked_at_seconds) > 2 else ActionReason.DRAIN_EXPIRED
    for slot in fleet.workers:
        if slot.state in ALIVE:
            yield Kill(slot.number, why)


def kill_after_the_grace(fleet: Fleet, _policy: Policy, now_seconds: float) -> Iterator[Action]:
    """SIGTERM was no help: the process hangs where no signal handler runs."""
    for slot in fleet.slots:
        if slot.state is SlotState.STOPPING and now_seconds >= slot.stop_by_seconds:
            yield Kill(slot.number, ActionReason.GRACE_EXPIRED)


def kill_hung_in_a_drain(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Asked to leave, it does not come to its next step or to the end of its boot: no reason to wait for the drain's end."""
    for slot in fleet.workers:
        is_draining = (
            slot.state is SlotState.STOPPING and slot.stop_reason is ActionReason.DRAIN
        )  # else it is in its grace already
        if is_draining and now_seconds > hung_at(slot, policy):
            yield Kill(
                slot.number,
                ActionReason.BOOT_TOO_SLOW if slot.deadline_seconds is None else ActionReason.DEADLINE_EXCEEDED_IN_DRAIN,
            )


def kill_over_the_hard_limit(fleet: Fleet, policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Before the host suffers; a process that allocates without end would not come to a SIGTERM's handler."""
    for slot in fleet.workers:
        if slot.state in ALIVE and _is_over_hard_limit(slot, policy):
            yield Kill(slot.number, ActionReason.OVER_HARD_LIMIT)


def kill_late_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Whatever the monitor is busy with, the end of a stop does not wait for it (invariant 2)."""
    if not fleet.is_stopping or any(slot.is_occupied for slot in fleet.workers):
        return
    is_late = now_seconds >= workers_gone_at(fleet) + policy.release_seconds + policy.tick_seconds
    if is_late and fleet.monitor.state in ALIVE:
        yield Kill(MONITOR, ActionReason.GRACE_EXPIRED)


def terminate_for_the_drain(fleet: Fleet, policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Every worker finishes its job and leaves; the idle ones leave at once."""
    if fleet.is_stopping:
        for slot in fleet.workers:
            if slot.state in {SlotState.STARTING, SlotState.RUNNING}:
                yield Terminate(slot.number, drain_by(fleet, policy), ActionReason.DRAIN)


def terminate_slow_boots(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """A process that never reached its first deadline is stuck in its imports."""
    for slot in fleet.slots:
        if slot.state is SlotState.STARTING and now_seconds >= slot.since_seconds + policy.boot_timeout_seconds:
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, ActionReason.BOOT_TOO_SLOW)


def terminate_exceeded_deadlines(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """A deadline passed: the step hangs, whatever the process says otherwise."""
    for slot in fleet.slots:
        if slot.state is SlotState.RUNNING and _has_exceeded_deadline(slot, now_seconds):
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, ActionReason.DEADLINE_EXCEEDED)


def terminate_the_outdated_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """The monitor takes the new settings last: until the workers have them, it gives back what they leave."""
    is_outdated = fleet.monitor.state is SlotState.RUNNING and fleet.monitor.generation != fleet.generation
    if is_outdated and not fleet.is_reloading and not fleet.is_stopping:
        yield Terminate(MONITOR, now_seconds + policy.terminate_grace_seconds, ActionReason.OUTDATED)


def retire_surplus(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Fewer workers are wanted: those above leave, each after its job."""
    for slot in fleet.workers:
        if slot.number >= fleet.wanted and _can_retire(slot):
            yield Retire(slot.number, ActionReason.SURPLUS)


def recycle_one_worker(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """The first of RECYCLES that wants one, and only while all others work: the fleet is never more than one short."""
    if all(_is_healthy(slot, policy, now_seconds) for slot in fleet.wanted_workers):
        wishes = (action for rule in RECYCLES for action in rule(fleet, policy, now_seconds))
        yield from itertools.islice(wishes, 1)


def retire_over_the_soft_limit(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """It has grown and does not shrink. Looked at while it has no job in hand: what a job needs, it may take and give back."""
    for slot in fleet.workers:
        has_grown = 0 < policy.memory_soft_bytes < slot.rss_bytes - (slot.baseline_bytes or slot.rss_bytes)
        is_old_enough = now_seconds >= slot.started_at_seconds + policy.minimum_lifetime_seconds
        if has_grown and is_old_enough and not slot.is_busy and _can_retire(slot):
            yield Retire(slot.number, ActionReason.OVER_SOFT_LIMIT)


def retire_outdated(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """The settings were read again: one worker after the other is replaced by one that has them."""
    for slot in fleet.workers:
        if slot.generation != fleet.generation and _can_retire(slot):
            yield Retire(slot.number, ActionReason.OUTDATED)


def retire_by_order(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """An operator wants a fresh process in this slot."""
    for slot in fleet.workers:
        if slot.is_recycle_asked and _can_retire(slot):
            yield Retire(slot.number, ActionReason.OPERATOR)


def give_up(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Restart intensity as in OTP, but for all together: one bad slot among good ones means degraded, not down."""
    is_restart_limit_reached = fleet.crashes_since_progress >= policy.restart_intensity and now_seconds >= give_up_at(
        fleet, policy
    )
    if is_restart_limit_reached and not fleet.is_stopping:
        yield GiveUp(ActionReason.NO_PROGRESS)


def reclaim_dead_leases(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Each monitor is asked once; a new one is asked again, as nobody knows how far its predecessor came."""
    if fleet.monitor.state is SlotState.RUNNING:
        for dead in fleet.dead_leases:
            if dead.sent_to != fleet.monitor.incarnation:
                yield ReclaimLease(dead.slot, dead.job_id, dead.lease_key, dead.is_counted, ActionReason.DEATH_IN_A_JOB)


def fill_vacant_slots(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """No wanted slot stays empty, but a crash loop waits longer each time. Never after a request to stop (invariant 2)."""
    if fleet.is_stopping:
        return
    for slot in (*fleet.wanted_workers, fleet.monitor):
        if slot.state is SlotState.VACANT and now_seconds >= vacant_until(slot, policy):
            yield Spawn(slot.number, ActionReason.REPLACEMENT if slot.starts else ActionReason.FIRST_START)


def stop_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """The monitor goes last, when every lease is back or its time for that is over."""
    if not fleet.is_stopping or any(slot.is_occupied for slot in fleet.workers):
        return
    is_late = now_seconds >= workers_gone_at(fleet) + policy.release_seconds
    if fleet.monitor.state in {SlotState.STARTING, SlotState.RUNNING} and (is_late or not fleet.dead_leases):
        yield Terminate(MONITOR, now_seconds + policy.release_seconds, ActionReason.WORKERS_GONE)


def finish(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """An empty fleet after a request to stop is the end."""
    if fleet.is_stopping and not any(slot.is_occupied for slot in fleet.slots):
        is_cut_short = fleet.killed_during_drain or fleet.dead_leases
        codes = ((fleet.is_refused, EXIT_REFUSED), (fleet.gave_up, EXIT_GAVE_UP), (is_cut_short, EXIT_CUT_SHORT))
        yield Finish(next((code for is_so, code in codes if is_so), EXIT_DONE), len(fleet.dead_leases))


RULES: tuple[Rule, ...] = (
    kill_after_the_drain,
    kill_after_the_grace,
    kill_hung_in_a_drain,
    kill_over_the_hard_limit,
    kill_late_monitor,
    terminate_for_the_drain,
    terminate_slow_boots,
    terminate_exceeded_deadlines,
    terminate_the_outdated_monitor,
    retire_surplus,
    recycle_one_worker,
    give_up,
    reclaim_dead_leases,
    fill_vacant_slots,
    stop_monitor,
    finish,
)
RECYCLES: tuple[Rule, ...] = (retire_over_the_soft_limit, retire_outdated, retire_by_order)  # one worker at a time


def decide(fleet: Fleet, policy: Policy, now_seconds: float) -> tuple[Action, ...]:
    """The actions that are due, at most one signal or start per slot. Asked twice it answers the same."""
    chosen: list[Action] = []
    taken: set[int] = set()
    for rule in RULES:
        for action in rule(fleet, policy, now_seconds):
            if isinstance(action, Spawn | Terminate | Kill | Retire):
                if action.slot in taken:
                    continue
                taken.add(action.slot)
            chosen.append(action)
    return tuple(chosen)


def wake_at(fleet: Fleet, policy: Policy, now_seconds: float) -> float:
    """When to look again if nothing happens before: the next time that a rule names, or the next tick."""
    is_busy = any(slot.is_busy or slot.state is SlotState.STARTING for slot in fleet.slots)
    tick_seconds = policy.busy_tick_seconds if is_busy else policy.tick_seconds
    of_slots = (time for slot in fleet.slots for time in _times_of(slot, policy))
    times = (now_seconds + tick_seconds, drain_by(fleet, policy), give_up_at(fleet, policy), *of_slots)
    return min(time for time in times if time > now_seconds)


def _times_of(slot: Slot, policy: Policy) -> tuple[float, ...]:
    """The times at which a rule may have something to do with the slot, as far as they can be known."""
    match slot.state:
        case SlotState.VACANT:
            return (vacant_until(slot, policy),)
        case SlotState.STARTING:
            return (slot.since_seconds + policy.boot_timeout_seconds,)
        case SlotState.RUNNING:
            return () if slot.deadline_seconds is None else (slot.deadline_seconds,)
        case SlotState.STOPPING:
            return slot.stop_by_seconds, hung_at(slot, policy)
        case SlotState.KILLED:
            return ()
        case _:
            assert_never(slot.state)


def control(fleet: Fleet, policy: Policy) -> ControlRecord:
    """What every worker is told: how many slots may lease, by when a drain ends, and who is to leave after the job in hand."""
    leasing = 0 if fleet.is_stopping else fleet.wanted
    retiring = sum(1 << slot.number for slot in fleet.workers if slot.is_retiring)
    return ControlRecord(leasing, fleet.is_stopping, drain_by(fleet, policy), retiring)


def drain_by(fleet: Fleet, policy: Policy) -> float:
    """The first request to stop leaves the drain timeout, the second shortens what is left, the third leaves nothing."""
    leaves_seconds = (policy.drain_timeout_seconds, policy.drain_shortened_seconds, 0.0)
    return min((at + left for at, left in zip(fleet.stop_asked_at_seconds, leaves_seconds, strict=False)), default=math.inf)


def vacant_until(slot: Slot, policy: Policy) -> float:
    """When a vacant slot may be filled: the wait grows with each life in a row that was too short to be healthy.

    A part of it that the world has drawn is due (full jitter, Exponential Backoff And Jitter, AWS 2015), so that slots that
    died together do not come back together; the burst's bound holds however small that part was.
    """
    if not slot.crash_runs:
        return -math.inf
    short = itertools.takewhile(lambda run: run.lived_seconds < policy.healthy_after_seconds, reversed(slot.crash_runs))
    last = slot.crash_runs[-1]
    drawn_until = last.ended_at_seconds + last.jitter * policy.restart_delay_seconds(len(tuple(short)))
    burst = slot.crash_runs[-policy.burst_starts :]
    is_burst = len(burst) == policy.burst_starts
    return max(drawn_until, burst[0].started_at_seconds + policy.burst_seconds) if is_burst else drawn_until


def hung_at(slot: Slot, policy: Policy) -> float:
    """When a process that was asked to leave has had its deadline, or the time of a boot, and the grace beyond it."""
    boot_ends_at = slot.started_at_seconds + policy.boot_timeout_seconds
    promised_by = boot_ends_at if slot.deadline_seconds is None else slot.deadline_seconds
    return promised_by + policy.terminate_grace_seconds


def give_up_at(fleet: Fleet, policy: Policy) -> float:
    """Until when a fleet of which nobody makes progress is given a chance."""
    since_seconds = fleet.last_progress_seconds
    return math.inf if since_seconds is None else since_seconds + policy.restart_window_seconds


def workers_gone_at(fleet: Fleet) -> float:
    """During a stop, with no worker left: since when. Who was gone before the request counts from the request."""
    return max((*fleet.stop_asked_at_seconds[:1], *(slot.since_seconds for slot in fleet.workers)))


def _can_retire(slot: Slot) -> bool:
    return slot.state is SlotState.RUNNING and not slot.is_retiring


def _has_exceeded_deadline(slot: Slot, now_seconds: float) -> bool:
    return slot.deadline_seconds is not None and now_seconds > slot.deadline_seconds


def _is_over_hard_limit(slot: Slot, policy: Policy) -> bool:
    return 0 < policy.memory_hard_bytes < slot.rss_bytes


def _is_healthy(slot: Slot, policy: Policy, now_seconds: float) -> bool:
    """And no rule is about to end it."""
    is_well = not _has_exceeded_deadline(slot, now_seconds) and not _is_over_hard_limit(slot, policy)
    return slot.state is SlotState.RUNNING and not slot.is_retiring and is_well
