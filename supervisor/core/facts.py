"""Facts: things that have happened. `apply` alone turns them into changes of the fleet."""

from dataclasses import dataclass
from uuid import UUID

from supervisor import exit_codes
from supervisor.core.fleet import ActionReason


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
    jitter: float = 1.0  # as in Exited


@dataclass(frozen=True, slots=True)
class DeadlineSet:
    """The process wrote a new deadline, leased a job or ended one. The first deadline of a life ends its boot.

    `is_ready`: the worker has reached the database in this life. `is_busy`: it has a job in hand. `is_in_call`: it calls a model.
    `permit_since_seconds`: begin of its wait for a permit, None without one.
    """

    slot: int
    deadline_seconds: float
    at_seconds: float
    is_ready: bool = False
    is_busy: bool = False
    is_in_call: bool = False
    permit_since_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A process's resident set was sampled."""

    slot: int
    rss_bytes: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Retired:
    """The worker's bit is set in the control record, so it leaves after the job in hand."""

    slot: int
    why: ActionReason
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Terminated:
    """SIGTERM was sent."""

    slot: int
    why: ActionReason
    stop_by_seconds: float
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Killed:
    """SIGKILL was sent to the process group."""

    slot: int
    why: ActionReason
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Exited:
    """A child was reaped. `status` is the exit code, or minus the signal.

    `lease_key` and `next_lease_key` come from its last scoreboard record: the lease of the job in hand, and one that it was
    requesting. `is_before_call`: by this record it had not begun the next call to a model. `is_foreign_call`: it was in a call
    of a foreign adapter. `is_oom`: the kernel has counted an out-of-memory kill in the supervisor's control group. `jitter` in
    [0, 1) is the part of the backoff to wait. The system draws it, because `core` has no randomness.
    """

    slot: int
    pid: int
    status: int
    at_seconds: float
    job_id: UUID | None = None
    lease_key: UUID | None = None
    next_lease_key: UUID | None = None
    is_oom: bool = False
    jitter: float = 1.0  # the whole wait
    is_before_call: bool = False
    is_foreign_call: bool = False

    @property
    def is_bad_configuration(self) -> bool:
        """True if the child cannot work with its settings. With a job in hand, the job caused the status, not the settings."""
        return self.status == exit_codes.EX_CONFIG and self.lease_key is None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """SIGTERM or SIGINT reached the supervisor."""

    at_seconds: float


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The supervisor stops by itself, because workers only crash."""

    at_seconds: float


@dataclass(frozen=True, slots=True)
class Scaled:
    """An operator set the number of workers, 1 to MAX_SLOTS."""

    workers: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class RecycleAsked:
    """An operator requested new processes in these slots. Vacant slots, the monitor and unknown numbers are ignored."""

    slots: tuple[int, ...]
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The settings were read again and are valid. No earlier reading had this generation."""

    generation: int
    workers: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class ReloadRejected:
    """The settings were read again, and `problems` of them are wrong or need a new start. The old settings stay in use."""

    problems: int
    at_seconds: float
    needs_restart: bool = False


@dataclass(frozen=True, slots=True)
class ReclaimSent:
    """The monitor of this incarnation got the request to reclaim a dead worker's lease."""

    lease_key: UUID
    monitor_incarnation: int


@dataclass(frozen=True, slots=True)
class LeaseReclaimed:
    """The monitor has reclaimed the lease, or found the job settled. `outcome` is for the log."""

    lease_key: UUID
    outcome: str


@dataclass(frozen=True, slots=True)
class SurvivorKilled:
    """SIGKILL was sent to a process that an adapter had forked and that held descriptors of the slot's dead worker."""

    slot: int
    pid: int


FactOfASlot = Spawned | SpawnFailed | DeadlineSet | Measured | Retired | Terminated | Killed | Exited
FactOfTheFleet = (
    StopAsked | GaveUp | Scaled | RecycleAsked | Reloaded | ReloadRejected | ReclaimSent | LeaseReclaimed | SurvivorKilled
)
Fact = FactOfASlot | FactOfTheFleet
