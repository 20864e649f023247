"""What the supervisor may do. Every action carries its ActionReason."""

from dataclasses import dataclass
from uuid import UUID

from supervisor.core.fleet import ActionReason


@dataclass(frozen=True, slots=True)
class Spawn:
    slot: int
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Terminate:
    """SIGTERM; the process has until `stop_by_seconds`."""

    slot: int
    stop_by_seconds: float
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL to the process group."""

    slot: int
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Retire:
    """Ask a worker to leave by itself, after the job in hand and never in the middle: its bit in the control record."""

    slot: int
    why: ActionReason


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No restart helps: a request to stop, made by ourselves."""

    why: ActionReason


@dataclass(frozen=True, slots=True)
class ReclaimLease:
    """Ask the monitor to give a dead worker's job back."""

    slot: int
    job_id: UUID | None
    lease_key: UUID
    is_counted: bool
    why: ActionReason


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do: the supervisor's own exit code, and how many leases of the dead nobody gave back."""

    exit_code: int
    leases_left: int = 0


Action = Spawn | Terminate | Kill | Retire | GiveUp | ReclaimLease | Finish
