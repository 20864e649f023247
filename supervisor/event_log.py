"""The only file that words log lines: each is a projection of a fact, an action or an event, with ids and classes alone."""

import datetime
from collections.abc import Callable
from typing import assert_never

from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    FactOfASlot,
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
from supervisor.core.fleet import MONITOR, Fleet, ReloadProblem
from supervisor.core.rules import EXIT_GAVE_UP
from supervisor.settings.model import Problem
from worker.ipc.contract import Event, EventKind

GAVE_UP_MEANING = "no worker could start or finish a step, and restarts did not help: the lines before name the reason"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_EVENT_LEVELS = {  # the others are warnings
    EventKind.SETTLED: "INFO",
    EventKind.LEASED: "DEBUG",
    EventKind.CALL: "DEBUG",
    EventKind.BOOTED: "INFO",
}


class EventLog:
    """logfmt lines: time, level, what happened, then key=value."""

    def __init__(self, level: str, write: Callable[[str], None]) -> None:
        self._write = write
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Lines below it are not written."""
        self._least = LEVELS.index(level)

    def action(self, action: Action) -> None:
        match action:
            case Spawn(slot, why) | Kill(slot, why) | Retire(slot, why) | Terminate(slot, _, why):
                level = "WARNING" if isinstance(action, Kill) else "INFO"
                self._line(level, type(action).__name__.lower(), slot=_slot(slot), why=why.value)
            case ReclaimLease(slot, job_id, lease_key, is_counted, why):
                self._line(
                    "INFO", "return_lease", slot=_slot(slot), job=job_id, lease=lease_key, counted=is_counted, why=why.value
                )
            case GiveUp(why):
                self._line("ERROR", "give_up", why=why.value)
            case Finish(exit_code, leases_left):
                self._finished(exit_code, leases_left)
            case _:
                assert_never(action)

    def fact(self, fact: Fact, fleet: Fleet) -> None:
        """What happened, with the fleet after it."""
        if isinstance(fact, FactOfASlot):
            self._fact_of_a_slot(fact, fleet)
            return
        match fact:
            case StopAsked():
                self._line("INFO", "stop_asked")
            case Scaled(workers):
                self._line("INFO", "scaled", workers=workers)
            case RecycleAsked(slots):
                self._line("INFO", "recycle_asked", slots=",".join(map(str, slots)))
            case Reloaded(generation, workers):
                self._line("INFO", "reloaded", generation=generation, workers=workers)
            case ReloadRejected(problems):
                self._line("ERROR", "reload_refused", problems=problems, generation=fleet.generation)
            case LeaseReclaimed(lease_key, outcome):
                level = "WARNING" if outcome == "quarantined" else "INFO"
                self._line(level, "lease_returned", lease=lease_key, outcome=outcome)
            case GaveUp() | LeaseSent():
                pass  # the action was told
            case _:
                assert_never(fact)

    def _fact_of_a_slot(self, fact: FactOfASlot, fleet: Fleet) -> None:
        match fact:
            case Spawned(slot, pid, incarnation):
                self._line("INFO", "spawned", slot=_slot(slot), pid=pid, incarnation=f"{incarnation:08x}")
            case SpawnFailed(slot, errno):
                self._line("ERROR", "spawn_failed", slot=_slot(slot), errno=errno)
            case Exited():
                self._exited(fact, fleet)
            case DeadlineSet() | Measured() | Retired() | Terminated() | Killed():
                pass  # the action was told, or there is nothing to tell
            case _:
                assert_never(fact)

    def _exited(self, fact: Exited, fleet: Fleet) -> None:
        """A generation that a worker refused is told here: the fleet has just left it."""
        last_cause = fleet.slot(fact.slot).last_cause
        self._line(
            "WARNING" if last_cause.is_crash else "INFO",
            "exited",
            slot=_slot(fact.slot),
            pid=fact.pid,
            status=ending(fact.status),
            cause=last_cause.word,
            job=fact.job_id,
        )
        if fact.is_refusal and fleet.reload_problem is ReloadProblem.REJECTED_BY_WORKER:
            self._line("ERROR", "reload_withdrawn", why=fleet.reload_problem.value, generation=fleet.generation)

    def _finished(self, exit_code: int, leases_left: int) -> None:
        self._line(
            "ERROR" if exit_code == EXIT_GAVE_UP else "WARNING" if leases_left else "INFO",
            "finished",
            exit_code=exit_code,
            leases_left=leases_left or "",
            meaning=GAVE_UP_MEANING if exit_code == EXIT_GAVE_UP else "",
        )

    def event(self, slot: int, event: Event) -> None:
        """What a worker reported."""
        self._line(
            _EVENT_LEVELS.get(event.kind, "WARNING"),
            event.kind.value,
            slot=slot,
            job=event.job_id,
            submission=event.submission_id,
            step=event.step,
            outcome=event.call.outcome if event.call else event.outcome,
            error=event.error_class,
            seconds=f"{event.seconds:.3f}" if event.seconds else "",
            **{f"{activity.name.lower()}_seconds": f"{seconds:.3f}" for activity, seconds in event.steps.items()},
            next_job=event.next_job_id,
        )

    def wrong_setting(self, problem: Problem) -> None:
        """Without its value, which may be a secret under the wrong name."""
        self._line("ERROR", "wrong_setting", variable=problem.variable, remedy=problem.remedy)

    def started(self, **details: object) -> None:
        self._line("INFO", "started", **details)

    def stub_in_use(self) -> None:
        self._line("WARNING", "stub_in_use", meaning="a stub adapter is in use: results are invented, no model is asked")

    def monitor(self, level: str, what: str, **details: object) -> None:
        """What the monitor noticed."""
        self._line(level, what, **details)

    def _line(self, level: str, what: str, **details: object) -> None:
        if LEVELS.index(level) < self._least:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        shown = " ".join(f"{key}={_quoted(value)}" for key, value in details.items() if value not in (None, ""))
        self._write(f"{now} {level} {what} {shown}".rstrip())


def ending(status: int) -> str:
    """An exit status in words: `exit 70`, `signal 9`."""
    return f"signal {-status}" if status < 0 else f"exit {status}"


def _slot(number: int) -> str:
    return "monitor" if number == MONITOR else str(number)


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
