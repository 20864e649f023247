"""The event log: names all log events and their keys, except the workers' events (EventKind in worker/ipc/contract.py).

Lines contain ids and class names, and no content.
"""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never
from uuid import UUID

from supervisor import exit_codes
from supervisor.core.actions import Action, Finish, GiveUp, Kill, ReclaimLease, Retire, Spawn, Terminate
from supervisor.core.facts import (
    DeadlineSet,
    Exited,
    Fact,
    FactOfASlot,
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
from supervisor.core.fleet import MONITOR, Fleet, ReloadProblem
from supervisor.settings.problems import Problem
from worker.ipc.contract import Event, EventKind

GAVE_UP_MEANING = "no worker could start or finish a step, and restarts did not help: see the exited and bug lines before"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_EVENT_LEVELS = {  # of a worker's events, the others being warnings
    EventKind.SETTLED: "INFO",
    EventKind.LEASED: "DEBUG",
    EventKind.CALL: "DEBUG",
    EventKind.BOOTED: "INFO",
    EventKind.NEXT_RUNG: "INFO",
    EventKind.PAGE_DOUBTFUL: "INFO",
}


class EventLog:
    """Writes logfmt lines: time, level, event, then key=value pairs."""

    def __init__(self, level: str, write: Callable[[str], None]) -> None:
        self._write = write
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Set the least severe level that is written."""
        self._least = LEVELS.index(level)

    def action(self, action: Action) -> None:
        """Log what the supervisor is about to do."""
        match action:
            case Spawn(slot, why) | Kill(slot, why) | Retire(slot, why) | Terminate(slot, _, why):
                level = "WARNING" if isinstance(action, Kill) else "INFO"
                self._line(level, type(action).__name__.lower(), slot=_slot(slot), why=why.value)
            case ReclaimLease(slot, job_id, lease_key, is_counted, why):
                self._line(
                    "INFO", "reclaim_lease", slot=_slot(slot), job=job_id, lease=lease_key, counted=is_counted, why=why.value
                )
            case GiveUp(why):
                self._line("ERROR", "give_up", why=why.value)
            case Finish(exit_code, leases_left):
                self._finished(exit_code, leases_left)
            case _:
                assert_never(action)

    def fact(self, fact: Fact, fleet: Fleet) -> None:
        """Log what has happened. `fleet` is the fleet after the fact."""
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
                self._line("ERROR", "reload_rejected", problems=problems, generation=fleet.generation)
            case LeaseReclaimed(lease_key, outcome):
                level = "WARNING" if outcome in {"quarantined", "parked"} else "INFO"
                self._line(level, "lease_reclaimed", lease=lease_key, outcome=outcome)
            case SurvivorKilled(slot, pid):
                self._line("WARNING", "survivor_killed", slot=slot, pid=pid)
            case GaveUp() | ReclaimSent():
                pass  # the action was logged
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
                pass  # the action was logged, or the fact is too frequent
            case _:
                assert_never(fact)

    def _exited(self, fact: Exited, fleet: Fleet) -> None:
        """Log the exit, and a generation of settings that it has just made the fleet withdraw."""
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
        if fact.is_bad_configuration and fleet.reload_problem is ReloadProblem.REJECTED_BY_WORKER:
            self._line("ERROR", "reload_withdrawn", why=fleet.reload_problem.value, generation=fleet.generation)

    def _finished(self, exit_code: int, leases_left: int) -> None:
        self._line(
            "ERROR" if exit_code == exit_codes.GAVE_UP else "WARNING" if leases_left else "INFO",
            "finished",
            exit_code=exit_code,
            leases_left=leases_left or "",
            meaning=GAVE_UP_MEANING if exit_code == exit_codes.GAVE_UP else "",
        )

    def event(self, slot: int, event: Event) -> None:
        """Log an event that a worker has reported."""
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
            page=event.page or "",
            retry_at=_in_time(event.retry_in_seconds),
        )

    def wrong_setting(self, problem: Problem) -> None:
        """Log a wrong setting without its value, which may be a secret under the wrong name."""
        self._line("ERROR", "wrong_setting", variable=problem.variable, remedy=problem.remedy)

    def command_expired(self, *, command: str) -> None:
        self._line("WARNING", "command_expired", command=command)

    def started(self, **details: object) -> None:
        self._line("INFO", "started", **details)

    def stub_in_use(self) -> None:
        self._line(
            "WARNING", "stub_in_use", meaning="a stub adapter is in use: results are invented, and no model reads the pages"
        )

    def unknown_setting(self, *, variable: str, remedy: str) -> None:
        """Log a variable of the environment that looks like a setting and is none."""
        self._line("WARNING", "unknown_setting", variable=variable, remedy=remedy)

    def settings_changed(self, names: Sequence[str]) -> None:
        """Log the settings that a reload has changed, by their names alone."""
        self._line("INFO", "settings_changed", names=",".join(names) or "none")

    def unsuitable_database(self, reason: str) -> None:
        self._line("ERROR", "unsuitable", reason=reason)

    def monitor_bug(self, *, error: str, at: str) -> None:
        """Log an unexpected exception of the monitor by its class and place, without its message."""
        self._line("ERROR", "bug", error=error, at=at)

    def permit_overdue(self, **details: object) -> None:
        """Log a session that holds a permit for no job. `is_ended`: this role may end it and has asked the server to."""
        self._line("WARNING", "permit_overdue", **details)

    def connected(self, *, is_pooled: bool) -> None:
        self._line("INFO", "connected", pooled=is_pooled)

    def connection_lost(self, *, error: str) -> None:
        self._line("WARNING", "connection_lost", error=error)

    def dead_instance_lease(self, *, instance: int, job: UUID, outcome: str) -> None:
        """Log the reclaimed lease of a supervisor that was killed."""
        self._line("WARNING", "dead_instance_lease", instance=f"{instance:08x}", job=job, outcome=outcome)

    def instance_survivor_killed(self, *, instance: int, pid: int) -> None:
        """Log the end of a process that an adapter had forked and that held descriptors of a dead supervisor's worker."""
        self._line("WARNING", "survivor_killed", instance=f"{instance:08x}", pid=pid)

    def row_refused(self, *, job: UUID, outcome: str, error: str) -> None:
        """Log a row that the database refuses to change for the monitor. Workers report theirs as an event of the same name."""
        self._line("WARNING", "row_refused", job=job, outcome=outcome, error=error)

    def cannot_listen(self, *, address: str, errno: int | None, remedy: str) -> None:
        self._line("WARNING", "cannot_listen", address=address, errno=errno, remedy=remedy)

    def runtime_directory_lost(self, *, reason: str) -> None:
        self._line("ERROR", "runtime_directory_lost", reason=reason)

    def runtime_directory_restored(self, *, path: Path) -> None:
        self._line("WARNING", "runtime_directory_restored", path=path)

    def admission(self, *, needs_attention: bool, **limits: object) -> None:
        """Log a change of the admission limits. `needs_attention`: work waits for a reason that an administrator should know."""
        self._line("WARNING" if needs_attention else "INFO", "admission", **limits)

    def ollama_anomaly(self, *, meaning: str, model: str) -> None:
        self._line("WARNING", "ollama_anomaly", meaning=meaning, model=model)

    def model_loaded(self, model: str, *, is_ok: bool, seconds: float) -> None:
        self._line("INFO" if is_ok else "WARNING", "model_loaded", model=model, is_ok=is_ok, seconds=f"{seconds:.3f}")

    def model_unloaded(self, models: Sequence[str], *, is_ok: bool) -> None:
        self._line("INFO", "model_unloaded", models=",".join(models), is_ok=is_ok)

    def standstill(self, *, is_long: bool, seconds: float, model: str, waits: str) -> None:
        """Log that nothing moves forward: no token, no page, no end of a job. `model`: its calls get no token."""
        self._line("ERROR" if is_long else "WARNING", "standstill", seconds=f"{seconds:.0f}", model=model, waits=waits)

    def progress_again(self, *, seconds: float) -> None:
        self._line("INFO", "progress_again", seconds=f"{seconds:.0f}")

    def mend(self, *, action: str) -> None:
        """Log what the monitor does against a standstill."""
        self._line("WARNING", "mend", action=action)

    def _line(self, level: str, event: str, **details: object) -> None:
        if LEVELS.index(level) < self._least:
            return
        now = _in_time(0.0)
        pairs = " ".join(f"{key}={_quoted(value)}" for key, value in details.items() if value not in (None, ""))
        self._write(f"{now} {level} {event} {pairs}".rstrip())


def ending(status: int) -> str:
    """Return an exit status in words, such as `exit 70` or `signal 9`."""
    return f"signal {-status}" if status < 0 else f"exit {status}"


def _in_time(seconds: float | None) -> str:
    """Return the time in so many seconds by this host's clock, for readers alone: the database decides by its own."""
    if seconds is None:
        return ""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _slot(number: int) -> str:
    return "monitor" if number == MONITOR else str(number)


def _quoted(value: object) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
