"""What happened, and how the fleet looks after it. `record` is pure and refuses what cannot have happened."""

from dataclasses import dataclass, replace
from typing import assert_never
from uuid import UUID

from supervisor.core.fleet import BLAMELESS, DeadLease, Fleet, Run, Slot, Stage, Why

REFUSED_STATUS = 78  # EX_CONFIG of sysexits.h: no restart can help
MAX_RUNS = 16  # more would not change the backoff, which is capped long before


class ImpossibleFact(ValueError):
    """A fact that contradicts the fleet: a bug of the supervisor, never a state of the world."""


@dataclass(frozen=True, slots=True)
class Spawned:
    slot: int
    pid: int
    incarnation: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    slot: int
    errno: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Promised:
    """The process finished its boot, or promised another deadline."""

    slot: int
    deadline_seconds: float
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Terminated:
    """SIGTERM was sent."""

    slot: int
    why: Why
    stop_by_seconds: float
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Killed:
    """SIGKILL was sent to the process group."""

    slot: int
    why: Why
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Exited:
    """A child was reaped. `status`: exit code, or minus the signal. With the lease that its scoreboard record still named."""

    slot: int
    pid: int
    status: int
    at_seconds: float
    job_id: UUID | None = None
    lease_key: UUID | None = None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """SIGTERM or SIGINT reached the supervisor."""

    at_seconds: float


@dataclass(frozen=True, slots=True)
class LeaseSent:
    """The monitor of this incarnation was asked to give a dead worker's lease back."""

    lease_key: UUID
    monitor_incarnation: int


@dataclass(frozen=True, slots=True)
class LeaseReturned:
    """The monitor has given it back, or found it settled. `outcome` is for the log."""

    lease_key: UUID
    outcome: str


Fact = Spawned | SpawnFailed | Promised | Terminated | Killed | Exited | StopAsked | LeaseSent | LeaseReturned

_ALIVE = frozenset({Stage.STARTING, Stage.RUNNING, Stage.STOPPING})
_STOPPABLE = frozenset({Stage.STARTING, Stage.RUNNING})


def record(fleet: Fleet, fact: Fact) -> Fleet:
    """The fleet after the fact. Raises ImpossibleFact for a stage that cannot follow."""
    match fact:
        case Spawned():
            return fleet.with_slot(_spawned(fleet.slot(fact.slot), fact))
        case SpawnFailed(slot, _, at):
            vacant = _in(fleet.slot(slot), frozenset({Stage.VACANT}), fact)
            return fleet.with_slot(replace(vacant, crash_runs=_with_run(vacant, Run(at, 0.0))))
        case Promised():
            return fleet.with_slot(_promised(fleet.slot(fact.slot), fact))
        case Terminated(slot, why, stop_by, at):
            running = _in(fleet.slot(slot), _STOPPABLE, fact)
            return fleet.with_slot(
                replace(running, stage=Stage.STOPPING, since_seconds=at, stop_by_seconds=stop_by, stop_why=why)
            )
        case Killed():
            return _killed(fleet, fact)
        case Exited():
            return _exited(fleet, fact)
        case StopAsked(at):
            return replace(fleet, stop_asked_at_seconds=(*fleet.stop_asked_at_seconds[:2], at))
        case LeaseSent(key, incarnation):
            sent = tuple(replace(d, sent_to=incarnation) if d.lease_key == key else d for d in fleet.dead_leases)
            return replace(fleet, dead_leases=sent)
        case LeaseReturned(key):
            return replace(fleet, dead_leases=tuple(d for d in fleet.dead_leases if d.lease_key != key))
        case _:
            assert_never(fact)


def _in(slot: Slot, stages: frozenset[Stage], fact: Fact) -> Slot:
    if slot.stage not in stages:
        raise ImpossibleFact(f"{type(fact).__name__} for slot {slot.number} in stage {slot.stage.name}")
    return slot


def _spawned(slot: Slot, fact: Spawned) -> Slot:
    return replace(
        _in(slot, frozenset({Stage.VACANT}), fact),
        stage=Stage.STARTING,
        since_seconds=fact.at_seconds,
        started_at_seconds=fact.at_seconds,
        pid=fact.pid,
        incarnation=fact.incarnation,
        deadline_seconds=None,
        stop_why=None,
        starts=slot.starts + 1,
    )


def _promised(slot: Slot, fact: Promised) -> Slot:
    if slot.stage is Stage.STARTING:
        return replace(slot, stage=Stage.RUNNING, since_seconds=fact.at_seconds, deadline_seconds=fact.deadline_seconds)
    return replace(_in(slot, frozenset(Stage) - {Stage.VACANT}, fact), deadline_seconds=fact.deadline_seconds)


def _killed(fleet: Fleet, fact: Killed) -> Fleet:
    slot = _in(fleet.slot(fact.slot), _ALIVE, fact)
    killed = replace(slot, stage=Stage.KILLED, since_seconds=fact.at_seconds, stop_why=slot.stop_why or fact.why)
    is_cut_short = fleet.was_cut_short or (slot.is_worker and fact.why in {Why.DRAIN_EXPIRED, Why.STOP_NOW})
    return replace(fleet.with_slot(killed), was_cut_short=is_cut_short)


def _exited(fleet: Fleet, fact: Exited) -> Fleet:
    slot = _in(fleet.slot(fact.slot), frozenset(Stage) - {Stage.VACANT}, fact)
    if slot.pid != fact.pid:
        raise ImpossibleFact(f"pid {fact.pid} exited, but slot {slot.number} holds {slot.pid}")
    is_crash = _is_crash(slot, fact.status)
    run = Run(fact.at_seconds, fact.at_seconds - slot.started_at_seconds)
    vacant = replace(
        slot,
        stage=Stage.VACANT,
        since_seconds=fact.at_seconds,
        pid=0,
        deadline_seconds=None,
        crashes=slot.crashes + is_crash,
        last_status=fact.status,
        crash_runs=_with_run(slot, run) if is_crash else (),
    )
    dead = (DeadLease(slot.number, fact.job_id, fact.lease_key, is_crash),) if fact.lease_key else ()
    left = replace(fleet.with_slot(vacant), dead_leases=fleet.dead_leases + dead)
    return _refused(left, fact.at_seconds) if fact.status == REFUSED_STATUS else left


def _is_crash(slot: Slot, status: int) -> bool:
    """An exit nobody asked for; also one that was asked for, but came as a failure before anybody killed it."""
    was_asked = slot.stop_why in BLAMELESS
    return not was_asked or (slot.stage is Stage.STOPPING and status != 0)


def _refused(fleet: Fleet, at_seconds: float) -> Fleet:
    """A configuration that can never work is a request to stop, with an exit code of its own."""
    return replace(fleet, is_refused=True, stop_asked_at_seconds=fleet.stop_asked_at_seconds or (at_seconds,))


def _with_run(slot: Slot, run: Run) -> tuple[Run, ...]:
    return (*slot.crash_runs, run)[-MAX_RUNS:]
