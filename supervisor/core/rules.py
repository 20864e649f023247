"""The rules: each is a pure function of the fleet, the policy and the time, and yields the actions that are due.

A rule depends on the present state and not on the last fact, so a lost signal or a failed fork needs no code of its own.
The first rule that yields an action for a slot wins.
"""

import math
from collections.abc import Callable, Iterator
from typing import assert_never

from supervisor import exit_codes
from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.fleet import ALIVE, MONITOR, ActionReason, Fleet, Slot, SlotState
from supervisor.core.policy import Policy
from worker.ipc.scoreboard import ControlRecord

Rule = Callable[[Fleet, Policy, float], Iterator[Action]]


def kill_after_the_drain(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Kill all workers at the end of the drain or at the third request to stop. Their leases are reclaimed afterwards."""
    if now_seconds < drain_by(fleet, policy):
        return
    why = ActionReason.STOP_NOW if len(fleet.stop_asked_at_seconds) > 2 else ActionReason.DRAIN_EXPIRED
    for slot in fleet.workers:
        if slot.state in ALIVE:
            yield Kill(slot.number, why)


def kill_after_the_grace(fleet: Fleet, _policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Kill a process that did not leave after SIGTERM, because it hangs where no signal handler runs."""
    for slot in fleet.slots:
        if slot.state is SlotState.STOPPING and now_seconds >= slot.stop_by_seconds:
            yield Kill(slot.number, ActionReason.GRACE_EXPIRED)


def kill_hung_in_a_drain(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Kill a draining worker whose step or boot takes too long, because the drain would wait for it until its end."""
    for slot in fleet.workers:
        is_draining = slot.state is SlotState.STOPPING and slot.stop_reason is ActionReason.DRAIN  # else its grace runs already
        is_in_boot = slot.deadline_seconds is None
        if is_draining and now_seconds > hung_at(slot, policy):
            yield Kill(slot.number, ActionReason.BOOT_TOO_SLOW if is_in_boot else ActionReason.DEADLINE_EXCEEDED_IN_DRAIN)


def kill_over_the_hard_limit(fleet: Fleet, policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Kill a worker above the hard limit, because a process that allocates without end never runs its SIGTERM handler."""
    for slot in fleet.workers:
        if slot.state in ALIVE and _is_over_hard_limit(slot, policy):
            yield Kill(slot.number, ActionReason.OVER_HARD_LIMIT)


def kill_late_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Kill a monitor that still runs a tick after the time for reclaiming leases (invariant 2)."""
    if now_seconds >= monitor_late_at(fleet, policy) and fleet.monitor.state in ALIVE:
        yield Kill(MONITOR, ActionReason.GRACE_EXPIRED)


def terminate_for_the_drain(fleet: Fleet, policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Ask every worker to leave after a request to stop: at once if it is idle, else after its job."""
    if fleet.is_stopping:
        for slot in fleet.workers:
            if slot.state in {SlotState.STARTING, SlotState.RUNNING}:
                yield Terminate(slot.number, drain_by(fleet, policy), ActionReason.DRAIN)


def terminate_slow_boots(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Terminate a process that has not written its first deadline in time, because its imports hang."""
    for slot in fleet.slots:
        if slot.state is SlotState.STARTING and now_seconds >= slot.since_seconds + policy.boot_timeout_seconds:
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, ActionReason.BOOT_TOO_SLOW)


def terminate_exceeded_deadlines(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Terminate a process whose deadline has passed, because its step hangs."""
    for slot in fleet.slots:
        if slot.state is SlotState.RUNNING and _has_exceeded_deadline(slot, now_seconds):
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, ActionReason.DEADLINE_EXCEEDED)


def terminate_for_an_unused_permit(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Replace all workers when one has waited for a permit longer than any step takes and none is in a call.

    A session of this instance, also that of an idle worker, may hold a permit that its worker has no record of. The end of a
    session frees everything that it holds. The new workers begin new waits, so this happens at most once in the longest step.
    """
    if now_seconds < permits_unused_at(fleet, policy) or fleet.is_stopping:
        return
    for slot in fleet.workers:
        if slot.state is SlotState.RUNNING:
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, ActionReason.PERMIT_UNUSED)


def terminate_the_outdated_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Replace the monitor last after a reload, because it reclaims the leases of workers that die meanwhile."""
    is_outdated = fleet.monitor.state is SlotState.RUNNING and fleet.monitor.generation != fleet.generation
    if is_outdated and not fleet.is_reloading and not fleet.is_stopping:
        yield Terminate(MONITOR, now_seconds + policy.terminate_grace_seconds, ActionReason.OUTDATED)


def retire_surplus(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Ask the workers above the wanted number to leave, each after its job."""
    for slot in fleet.workers:
        if slot.number >= fleet.wanted and _can_retire(slot):
            yield Retire(slot.number, ActionReason.SURPLUS)


def recycle_one_worker(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Replace one healthy worker while all others are healthy, so that the fleet is never more than one worker short."""
    if not all(_is_healthy(slot, policy, now_seconds) for slot in fleet.wanted_workers):
        return
    for rule in RECYCLES:
        for action in rule(fleet, policy, now_seconds):
            yield action
            return


def retire_over_the_soft_limit(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Replace a worker that has grown by the soft limit. Only an idle one counts, because a job may need memory for a time."""
    for slot in fleet.workers:
        has_grown = 0 < policy.memory_soft_bytes < slot.rss_bytes - (slot.baseline_bytes or slot.rss_bytes)
        is_old_enough = now_seconds >= slot.started_at_seconds + policy.minimum_lifetime_seconds
        if has_grown and is_old_enough and not slot.is_busy and _can_retire(slot):
            yield Retire(slot.number, ActionReason.OVER_SOFT_LIMIT)


def retire_outdated(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Replace a worker that runs with the settings of another generation."""
    for slot in fleet.workers:
        if slot.generation != fleet.generation and _can_retire(slot):
            yield Retire(slot.number, ActionReason.OUTDATED)


def retire_by_command(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Replace a worker on an operator's command."""
    for slot in fleet.workers:
        if slot.is_recycle_asked and _can_retire(slot):
            yield Retire(slot.number, ActionReason.OPERATOR)


def give_up(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Stop after crashes without progress: OTP's restart intensity, but for all slots together.

    One slot that only crashes among healthy ones makes the service degraded. It does not end it.
    """
    has_too_many_crashes = fleet.crashes_since_progress >= policy.restart_intensity
    if has_too_many_crashes and now_seconds >= give_up_at(fleet, policy) and not fleet.is_stopping:
        yield GiveUp(ActionReason.NO_PROGRESS)


def reclaim_dead_leases(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Ask the monitor to reclaim the leases of dead workers.

    A new monitor is asked again, because the progress of its predecessor is unknown.
    """
    if fleet.monitor.state is SlotState.RUNNING:
        for dead in fleet.dead_leases:
            if dead.asked_monitor != fleet.monitor.incarnation:
                yield ReclaimLease(dead.slot, dead.job_id, dead.lease_key, dead.is_counted, ActionReason.DEATH_IN_A_JOB)


def fill_vacant_slots(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Start a process in each wanted vacant slot when its backoff is over. None starts after a request to stop (invariant 2)."""
    if fleet.is_stopping:
        return
    for slot in (*fleet.wanted_workers, fleet.monitor):
        if slot.state is SlotState.VACANT and now_seconds >= vacant_until(slot, policy):
            yield Spawn(slot.number, ActionReason.REPLACEMENT if slot.starts else ActionReason.FIRST_START)


def stop_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Stop the monitor last, when every lease is reclaimed or the time for that is over."""
    if not fleet.is_stopping or any(slot.is_occupied for slot in fleet.workers):
        return
    is_late = now_seconds >= workers_gone_at(fleet) + policy.reclaim_seconds
    if fleet.monitor.state in {SlotState.STARTING, SlotState.RUNNING} and (is_late or not fleet.dead_leases):
        yield Terminate(MONITOR, now_seconds + policy.reclaim_seconds, ActionReason.WORKERS_GONE)


def finish(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Leave when no process is left after a request to stop."""
    if fleet.is_stopping and not any(slot.is_occupied for slot in fleet.slots):
        yield Finish(_exit_code(fleet), len(fleet.dead_leases))


RULES: tuple[Rule, ...] = (
    kill_after_the_drain,
    kill_after_the_grace,
    kill_hung_in_a_drain,
    kill_over_the_hard_limit,
    kill_late_monitor,
    terminate_for_the_drain,
    terminate_slow_boots,
    terminate_exceeded_deadlines,
    terminate_for_an_unused_permit,
    terminate_the_outdated_monitor,
    retire_surplus,
    recycle_one_worker,
    give_up,
    reclaim_dead_leases,
    fill_vacant_slots,
    stop_monitor,
    finish,
)
# Of all these rules together, one worker at a time is replaced.
RECYCLES: tuple[Rule, ...] = (retire_over_the_soft_limit, retire_outdated, retire_by_command)


def decide(fleet: Fleet, policy: Policy, now_seconds: float) -> tuple[Action, ...]:
    """Return the actions that are due, at most one start, signal or retirement per slot. Equal arguments give equal actions."""
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
    """Return the time of the next decision if no fact comes before: the next time that a rule depends on, or the next tick."""
    is_busy = any(slot.is_busy or slot.state is SlotState.STARTING for slot in fleet.slots)
    tick_seconds = policy.busy_tick_seconds if is_busy else policy.tick_seconds
    of_slots = (time for slot in fleet.slots for time in _times_of(slot, policy))
    of_the_fleet = (time(fleet, policy) for time in (drain_by, give_up_at, permits_unused_at, monitor_late_at))
    times = (now_seconds + tick_seconds, *of_the_fleet, *of_slots)
    return min(time for time in times if time > now_seconds)


def _times_of(slot: Slot, policy: Policy) -> tuple[float, ...]:
    """Return the known times at which a rule may yield an action for the slot."""
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
    """Return the record that all workers read: how many slots may lease, the end of the drain, and the retiring slots."""
    leasing = 0 if fleet.is_stopping else fleet.wanted
    retiring = sum(1 << slot.number for slot in fleet.workers if slot.is_retiring)
    return ControlRecord(leasing, fleet.is_stopping, drain_by(fleet, policy), retiring)


def drain_by(fleet: Fleet, policy: Policy) -> float:
    """Return the end of the drain. The second request to stop shortens it, and the third ends it at once."""
    left_seconds = (policy.drain_timeout_seconds, policy.drain_shortened_seconds, 0.0)
    return min((at + left for at, left in zip(fleet.stop_asked_at_seconds, left_seconds, strict=False)), default=math.inf)


def vacant_until(slot: Slot, policy: Policy) -> float:
    """Return the time from which a vacant slot may be filled: after its backoff, and within the bound of starts per minute."""
    if not slot.crash_runs:
        return -math.inf
    return max(_backoff_until(slot, policy), _burst_until(slot, policy))


def _backoff_until(slot: Slot, policy: Policy) -> float:
    """Return the end of the wait after the last crash. It grows with each life in a row that was too short to be healthy.

    The drawn part of the wait is due (full jitter: Exponential Backoff And Jitter, AWS 2015), so that slots that crashed
    together do not start together.
    """
    last = slot.crash_runs[-1]
    return last.ended_at_seconds + last.jitter * policy.restart_delay_seconds(_short_lives(slot, policy))


def _short_lives(slot: Slot, policy: Policy) -> int:
    """Count the lives since the last healthy one."""
    for count, run in enumerate(reversed(slot.crash_runs)):
        if run.lived_seconds >= policy.healthy_after_seconds:
            return count
    return len(slot.crash_runs)


def _burst_until(slot: Slot, policy: Policy) -> float:
    """Return the time from which one more start keeps the bound of `burst_starts` in `burst_seconds`, whatever was drawn."""
    burst = slot.crash_runs[-policy.burst_starts :]
    is_full = len(burst) == policy.burst_starts
    return burst[0].started_at_seconds + policy.burst_seconds if is_full else -math.inf


def hung_at(slot: Slot, policy: Policy) -> float:
    """Return the time at which a draining process counts as hung: the end of its step or boot, and the grace period after it."""
    boot_ends_at = slot.started_at_seconds + policy.boot_timeout_seconds
    deadline_seconds = boot_ends_at if slot.deadline_seconds is None else slot.deadline_seconds
    return deadline_seconds + policy.terminate_grace_seconds


def give_up_at(fleet: Fleet, policy: Policy) -> float:
    """Return the time at which the supervisor gives up if no worker makes progress."""
    since_seconds = fleet.last_progress_seconds
    return math.inf if since_seconds is None else since_seconds + policy.restart_window_seconds


def permits_unused_at(fleet: Fleet, policy: Policy) -> float:
    """Return the time from which the wait for a permit counts as futile. There is none while a worker is in a call."""
    waits = [slot.permit_since_seconds for slot in fleet.workers if slot.permit_since_seconds is not None and _is_running(slot)]
    if not waits or any(slot.is_in_call for slot in fleet.workers if slot.is_occupied):
        return math.inf
    return min(waits) + policy.longest_step_seconds


def monitor_late_at(fleet: Fleet, policy: Policy) -> float:
    """Return the time from which a monitor is killed that still runs after the last worker of a stopping fleet."""
    if not fleet.is_stopping or any(slot.is_occupied for slot in fleet.workers):
        return math.inf
    return workers_gone_at(fleet) + policy.reclaim_seconds + policy.tick_seconds


def workers_gone_at(fleet: Fleet) -> float:
    """Return when the last worker of a stopping fleet left, or when the stop was requested if that was later."""
    return max((*fleet.stop_asked_at_seconds[:1], *(slot.since_seconds for slot in fleet.workers)))


def _exit_code(fleet: Fleet) -> int:
    if fleet.has_bad_configuration:
        return exit_codes.EX_CONFIG
    if fleet.gave_up:
        return exit_codes.GAVE_UP
    return exit_codes.CUT_SHORT if fleet.killed_during_drain or fleet.dead_leases else exit_codes.OK


def _is_running(slot: Slot) -> bool:
    return slot.state is SlotState.RUNNING


def _can_retire(slot: Slot) -> bool:
    return slot.state is SlotState.RUNNING and not slot.is_retiring


def _has_exceeded_deadline(slot: Slot, now_seconds: float) -> bool:
    return slot.deadline_seconds is not None and now_seconds > slot.deadline_seconds


def _is_over_hard_limit(slot: Slot, policy: Policy) -> bool:
    return 0 < policy.memory_hard_bytes < slot.rss_bytes


def _is_healthy(slot: Slot, policy: Policy, now_seconds: float) -> bool:
    """True if the worker runs, and no rule is about to end it."""
    is_well = not _has_exceeded_deadline(slot, now_seconds) and not _is_over_hard_limit(slot, policy)
    return slot.state is SlotState.RUNNING and not slot.is_retiring and is_well
