"""What to do now: a list of rules, each a pure function of the fleet, the policy and the time.

The rules look at what is, not at what has just happened, so a lost signal or a failed fork needs no code of its own. The
first rule that has something to do with a slot wins.
"""

import itertools
import math
from collections.abc import Callable, Iterator

from supervisor.core.action import Action, Finish, Kill, ReturnLease, Spawn, Terminate
from supervisor.core.fleet import MONITOR, Fleet, Slot, Stage, Why
from supervisor.core.policy import Policy
from worker.scoreboard import ControlRecord

EXIT_DONE, EXIT_CUT_SHORT, EXIT_REFUSED = 0, 75, 78  # EX_TEMPFAIL, EX_CONFIG of sysexits.h

Rule = Callable[[Fleet, Policy, float], Iterator[Action]]


def kill_after_the_drain(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """The drain's end, or a third request to stop, leaves nobody: their leases are given back afterwards."""
    if now_seconds < drain_by(fleet, policy):
        return
    why = Why.STOP_NOW if len(fleet.stop_asked_at_seconds) > 2 else Why.DRAIN_EXPIRED
    for slot in fleet.workers:
        if slot.stage in {Stage.STARTING, Stage.RUNNING, Stage.STOPPING}:
            yield Kill(slot.number, why)


def kill_after_the_grace(fleet: Fleet, _policy: Policy, now_seconds: float) -> Iterator[Action]:
    """SIGTERM was no help: the process hangs where no signal handler runs."""
    for slot in fleet.slots:
        if slot.stage is Stage.STOPPING and now_seconds >= slot.stop_by_seconds:
            yield Kill(slot.number, Why.GRACE_EXPIRED)


def kill_the_last_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """Whatever the monitor is busy with, the end of a stop does not wait for it (invariant 2)."""
    if not fleet.is_stopping or any(slot.is_occupied for slot in fleet.workers):
        return
    is_late = now_seconds >= workers_gone_at(fleet) + policy.release_seconds + policy.tick_seconds
    if is_late and fleet.monitor.stage in {Stage.STARTING, Stage.RUNNING, Stage.STOPPING}:
        yield Kill(MONITOR, Why.GRACE_EXPIRED)


def terminate_for_the_drain(fleet: Fleet, policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Every worker finishes its job and leaves; the idle ones leave at once."""
    if fleet.is_stopping:
        for slot in fleet.workers:
            if slot.stage in {Stage.STARTING, Stage.RUNNING}:
                yield Terminate(slot.number, drain_by(fleet, policy), Why.DRAIN)


def terminate_slow_boots(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """A process that never reached its first promise is stuck in its imports."""
    for slot in fleet.slots:
        if slot.stage is Stage.STARTING and now_seconds >= slot.since_seconds + policy.boot_timeout_seconds:
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, Why.BOOT_TOO_SLOW)


def terminate_broken_promises(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """A deadline passed: the step hangs, whatever the process says otherwise."""
    for slot in fleet.slots:
        if slot.stage is Stage.RUNNING and slot.deadline_seconds is not None and now_seconds > slot.deadline_seconds:
            yield Terminate(slot.number, now_seconds + policy.terminate_grace_seconds, Why.BROKEN_PROMISE)


def return_dead_leases(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """Each monitor is asked once; a new one is asked again, as nobody knows how far its predecessor came."""
    if fleet.monitor.stage is Stage.RUNNING:
        for dead in fleet.dead_leases:
            if dead.sent_to != fleet.monitor.incarnation:
                yield ReturnLease(dead.slot, dead.job_id, dead.lease_key, dead.is_counted, Why.DEATH_IN_A_JOB)


def fill_vacant_slots(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """No slot stays empty, but a crash loop waits longer each time. Never after a request to stop (invariant 2)."""
    if fleet.is_stopping:
        return
    for slot in fleet.slots:
        if slot.stage is Stage.VACANT and now_seconds >= vacant_until(slot, policy):
            yield Spawn(slot.number, Why.REPLACEMENT if slot.starts else Why.FIRST_START)


def dismiss_the_monitor(fleet: Fleet, policy: Policy, now_seconds: float) -> Iterator[Action]:
    """The monitor goes last, when every lease is back or its time for that is over."""
    if not fleet.is_stopping or any(slot.is_occupied for slot in fleet.workers):
        return
    is_late = now_seconds >= workers_gone_at(fleet) + policy.release_seconds
    if fleet.monitor.stage in {Stage.STARTING, Stage.RUNNING} and (is_late or not fleet.dead_leases):
        yield Terminate(MONITOR, now_seconds + policy.release_seconds, Why.LAST_OUT)


def finish(fleet: Fleet, _policy: Policy, _now_seconds: float) -> Iterator[Action]:
    """An empty fleet after a request to stop is the end."""
    if fleet.is_stopping and not any(slot.is_occupied for slot in fleet.slots):
        is_cut_short = fleet.was_cut_short or fleet.dead_leases
        code = EXIT_REFUSED if fleet.is_refused else EXIT_CUT_SHORT if is_cut_short else EXIT_DONE
        yield Finish(code, len(fleet.dead_leases))


RULES: tuple[Rule, ...] = (
    kill_after_the_drain,
    kill_after_the_grace,
    kill_the_last_monitor,
    terminate_for_the_drain,
    terminate_slow_boots,
    terminate_broken_promises,
    return_dead_leases,
    fill_vacant_slots,
    dismiss_the_monitor,
    finish,
)


def decide(fleet: Fleet, policy: Policy, now_seconds: float) -> tuple[Action, ...]:
    """The actions that are due, at most one signal or start per slot. Asked twice it answers the same."""
    chosen: list[Action] = []
    taken: set[int] = set()
    for rule in RULES:
        for action in rule(fleet, policy, now_seconds):
            if isinstance(action, Spawn | Terminate | Kill):
                if action.slot in taken:
                    continue
                taken.add(action.slot)
            chosen.append(action)
    return tuple(chosen)


def wake_at(fleet: Fleet, policy: Policy, now_seconds: float) -> float:
    """When to look again if nothing happens before: the next time that a rule names, or the next tick."""
    times = [now_seconds + policy.tick_seconds, drain_by(fleet, policy)]
    for slot in fleet.slots:
        times.append(vacant_until(slot, policy) if slot.stage is Stage.VACANT else math.inf)
        times.append(slot.stop_by_seconds if slot.stage is Stage.STOPPING else math.inf)
        times.append(slot.since_seconds + policy.boot_timeout_seconds if slot.stage is Stage.STARTING else math.inf)
        times.append(slot.deadline_seconds if slot.stage is Stage.RUNNING and slot.deadline_seconds else math.inf)
    return min(time for time in times if time > now_seconds)


def control(fleet: Fleet, policy: Policy) -> ControlRecord:
    """What every worker is told: how many slots may lease, and by when a drain ends."""
    return ControlRecord(0 if fleet.is_stopping else len(fleet.workers), fleet.is_stopping, drain_by(fleet, policy))


def drain_by(fleet: Fleet, policy: Policy) -> float:
    """The first request to stop leaves the drain timeout, the second shortens what is left, the third leaves nothing."""
    leaves_seconds = (policy.drain_timeout_seconds, policy.drain_shortened_seconds, 0.0)
    return min((at + left for at, left in zip(fleet.stop_asked_at_seconds, leaves_seconds, strict=False)), default=math.inf)


def vacant_until(slot: Slot, policy: Policy) -> float:
    """When a vacant slot may be filled: the wait grows with each life in a row that was too short to be healthy."""
    if not slot.crash_runs:
        return -math.inf
    short = itertools.takewhile(lambda run: run.lived_seconds < policy.healthy_after_seconds, reversed(slot.crash_runs))
    return slot.crash_runs[-1].ended_at_seconds + policy.restart_delay_seconds(len(tuple(short)))


def workers_gone_at(fleet: Fleet) -> float:
    """During a stop, with no worker left: since when. Who was gone before the request counts from the request."""
    return max((*fleet.stop_asked_at_seconds[:1], *(slot.since_seconds for slot in fleet.workers)))
