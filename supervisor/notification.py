"""What a service manager is told, as a pure function of the fleet: the lines of sd_notify(3)."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import assert_never

from supervisor.core.fleet import Fleet, Slot, SlotState

EXTENSION_SECONDS = 30.0  # what a start, a reload or a stop is given more, again and again while the loop runs
EXTEND_EVERY_SECONDS = 10.0
WATCHDOG_PARTS = 4  # sd_watchdog_enabled(3) wants half of it; a loop that comes round once a second may be late by one
_USEC = 1_000_000


class ServiceState(Enum):
    """Where the service is, in the words of sd_notify(3)."""

    BOOTING = "booting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class SentState:
    """What the service manager knows from us, and when it was last told that we are alive or need more time."""

    state: ServiceState = ServiceState.BOOTING
    status: str = ""
    watchdog_at_seconds: float = float("-inf")
    extended_at_seconds: float = float("-inf")


def notification(
    fleet: Fleet, told: SentState, now_seconds: float, watchdog_seconds: float | None
) -> tuple[tuple[str, ...], SentState]:
    """The lines that are due, and what is known when they have arrived. Times are of the monotonic clock, as MONOTONIC_USEC."""
    state, status = state_of(fleet), sentence(fleet)
    lines: list[str] = []
    if state is not told.state:
        lines += _news(state, now_seconds)
    if status != told.status:
        lines.append(f"STATUS={status}")
    known = replace(told, state=state, status=status)
    if watchdog_seconds is not None and now_seconds >= told.watchdog_at_seconds + watchdog_seconds / WATCHDOG_PARTS:
        lines.append("WATCHDOG=1")
        known = replace(known, watchdog_at_seconds=now_seconds)
    is_under_way = state is not ServiceState.READY  # systemd gives each of these a timeout, and cannot know how long a job takes
    if is_under_way and (state is not told.state or now_seconds >= told.extended_at_seconds + EXTEND_EVERY_SECONDS):
        lines.append(f"EXTEND_TIMEOUT_USEC={int(EXTENSION_SECONDS * _USEC)}")
        known = replace(known, extended_at_seconds=now_seconds)
    return tuple(lines), known


def state_of(fleet: Fleet) -> ServiceState:
    """Ready is who has a worker that has reached the database."""
    if fleet.is_stopping:
        return ServiceState.STOPPING
    if not fleet.is_ready:
        return ServiceState.BOOTING
    return ServiceState.RELOADING if fleet.is_reloading else ServiceState.READY


def sentence(fleet: Fleet) -> str:
    """One line for `systemctl status`."""
    match state_of(fleet):
        case ServiceState.BOOTING:
            return "Starting: no worker has reached the database yet" + _missing(fleet)
        case ServiceState.READY:
            running = sum(slot.state is SlotState.RUNNING for slot in fleet.wanted_workers)
            return f"{running} of {_workers(fleet.wanted)} run" + _missing(fleet) + _reload_problem(fleet)
        case ServiceState.RELOADING:
            renewed = sum(slot.generation == fleet.generation and slot.is_occupied for slot in fleet.wanted_workers)
            return f"The settings were read again: {renewed} of {_workers(fleet.wanted)} have them" + _reload_problem(fleet)
        case ServiceState.STOPPING:
            left = sum(slot.is_occupied for slot in fleet.workers)
            why = "Giving up, as there was nothing but crashes" if fleet.gave_up else "Stopping"
            return f"{why}: {_workers(left)} left"
        case unknown:
            assert_never(unknown)


def _news(state: ServiceState, now_seconds: float) -> list[str]:
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
    """Who died and waits, with the cause: a worker that has never run yet is not missing."""
    dead = [slot for slot in fleet.wanted_workers if slot.state is SlotState.VACANT and slot.starts]
    return f"; waiting to start again: {', '.join(_died(slot) for slot in dead)}" if dead else ""


def _died(slot: Slot) -> str:
    return f"worker {slot.number} ({slot.last_cause.word.replace('_', ' ')})"


def _reload_problem(fleet: Fleet) -> str:
    if fleet.reload_problem is None:
        return ""
    return f"; the settings that were read last are not in use: {fleet.reload_problem.value}, see the log"


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
