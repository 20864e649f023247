"""The rules of `decide`: an example row for each, the precedence among them, and the bounds that follow."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

import pytest

from supervisor.core import rules as rulebook
from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.apply import apply
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    GaveUp,
    Killed,
    ReclaimSent,
    Retired,
    Spawned,
    SpawnFailed,
    StopAsked,
    Terminated,
)
from supervisor.core.fleet import MONITOR, ActionReason, DeadLease, Fleet, Run, Slot, SlotState
from supervisor.core.policy import Policy
from supervisor.core.rules import (
    RECYCLES,
    RULES,
    Rule,
    control,
    decide,
    drain_by,
    fill_vacant_slots,
    finish,
    give_up,
    kill_after_the_drain,
    kill_after_the_grace,
    kill_hung_in_a_drain,
    kill_late_monitor,
    kill_over_the_hard_limit,
    reclaim_dead_leases,
    recycle_one_worker,
    retire_by_command,
    retire_outdated,
    retire_over_the_soft_limit,
    retire_surplus,
    stop_monitor,
    terminate_exceeded_deadlines,
    terminate_for_an_unused_permit,
    terminate_for_the_drain,
    terminate_slow_boots,
    terminate_the_outdated_monitor,
    vacant_until,
    wake_at,
)
from worker.ipc.scoreboard import ControlRecord

NOW = 1000.0
INSTANT = 0.001
POLICY = Policy(
    tick_seconds=1,
    boot_timeout_seconds=30,
    terminate_grace_seconds=4,
    drain_timeout_seconds=60,
    drain_shortened_seconds=7,
    reclaim_seconds=2,
    backoff_seconds=1,
    backoff_max_seconds=50,
    healthy_after_seconds=10,
    burst_starts=8,
    burst_seconds=60,
    restart_window_seconds=90,
    restart_intensity=3,
    memory_soft_bytes=100,
    memory_hard_bytes=1000,
    minimum_lifetime_seconds=20,
    longest_step_seconds=80,
)
DRAIN_JUST_OVER = (NOW - 60,)
ASKED_NOW = (NOW,)
JOB, KEY, OTHER_KEY = UUID(int=1), UUID(int=2), UUID(int=3)


def vacant(number: int = 0, *, since: float = 0.0, runs: tuple[Run, ...] = (), starts: int = 1) -> Slot:
    return Slot(number, SlotState.VACANT, since, crash_runs=runs, starts=starts)


def starting(number: int = 0, *, since: float = NOW) -> Slot:
    return Slot(number, SlotState.STARTING, since, pid=100 + number, incarnation=7, started_at_seconds=since, starts=1)


def running(number: int = 0, *, deadline: float = math.inf) -> Slot:
    return replace(starting(number, since=0.0), state=SlotState.RUNNING, deadline_seconds=deadline)


def stopping(
    number: int = 0, *, stop_by: float = math.inf, why: ActionReason = ActionReason.DRAIN, deadline: float = math.inf
) -> Slot:
    return replace(running(number, deadline=deadline), state=SlotState.STOPPING, stop_by_seconds=stop_by, stop_reason=why)


def grown(number: int = 0, *, by: int = 101, lived: float = 20) -> Slot:
    """Return a worker that held 50 bytes after its boot."""
    return replace(running(number), started_at_seconds=NOW - lived, baseline_bytes=50, rss_bytes=50 + by)


def retiring(number: int = 0, why: ActionReason = ActionReason.OUTDATED) -> Slot:
    return replace(running(number), retire_reason=why)


def killed(number: int = 0) -> Slot:
    return replace(stopping(number, stop_by=0.0), state=SlotState.KILLED)


def fleet(*workers: Slot, monitor: Slot | None = None, asked: tuple[float, ...] = (), dead: tuple[DeadLease, ...] = ()) -> Fleet:
    """Return these workers and a healthy monitor."""
    return Fleet(workers, monitor or running(MONITOR), len(workers), asked, dead)


def reloaded(*workers: Slot, monitor: Slot | None = None) -> Fleet:
    """Return these workers after a reload, forked with settings of generation 0 unless they have another one."""
    return replace(fleet(*workers, monitor=monitor or current(running(MONITOR))), generation=1)


def current(slot: Slot) -> Slot:
    return replace(slot, generation=1)


def in_permit(number: int = 0, *, since: float = NOW - 80) -> Slot:
    return replace(running(number), is_busy=True, permit_since_seconds=since)


def in_call(slot: Slot) -> Slot:
    return replace(slot, is_busy=True, is_in_call=True)


def to_recycle(slot: Slot) -> Slot:
    return replace(slot, is_recycle_asked=True)


def at_restart_limit(*, crashes: int = 3, idle: float = 90) -> Fleet:
    return replace(fleet(starting(), starting(1)), crashes_since_progress=crashes, last_progress_seconds=NOW - idle)


def dead_lease(key: UUID = KEY, *, asked_monitor: int = 0) -> DeadLease:
    return DeadLease(0, JOB, key, is_counted=True, asked_monitor=asked_monitor)


@dataclass(frozen=True)
class Row:
    """A fleet and the actions for it. Without `rule` the actions would be others."""

    rule: Rule
    fleet: Fleet
    actions: tuple[Action, ...]


HUNG = running(deadline=NOW - INSTANT)
WORKERS_GONE = Terminate(MONITOR, NOW + 2, ActionReason.WORKERS_GONE)
RETURN = ReclaimLease(0, JOB, KEY, is_counted=True, why=ActionReason.DEATH_IN_A_JOB)
NO_WORKERS = (vacant(0), vacant(1))

ROWS = {
    "drain is over": Row(
        kill_after_the_drain,
        fleet(stopping(0), stopping(1), asked=DRAIN_JUST_OVER),
        (Kill(0, ActionReason.DRAIN_EXPIRED), Kill(1, ActionReason.DRAIN_EXPIRED)),
    ),
    "drain is over for a worker without a SIGTERM": Row(
        kill_after_the_drain, fleet(running(), asked=DRAIN_JUST_OVER), (Kill(0, ActionReason.DRAIN_EXPIRED),)
    ),
    "second request shortened the drain": Row(
        kill_after_the_drain, fleet(stopping(), asked=(NOW - 8, NOW - 7)), (Kill(0, ActionReason.DRAIN_EXPIRED),)
    ),
    "third request is now": Row(
        kill_after_the_drain,
        fleet(starting(0), running(1), stopping(2), asked=(NOW - 1, NOW - 1, NOW)),
        tuple(Kill(number, ActionReason.STOP_NOW) for number in range(3)),
    ),
    "grace is over": Row(
        kill_after_the_grace,
        fleet(stopping(stop_by=NOW, why=ActionReason.DEADLINE_EXCEEDED)),
        (Kill(0, ActionReason.GRACE_EXPIRED),),
    ),
    "grace of the monitor is over": Row(
        kill_after_the_grace,
        fleet(running(), monitor=stopping(MONITOR, stop_by=NOW, why=ActionReason.WORKERS_GONE)),
        (Kill(MONITOR, ActionReason.GRACE_EXPIRED),),
    ),
    "deadline is exceeded in a drain": Row(
        kill_hung_in_a_drain,
        fleet(stopping(0, deadline=NOW - 4 - INSTANT), stopping(1), asked=ASKED_NOW),
        (Kill(0, ActionReason.DEADLINE_EXCEEDED_IN_DRAIN),),
    ),
    "boot is too slow in a drain": Row(
        kill_hung_in_a_drain,
        fleet(
            replace(stopping(0, deadline=1.0), started_at_seconds=NOW - 34 - INSTANT, deadline_seconds=None),
            replace(stopping(1), started_at_seconds=NOW - 34, deadline_seconds=None),
            asked=ASKED_NOW,
        ),
        (Kill(0, ActionReason.BOOT_TOO_SLOW),),
    ),
    "memory is over the hard limit": Row(
        kill_over_the_hard_limit,
        fleet(*(replace(slot, rss_bytes=1001) for slot in (starting(0), running(1), stopping(2)))),
        tuple(Kill(number, ActionReason.OVER_HARD_LIMIT) for number in range(3)),
    ),
    "the monitor holds up the end of a stop": Row(
        kill_late_monitor,
        fleet(
            vacant(0, since=NOW - 3),
            vacant(1, since=NOW - 3),
            asked=(NOW - 4,),
            monitor=stopping(MONITOR, stop_by=NOW + 300, why=ActionReason.DEADLINE_EXCEEDED),
        ),
        (Kill(MONITOR, ActionReason.GRACE_EXPIRED),),
    ),
    "first request drains": Row(
        terminate_for_the_drain,
        fleet(starting(0), running(1), asked=ASKED_NOW),
        (Terminate(0, NOW + 60, ActionReason.DRAIN), Terminate(1, NOW + 60, ActionReason.DRAIN)),
    ),
    "boot is too slow": Row(
        terminate_slow_boots, fleet(starting(since=NOW - 30)), (Terminate(0, NOW + 4, ActionReason.BOOT_TOO_SLOW),)
    ),
    "boot of the monitor is too slow": Row(
        terminate_slow_boots,
        fleet(running(), monitor=starting(MONITOR, since=NOW - 30)),
        (Terminate(MONITOR, NOW + 4, ActionReason.BOOT_TOO_SLOW),),
    ),
    "deadline is exceeded": Row(
        terminate_exceeded_deadlines, fleet(HUNG), (Terminate(0, NOW + 4, ActionReason.DEADLINE_EXCEEDED),)
    ),
    "deadline of the monitor is exceeded": Row(
        terminate_exceeded_deadlines,
        fleet(running(), monitor=running(MONITOR, deadline=NOW - INSTANT)),
        (Terminate(MONITOR, NOW + 4, ActionReason.DEADLINE_EXCEEDED),),
    ),
    "a permit that no worker uses": Row(
        terminate_for_an_unused_permit,
        fleet(in_permit(0), in_permit(1, since=NOW), running(2), stopping(3), starting(4)),
        tuple(Terminate(number, NOW + 4, ActionReason.PERMIT_UNUSED) for number in range(3)),
    ),
    "the monitor is the last with the old settings": Row(
        terminate_the_outdated_monitor,
        reloaded(current(running(0)), current(running(1)), monitor=running(MONITOR)),
        (Terminate(MONITOR, NOW + 4, ActionReason.OUTDATED),),
    ),
    "fewer workers are wanted": Row(
        retire_surplus,
        replace(fleet(running(0), running(1), running(2)), wanted=1),
        (Retire(1, ActionReason.SURPLUS), Retire(2, ActionReason.SURPLUS)),
    ),
    "one worker at a time": Row(
        recycle_one_worker,
        fleet(to_recycle(running(0)), to_recycle(running(1)), grown(2)),
        (Retire(2, ActionReason.OVER_SOFT_LIMIT),),
    ),
    "surplus workers are no reason to wait": Row(
        recycle_one_worker,
        replace(fleet(to_recycle(running(0)), retiring(1, ActionReason.SURPLUS), vacant(2)), wanted=1),
        (Retire(0, ActionReason.OPERATOR),),
    ),
    "memory is over the soft limit": Row(
        retire_over_the_soft_limit, fleet(grown(0), running(1)), (Retire(0, ActionReason.OVER_SOFT_LIMIT),)
    ),
    "settings were read again": Row(
        retire_outdated, reloaded(current(running(0)), running(1), running(2)), (Retire(1, ActionReason.OUTDATED),)
    ),
    "settings were withdrawn": Row(retire_outdated, fleet(current(running())), (Retire(0, ActionReason.OUTDATED),)),
    "an operator wants a new process": Row(
        retire_by_command, fleet(running(0), to_recycle(running(1))), (Retire(1, ActionReason.OPERATOR),)
    ),
    "nothing but crashes": Row(give_up, at_restart_limit(), (GiveUp(ActionReason.NO_PROGRESS),)),
    "lease of a dead worker": Row(reclaim_dead_leases, fleet(running(), dead=(dead_lease(),)), (RETURN,)),
    "lease that was requested of an earlier monitor": Row(
        reclaim_dead_leases, fleet(running(), dead=(dead_lease(asked_monitor=6),)), (RETURN,)
    ),
    "two leases of one slot": Row(
        reclaim_dead_leases,
        fleet(running(), dead=(dead_lease(), dead_lease(OTHER_KEY))),
        (RETURN, replace(RETURN, lease_key=OTHER_KEY)),
    ),
    "lease while the fleet drains": Row(
        reclaim_dead_leases, fleet(vacant(since=NOW), asked=ASKED_NOW, dead=(dead_lease(),)), (RETURN,)
    ),
    "first start": Row(
        fill_vacant_slots,
        Fleet.of(1),
        (Spawn(0, ActionReason.FIRST_START), Spawn(MONITOR, ActionReason.FIRST_START)),
    ),
    "only wanted slots are filled": Row(
        fill_vacant_slots,
        replace(fleet(vacant(0), vacant(1), monitor=vacant(MONITOR)), wanted=1),
        (Spawn(0, ActionReason.REPLACEMENT), Spawn(MONITOR, ActionReason.REPLACEMENT)),
    ),
    "replacement": Row(fill_vacant_slots, fleet(vacant()), (Spawn(0, ActionReason.REPLACEMENT),)),
    "backoff is over": Row(
        fill_vacant_slots, fleet(vacant(runs=(Run(NOW - 2, 0.0), Run(NOW - 1, 0.0)))), (Spawn(0, ActionReason.REPLACEMENT),)
    ),
    "workers are gone": Row(stop_monitor, fleet(*NO_WORKERS, asked=ASKED_NOW), (WORKERS_GONE,)),
    "workers are gone and the monitor still boots": Row(
        stop_monitor, fleet(*NO_WORKERS, asked=ASKED_NOW, monitor=starting(MONITOR)), (WORKERS_GONE,)
    ),
    "time to return leases is over": Row(
        stop_monitor,
        fleet(vacant(0), vacant(1, since=NOW - 2), asked=(NOW - 3,), dead=(dead_lease(asked_monitor=7),)),
        (WORKERS_GONE,),
    ),
    "time to return leases counts from the first request": Row(
        stop_monitor,
        fleet(vacant(), asked=(NOW - 2, NOW), dead=(dead_lease(asked_monitor=7),)),
        (WORKERS_GONE,),
    ),
    "no process is left": Row(finish, fleet(*NO_WORKERS, asked=ASKED_NOW, monitor=vacant(MONITOR)), (Finish(0),)),
    "a worker was killed during the stop": Row(
        finish, replace(fleet(*NO_WORKERS, asked=ASKED_NOW, monitor=vacant(MONITOR)), killed_during_drain=True), (Finish(75),)
    ),
    "a lease is left at the end": Row(
        finish, fleet(*NO_WORKERS, asked=ASKED_NOW, monitor=vacant(MONITOR), dead=(dead_lease(),)), (Finish(75, leases_left=1),)
    ),
    "the configuration is bad": Row(
        finish,
        replace(
            fleet(*NO_WORKERS, asked=ASKED_NOW, monitor=vacant(MONITOR)),
            killed_during_drain=True,
            gave_up=True,
            has_bad_configuration=True,
        ),
        (Finish(78),),
    ),
    "no worker made progress": Row(
        finish,
        replace(fleet(*NO_WORKERS, asked=ASKED_NOW, monitor=vacant(MONITOR)), killed_during_drain=True, gave_up=True),
        (Finish(69),),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_fleet_has_exactly_the_actions_of_its_row(row: Row) -> None:
    """Exactly the row's actions are decided for its fleet."""
    assert decide(row.fleet, POLICY, NOW) == row.actions


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_example_needs_its_rule(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the row's rule none of the row's actions is decided, so no other rule covers it."""
    for rules in ("RULES", "RECYCLES"):
        monkeypatch.setattr(rulebook, rules, tuple(rule for rule in getattr(rulebook, rules) if rule is not row.rule))
    assert not set(row.actions) & set(decide(row.fleet, POLICY, NOW))


@pytest.mark.parametrize("rule", [*RULES, *RECYCLES])
def test_every_rule_has_an_example(rule: Rule) -> None:
    """Each rule has a row that needs it."""
    assert any(row.rule is rule for row in ROWS.values())


QUIET = {
    "all is well": fleet(running(0, deadline=NOW + 1), running(1)),
    "drain is not over": fleet(stopping(), asked=(NOW - 60 + INSTANT,)),
    "second request leaves some time": fleet(stopping(), asked=(NOW - 8, NOW - 7 + INSTANT)),
    "grace is not over": fleet(stopping(stop_by=NOW + INSTANT, why=ActionReason.DEADLINE_EXCEEDED)),
    "deadline in a drain has its grace": fleet(stopping(deadline=NOW - 4), asked=ASKED_NOW),
    "deadline was exceeded long ago, but the grace has just begun": fleet(
        stopping(stop_by=NOW + 4, why=ActionReason.DEADLINE_EXCEEDED, deadline=NOW - 60)
    ),
    "memory is just within the hard limit": fleet(replace(running(), rss_bytes=1000)),
    "memory of the monitor has no limit": fleet(running(), monitor=replace(running(MONITOR), rss_bytes=1001)),
    "killed for its memory and not yet reaped": fleet(replace(killed(), rss_bytes=1001)),
    "memory is just within the soft limit": fleet(grown(by=100)),
    "a spike in a job": fleet(replace(grown(), is_busy=True)),
    "grown too early": fleet(grown(lived=20 - INSTANT)),
    "nothing to compare its memory with": fleet(replace(grown(), baseline_bytes=None)),
    "a neighbour is retiring": fleet(grown(0), retiring(1)),
    "a neighbour boots": fleet(to_recycle(running(0)), starting(1)),
    "a neighbour is in its grace period": reloaded(running(0), current(stopping(1, why=ActionReason.DEADLINE_EXCEEDED))),
    "asked to retire already": replace(fleet(retiring(0), retiring(1, ActionReason.SURPLUS)), wanted=1),
    "surplus and still booting": replace(fleet(running(0), starting(1)), wanted=1),
    "surplus and vacant": replace(fleet(running(0), vacant(1)), wanted=1),
    "an outdated monitor waits for the last worker": reloaded(retiring(), monitor=running(MONITOR)),
    "an outdated monitor that boots": reloaded(current(running()), monitor=starting(MONITOR)),
    "an outdated monitor in a stop": replace(
        reloaded(current(stopping()), monitor=running(MONITOR)), stop_asked_at_seconds=ASKED_NOW
    ),
    "the wait for a permit is not longer than a step": fleet(in_permit(since=NOW - 80 + INSTANT), running(1)),
    "the permit is used": fleet(in_permit(0), in_call(running(1))),
    "the permit is used until the end of its worker": fleet(
        in_permit(0), in_call(stopping(1, why=ActionReason.DEADLINE_EXCEEDED)), in_permit(2)
    ),
    "a worker that waits for a permit is leaving": fleet(
        replace(in_permit(0), state=SlotState.STOPPING, stop_by_seconds=math.inf), running(1)
    ),
    "too few crashes to give up": at_restart_limit(crashes=2),
    "too early to give up": at_restart_limit(idle=90 - INSTANT),
    "gave up already": replace(at_restart_limit(), workers=(stopping(),), stop_asked_at_seconds=ASKED_NOW),
    "boot still has time": fleet(starting(since=NOW - 30 + INSTANT)),
    "deadline is not exceeded at the last instant": fleet(running(deadline=NOW)),
    "boot has written no deadline yet": fleet(replace(starting(), deadline_seconds=None)),
    "killed and not yet reaped": fleet(killed(), asked=(NOW - 99, NOW - 98, NOW - 97)),
    "monitor was asked already": fleet(running(), dead=(dead_lease(asked_monitor=7),)),
    "monitor is too young for a lease": fleet(running(), monitor=starting(MONITOR), dead=(dead_lease(),)),
    "monitor is stopping": fleet(running(), monitor=stopping(MONITOR), dead=(dead_lease(),)),
    "backoff is not over": fleet(vacant(runs=(Run(NOW - 2, 0.0), Run(NOW - 1 + INSTANT, 0.0)))),
    "a dead monitor is not replaced in a stop": fleet(stopping(), asked=ASKED_NOW, monitor=vacant(MONITOR)),
    "monitor waits for the last worker": fleet(vacant(0), stopping(1), asked=ASKED_NOW),
    "monitor waits for a lease": fleet(vacant(since=NOW - 2 + INSTANT), asked=ASKED_NOW, dead=(dead_lease(asked_monitor=7),)),
    "monitor is stopped once": fleet(vacant(), asked=ASKED_NOW, monitor=stopping(MONITOR)),
    "the end waits for the monitor": fleet(vacant(), asked=ASKED_NOW, monitor=killed(MONITOR)),
}


@pytest.mark.parametrize("calm", QUIET.values(), ids=QUIET.keys())
def test_nothing_to_do(calm: Fleet) -> None:
    """An instant before its time, or in a similar state, no rule yields an action."""
    assert decide(calm, POLICY, NOW) == ()


PRECEDENCE: dict[str, tuple[Fleet, tuple[Action, ...]]] = {
    "drain kill over grace kill": (
        fleet(stopping(stop_by=NOW), asked=DRAIN_JUST_OVER),
        (Kill(0, ActionReason.DRAIN_EXPIRED),),
    ),
    "drain kill over drain": (fleet(running(), asked=DRAIN_JUST_OVER), (Kill(0, ActionReason.DRAIN_EXPIRED),)),
    "drain kill over an exceeded deadline": (fleet(HUNG, asked=DRAIN_JUST_OVER), (Kill(0, ActionReason.DRAIN_EXPIRED),)),
    "drain over a slow boot": (
        fleet(starting(since=NOW - 30), asked=ASKED_NOW),
        (Terminate(0, NOW + 60, ActionReason.DRAIN),),
    ),
    "drain over an exceeded deadline": (fleet(HUNG, asked=ASKED_NOW), (Terminate(0, NOW + 60, ActionReason.DRAIN),)),
    "exceeded deadline over the end of the monitor": (
        fleet(vacant(), asked=ASKED_NOW, monitor=running(MONITOR, deadline=NOW - INSTANT)),
        (Terminate(MONITOR, NOW + 4, ActionReason.DEADLINE_EXCEEDED),),
    ),
    "drain over an unused permit": (fleet(in_permit(), asked=ASKED_NOW), (Terminate(0, NOW + 60, ActionReason.DRAIN),)),
    "a slot that is taken does not hide the next one": (
        fleet(replace(running(0), rss_bytes=1001), running(1), asked=ASKED_NOW),
        (Kill(0, ActionReason.OVER_HARD_LIMIT), Terminate(1, NOW + 60, ActionReason.DRAIN)),
    ),
    "a kill over a recycle of the neighbour": (
        fleet(to_recycle(running(0)), replace(running(1), rss_bytes=1001)),
        (Kill(1, ActionReason.OVER_HARD_LIMIT),),
    ),
    "an exceeded deadline over a recycle of the neighbour": (
        fleet(to_recycle(running(0)), running(1, deadline=NOW - INSTANT)),
        (Terminate(1, NOW + 4, ActionReason.DEADLINE_EXCEEDED),),
    ),
    "a lease beside a start in the same slot": (
        fleet(vacant(), dead=(dead_lease(),)),
        (RETURN, Spawn(0, ActionReason.REPLACEMENT)),
    ),
    "each slot on its own, in the order of the rules": (
        fleet(vacant(0), running(1, deadline=NOW - INSTANT), starting(2, since=NOW - 30), stopping(3, stop_by=NOW)),
        (
            Kill(3, ActionReason.GRACE_EXPIRED),
            Terminate(2, NOW + 4, ActionReason.BOOT_TOO_SLOW),
            Terminate(1, NOW + 4, ActionReason.DEADLINE_EXCEEDED),
            Spawn(0, ActionReason.REPLACEMENT),
        ),
    ),
}


@pytest.mark.parametrize(("fleet_of_row", "actions"), PRECEDENCE.values(), ids=PRECEDENCE.keys())
def test_the_first_rule_wins(fleet_of_row: Fleet, actions: tuple[Action, ...]) -> None:
    """If several rules yield an action for a slot, the earlier rule wins, and the slot gets one signal."""
    assert decide(fleet_of_row, POLICY, NOW) == actions


def overdue(number: int, state: SlotState) -> Slot:
    """Return a slot of this state after all of its times."""
    slot = replace(starting(number, since=0.0), state=state, deadline_seconds=1.0, stop_by_seconds=1.0, is_recycle_asked=True)
    return replace(slot, pid=0 if state is SlotState.VACANT else slot.pid)


def every_fleet(asked: tuple[tuple[float, ...], ...]) -> Iterator[Fleet]:
    """Yield two workers and the monitor in every combination of states, each with and without a dead lease."""
    for first, second, monitor in itertools.product(SlotState, repeat=3):
        for requests, dead in itertools.product(asked, ((), (dead_lease(),))):
            slots = overdue(0, first), overdue(1, second)
            yield fleet(*slots, monitor=overdue(MONITOR, monitor), asked=requests, dead=dead)


STOPS = (ASKED_NOW, DRAIN_JUST_OVER, (NOW - 1, NOW), (NOW, NOW, NOW))


def test_no_start_after_a_request_to_stop() -> None:
    """After a request to stop, no process is started in any combination of states and requests (invariant 2)."""
    for asked_fleet in every_fleet(STOPS):
        assert not [a for a in decide(asked_fleet, POLICY, NOW) if isinstance(a, Spawn)], asked_fleet


def test_equal_arguments_give_equal_actions() -> None:
    """In every combination of states and requests, a second call returns the same actions (invariant 10)."""
    for asked_fleet in every_fleet(((), *STOPS)):
        assert decide(asked_fleet, POLICY, NOW) == decide(asked_fleet, POLICY, NOW)


def test_one_signal_for_each_slot_and_none_for_the_dead() -> None:
    """In every combination a slot gets at most one signal or start, and a signal only while its child lives (invariant 1)."""
    for asked_fleet in every_fleet(((), *STOPS)):
        moves = [a for a in decide(asked_fleet, POLICY, NOW) if isinstance(a, Spawn | Terminate | Kill)]
        assert len(moves) == len({a.slot for a in moves}), asked_fleet
        for move in moves:
            assert isinstance(move, Spawn) is (asked_fleet.slot(move.slot).state is SlotState.VACANT)


def test_a_performed_action_is_not_repeated() -> None:
    """After the actions for a fleet are performed, a second call at the same instant repeats none of them."""
    for asked_fleet in every_fleet(((), *STOPS)):
        actions = decide(asked_fleet, POLICY, NOW)
        after = asked_fleet
        for action in actions:
            after = performed(after, action, NOW)
        assert not set(actions) & {a for a in decide(after, POLICY, NOW) if not isinstance(a, Finish)}, asked_fleet


def performed(before: Fleet, action: Action, at: float) -> Fleet:
    match action:
        case Spawn(slot):
            return apply(before, Spawned(slot, 100 + slot, 7, at))
        case Terminate(slot, stop_by, why):
            return apply(before, Terminated(slot, why, stop_by, at))
        case Kill(slot, why):
            return apply(before, Killed(slot, why, at))
        case Retire(slot, why):
            return apply(before, Retired(slot, why, at))
        case GiveUp():
            return apply(before, GaveUp(at))
        case ReclaimLease():
            return apply(before, ReclaimSent(action.lease_key, before.monitor.incarnation))
        case Finish():
            return before


DRAINS: dict[str, tuple[tuple[float, ...], float]] = {
    "no request": ((), math.inf),
    "first leaves the drain": ((NOW,), NOW + 60),
    "second shortens": ((NOW, NOW + 10), NOW + 17),
    "late second does not lengthen": ((NOW, NOW + 58), NOW + 60),
    "third is now": ((NOW, NOW + 1, NOW + 2), NOW + 2),
    "third after the end changes nothing": ((NOW, NOW + 1, NOW + 90), NOW + 8),
}


@pytest.mark.parametrize(("asked", "end"), DRAINS.values(), ids=DRAINS.keys())
def test_a_further_request_only_shortens_the_drain(asked: tuple[float, ...], end: float) -> None:
    """Each request to stop may shorten the drain and never lengthens it."""
    requested = fleet(running())
    for at in asked:
        requested = apply(requested, StopAsked(at))
    assert drain_by(requested, POLICY) == end


@pytest.mark.parametrize(("asked", "end"), list(DRAINS.values())[1:], ids=list(DRAINS)[1:])
def test_a_worker_that_ignores_sigterm_is_killed_at_the_drains_end(asked: tuple[float, ...], end: float) -> None:
    """A worker that ignores SIGTERM is killed at the drain's end and not before, whatever its grace period."""
    stubborn = fleet(stopping(stop_by=NOW + 999), asked=asked)
    assert decide(stubborn, POLICY, end - INSTANT) == ()
    (kill,) = decide(stubborn, POLICY, end)
    assert isinstance(kill, Kill)


def test_a_fourth_request_kills_at_once() -> None:
    """Three requests are kept, and any further one kills at once."""
    asked = fleet(running())
    for at in (NOW - 3, NOW - 2, NOW - 1, NOW):
        asked = apply(asked, StopAsked(at))
    assert decide(asked, POLICY, NOW) == (Kill(0, ActionReason.STOP_NOW),)
    assert len(asked.stop_asked_at_seconds) == 3


CONTROLS = {
    "leasing": (fleet(running(0), vacant(1)), ControlRecord(2, False, math.inf)),
    "draining": (fleet(running(0), vacant(1), asked=ASKED_NOW), ControlRecord(0, True, NOW + 60)),
    "retiring": (fleet(retiring(0), running(1), retiring(2)), ControlRecord(3, False, math.inf, 0b101)),
    "fewer than there are slots": (replace(fleet(running(0), retiring(1)), wanted=1), ControlRecord(1, False, math.inf, 0b10)),
    "draining faster": (fleet(running(0), asked=(NOW - 9, NOW)), ControlRecord(0, True, NOW + 7)),
}


@pytest.mark.parametrize(("fleet_of_row", "expected"), CONTROLS.values(), ids=CONTROLS.keys())
def test_after_a_request_to_stop_no_worker_may_lease(fleet_of_row: Fleet, expected: ControlRecord) -> None:
    """Every worker may lease until a request to stop. Then none may, and the record has the drain's end."""
    assert control(fleet_of_row, POLICY) == expected


def crashes(*lived: float, last_at: float = NOW) -> tuple[Run, ...]:
    """Return lives in a row that ended as crashes, the last one at `last_at`."""
    return tuple(Run(last_at - place, seconds) for place, seconds in zip(range(len(lived) - 1, -1, -1), lived, strict=True))


WAITS: dict[str, tuple[tuple[Run, ...], float]] = {
    "no crash": ((), -math.inf),
    "first crash": (crashes(0), NOW),
    "second": (crashes(0, 0), NOW + 1),
    "third": (crashes(0, 0, 0), NOW + 2),
    "sixth": (crashes(*[0] * 6), NOW + 16),
    "capped": (tuple(Run(NOW - 10 * place, 0.0) for place in range(15, -1, -1)), NOW + 50),
    "half of the wait was drawn": ((Run(NOW - 1, 0.0), Run(NOW, 0.0, 0.5)), NOW + 0.5),
    "none of the wait was drawn": ((Run(NOW - 1, 0.0), Run(NOW, 0.0, 0.0)), NOW),
    "seven starts whatever was drawn": (tuple(Run(NOW, 1.0, 0.0) for _ in range(7)), NOW),
    "no ninth start in a minute": (tuple(Run(NOW, 1.0, 0.0) for _ in range(8)), NOW + 59),
    "the first of the eight counts": ((Run(NOW - 50, 0.0, 0.0), *(Run(NOW, 0.0, 0.0) for _ in range(7))), NOW + 10),
    "only the last eight count": ((Run(NOW - 70, 0.0, 0.0), *(Run(NOW - 30, 1.0, 0.0) for _ in range(8))), NOW + 29),
    "just too short to be healthy": (crashes(0, 10 - INSTANT), NOW + 1),
    "healthy life ends the row": (crashes(0, 0, 0, 10), NOW),
    "row after a healthy life": (crashes(0, 0, 10, 0, 0), NOW + 1),
}


@pytest.mark.parametrize(("runs", "expected"), WAITS.values(), ids=WAITS.keys())
def test_vacant_until(runs: tuple[Run, ...], expected: float) -> None:
    """The wait doubles with each short life in a row, up to its limit."""
    assert vacant_until(vacant(runs=runs), POLICY) == expected


WAKES = {
    "next tick": (fleet(running()), NOW + 1),
    "deadline ends": (fleet(running(deadline=NOW + 0.25)), NOW + 0.25),
    "a job is in hand": (fleet(running(0), replace(running(1), is_busy=True)), NOW + 0.1),
    "the restart limit": (at_restart_limit(idle=89.9375), NOW + 0.0625),
    "boot in a drain was slow enough": (
        fleet(replace(stopping(), started_at_seconds=NOW - 33.75, deadline_seconds=None)),
        NOW + 0.25,
    ),
    "grace ends after the deadline and its grace have": (
        fleet(stopping(stop_by=NOW + 0.25, why=ActionReason.DEADLINE_EXCEEDED, deadline=NOW - 5)),
        NOW + 0.25,
    ),
    "deadline in a drain was exceeded long enough": (fleet(stopping(deadline=NOW - 3.75)), NOW + 0.25),
    "exceeded deadline is in the past": (fleet(HUNG), NOW + 1),
    "grace ends": (fleet(stopping(stop_by=NOW + 0.25)), NOW + 0.25),
    "a boot is under way": (fleet(starting(since=NOW)), NOW + 0.1),
    "boot ends": (fleet(starting(since=NOW - 29.9375)), NOW + 0.0625),
    "backoff ends": (fleet(vacant(runs=crashes(0, 0, last_at=NOW - 0.75))), NOW + 0.25),
    "drain ends": (fleet(stopping(), asked=(NOW - 59.75,)), NOW + 0.25),
    "monitor's deadline ends": (fleet(running(), monitor=running(MONITOR, deadline=NOW + 0.25)), NOW + 0.25),
    "the wait for a permit gets too long": (fleet(replace(in_permit(since=NOW - 79.9375), is_busy=False)), NOW + 0.0625),
    "the monitor is late": (
        fleet(vacant(since=NOW - 2.75), asked=(NOW - 9,), monitor=stopping(MONITOR, stop_by=NOW + 300)),
        NOW + 0.25,
    ),
    "the monitor has workers left": (
        fleet(stopping(), asked=(NOW - 2.75,), monitor=stopping(MONITOR, stop_by=NOW + 300)),
        NOW + 1,
    ),
    "earliest of several": (fleet(running(0, deadline=NOW + 0.5), stopping(1, stop_by=NOW + 0.25)), NOW + 0.25),
    "a time of another state": (fleet(replace(killed(), stop_by_seconds=NOW + 0.25)), NOW + 1),
}


@pytest.mark.parametrize(("asleep", "expected"), WAKES.values(), ids=WAKES.keys())
def test_wake_at(asleep: Fleet, expected: float) -> None:
    """The supervisor sleeps to the next time that a rule depends on, at most to the next tick, and never into the past."""
    assert wake_at(asleep, POLICY, NOW) == expected


def start_times(lived_seconds: float | None, jitter: float, until: float) -> list[float]:
    """Return the starts of slot 0 if each life lasts this long (None: the fork fails), beside healthy other processes."""
    now, before, starts = 0.0, Fleet.of(2), []
    while now < until:
        for action in decide(before, Policy(), now):
            assert isinstance(action, Spawn)
            if action.slot == 0:
                starts.append(now)
            before = begun(before, action.slot, now, jitter if action.slot == 0 and lived_seconds is None else None)
        crashing = before.slot(0)
        ends_at = crashing.started_at_seconds + (lived_seconds or 0.0) if crashing.is_occupied else math.inf
        if ends_at <= now:
            before = apply(before, Exited(0, crashing.pid, 1, now, jitter=jitter))
        else:
            now = min(wake_at(before, Policy(), now), ends_at)
            before = apply(before, DeadlineSet(1, math.inf, now))
        assert len(starts) < 1000
    assert [slot.starts for slot in before.slots[1:]] == [1, 1]
    return starts


def begun(before: Fleet, slot: int, now: float, failing_jitter: float | None) -> Fleet:
    if failing_jitter is not None:
        return apply(before, SpawnFailed(slot, 11, now, failing_jitter))
    return apply(apply(before, Spawned(slot, 100 + slot, 7, now)), DeadlineSet(slot, math.inf, now))


CRASH_LOOPS: dict[str, tuple[float | None, list[float]]] = {
    "dies at once": (0.0, [0, 0, 1, 3, 7, 15, 31]),
    "fork fails": (None, [0, 1, 2, 4, 8, 16, 32]),
    "dies after a second": (1.0, [0, 1, 3, 6, 11, 20, 37]),
    "dies after five seconds": (5.0, [0, 5, 11, 18, 27, 40]),
    "lives long enough to be healthy": (20.0, [0, 20, 40]),
}


@pytest.mark.parametrize(("lived_seconds", "expected"), CRASH_LOOPS.values(), ids=CRASH_LOOPS.keys())
def test_a_crash_loop_waits_longer_each_time(lived_seconds: float | None, expected: list[float]) -> None:
    """If the whole wait is drawn, the slot starts at these times in its first minute."""
    assert start_times(lived_seconds, jitter=1.0, until=60) == expected


@pytest.mark.parametrize("jitter", [0.0, 0.001, 0.3, 0.999])
@pytest.mark.parametrize("lived_seconds", [0.0, None, 0.5, 7.0, 9.999])
def test_a_crash_loop_is_bounded(lived_seconds: float | None, jitter: float) -> None:
    """Whatever is drawn, no slot starts more than eight times in any minute, and the healthy ones go on (invariant 8)."""
    starts = start_times(lived_seconds, jitter, until=600)
    assert len(starts) > 12
    assert all(later - earlier > 60 - INSTANT / 1000 for earlier, later in zip(starts, starts[8:], strict=False))


def test_zero_is_no_memory_limit() -> None:
    """A limit of 0 bytes is off, however large a worker is."""
    unlimited = replace(POLICY, memory_soft_bytes=0, memory_hard_bytes=0)
    assert decide(fleet(grown(by=10**12)), unlimited, NOW) == ()


def test_no_recycle_takes_a_second_worker() -> None:
    """In any combination of states a worker is recycled only while all other wanted ones run, and never two at once."""
    for asked_fleet in every_fleet(((),)):
        recycled = [a for a in decide(asked_fleet, POLICY, NOW) if isinstance(a, Retire)]
        assert len(recycled) <= 1
        assert not recycled or all(slot.state is SlotState.RUNNING for slot in asked_fleet.workers)
