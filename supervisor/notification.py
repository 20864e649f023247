"""Messages for the service manager as a pure function of the fleet: the lines of sd_notify(3)."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from supervisor.core.fleet import Fleet, Slot, SlotState
from supervisor.wording import counted

EXTENSION_SECONDS = 30.0  # added to the timeout of a start, a reload or a stop, again and again while the loop runs
EXTEND_EVERY_SECONDS = 10.0
WATCHDOG_PARTS = (
    4  # sd_watchdog_enabled(3) advises a half, and a quarter leaves time for a turn of the loop, which takes up to a second
)
_USEC = 1_000_000


class ServiceState(Enum):
    """State of the service, in the terms of sd_notify(3)."""

    BOOTING = "booting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class SentState:
    """The last state that was sent, and the times of the last sign of life and of the last extension of the timeout."""

    state: ServiceState = ServiceState.BOOTING
    status: str = ""
    watchdog_at_seconds: float = float("-inf")
    extended_at_seconds: float = float("-inf")


def notification(
    fleet: Fleet, sent: SentState, now_seconds: float, watchdog_seconds: float | None
) -> tuple[tuple[str, ...], SentState]:
    """Return the lines that are due, and the sent state once they have arrived. Times are of the monotonic clock."""
    state, status = state_of(fleet), summary(fleet)
    lines: list[str] = []
    if state is not sent.state:
        lines += _state_lines(state, now_seconds)
    if status != sent.status:
        lines.append(f"STATUS={status}")
    after = replace(sent, state=state, status=status)
    if watchdog_seconds is not None and now_seconds >= sent.watchdog_at_seconds + watchdog_seconds / WATCHDOG_PARTS:
        lines.append("WATCHDOG=1")
        after = replace(after, watchdog_at_seconds=now_seconds)
    if _is_extension_due(state, sent, now_seconds):
        lines.append(f"EXTEND_TIMEOUT_USEC={int(EXTENSION_SECONDS * _USEC)}")
        after = replace(after, extended_at_seconds=now_seconds)
    return tuple(lines), after


def _is_extension_due(state: ServiceState, sent: SentState, now_seconds: float) -> bool:
    """True in each state whose time systemd limits, because it does not know how long a job takes."""
    is_first = state is not sent.state
    return state is not ServiceState.READY and (is_first or now_seconds >= sent.extended_at_seconds + EXTEND_EVERY_SECONDS)


def state_of(fleet: Fleet) -> ServiceState:
    """Return the state of the service. It is ready once a worker has reached the database."""
    if fleet.is_stopping:
        return ServiceState.STOPPING
    if not fleet.is_ready:
        return ServiceState.BOOTING
    return ServiceState.RELOADING if fleet.is_reloading else ServiceState.READY


def summary(fleet: Fleet) -> str:
    """Return the line that `systemctl status` shows."""
    match state_of(fleet):
        case ServiceState.BOOTING:
            return "Starting: no worker has reached the database yet" + _missing(fleet)
        case ServiceState.READY:
            running = sum(slot.state is SlotState.RUNNING for slot in fleet.wanted_workers)
            return f"{running} of {counted(fleet.wanted, 'worker')} run" + _missing(fleet) + _reload_problem(fleet)
        case ServiceState.RELOADING:
            renewed = sum(slot.generation == fleet.generation and slot.is_occupied for slot in fleet.wanted_workers)
            return f"Reloading: {renewed} of {counted(fleet.wanted, 'worker')} run with the new settings" + _reload_problem(fleet)
        case ServiceState.STOPPING:
            left = sum(slot.is_occupied for slot in fleet.workers)
            why = "Giving up because workers only crash" if fleet.gave_up else "Stopping"
            return f"{why}: {counted(left, 'worker')} left"
        case unknown:
            assert_never(unknown)


def _state_lines(state: ServiceState, now_seconds: float) -> list[str]:
    match state:
        case ServiceState.BOOTING:
            return []
        case ServiceState.READY:
            return ["READY=1"]
        case ServiceState.RELOADING:
            return ["RELOADING=1", f"MONOTONIC_USEC={int(now_seconds * _USEC)}"]
        case ServiceState.STOPPING:
            return ["STOPPING=1"]
        case _:
            assert_never(state)


def _missing(fleet: Fleet) -> str:
    """Name the workers that ended and wait for their next start, each with the cause."""
    dead = [slot for slot in fleet.wanted_workers if slot.state is SlotState.VACANT and slot.starts]
    return f"; waiting to start again: {', '.join(_died(slot) for slot in dead)}" if dead else ""


def _died(slot: Slot) -> str:
    return f"worker {slot.number} ({slot.last_cause.word.replace('_', ' ')})"


def _reload_problem(fleet: Fleet) -> str:
    if fleet.reload_problem is None:
        return ""
    return f"; the settings that were read last are not in use: {fleet.reload_problem.value}, see the log"
