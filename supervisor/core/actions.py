"""Actions: everything that the supervisor can do. Each has a reason for the log, and `Finish` has the exit code."""

from dataclasses import dataclass
from uuid import UUID

from supervisor.core.fleet import ActionReason


@dataclass(frozen=True, slots=True)
class Spawn:
    slot: int
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Terminate:
    """Send SIGTERM. The process is killed if it still runs at `stop_by_seconds`."""

    slot: int
    stop_by_seconds: float
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Kill:
    """Send SIGKILL to the process group."""

    slot: int
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Retire:
    """Set the worker's bit in the control record, so that it leaves after the job in hand."""

    slot: int
    why: ActionReason


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Stop the supervisor, because restarts do not help."""

    why: ActionReason


@dataclass(frozen=True, slots=True)
class ReclaimLease:
    """Ask the monitor to reclaim a dead worker's lease."""

    slot: int
    job_id: UUID | None
    lease_key: UUID
    is_counted: bool
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Finish:
    """Leave with this exit code. `leases_left` leases of dead workers were not reclaimed."""

    exit_code: int
    leases_left: int = 0


Action = Spawn | Terminate | Kill | Retire | GiveUp | ReclaimLease | Finish
