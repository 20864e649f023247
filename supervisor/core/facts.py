"""What happened: the only things that change the fleet."""

from dataclasses import dataclass
from uuid import UUID

from supervisor.core.fleet import ActionReason

REFUSED_STATUS = 78  # EX_CONFIG of sysexits.h: no restart can help


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
    """The process finished its boot, deadline_set another deadline, took a job or put one down.

    `is_ready`: a worker has reached the database in this life. `is_busy`: it has a job in hand.
    """

    slot: int
    deadline_seconds: float
    at_seconds: float
    is_ready: bool = False
    is_busy: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """How much memory a process holds now: its resident set."""

    slot: int
    rss_bytes: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Retired:
    """The worker finds its bit in the control record and leaves after the job in hand."""

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
    """A child was reaped. `status`: exit code, or minus the signal. With the leases that its scoreboard record still named: of
    the job in its hands, and one that it was asking for.

    `is_oom`: the kernel has counted a kill for want of memory among us. `jitter` in [0, 1): which part of a backoff is due,
    drawn by the world, as nothing here is random.
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

    @property
    def is_refusal(self) -> bool:
        """It cannot work with its configuration. Who had a job in hand could: the job has ended it with this status."""
        return self.status == REFUSED_STATUS and self.lease_key is None


@dataclass(frozen=True, slots=True)
class StopAsked:
    """SIGTERM or SIGINT reached the supervisor."""

    at_seconds: float


@dataclass(frozen=True, slots=True)
class GaveUp:
    """We ask ourselves to stop."""

    at_seconds: float


@dataclass(frozen=True, slots=True)
class Scaled:
    """An operator wants this many workers, 1 to MAX_SLOTS."""

    workers: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class RecycleAsked:
    """An operator wants new processes in these slots. What is no worker, or not there, has nothing to replace."""

    slots: tuple[int, ...]
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The settings were read again and are right. The generation is a number that no reading had before."""

    generation: int
    workers: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class ReloadRejected:
    """The settings were read again, and so many are wrong: the old ones stay."""

    problems: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class LeaseSent:
    """The monitor of this incarnation was asked to give a dead worker's lease back."""

    lease_key: UUID
    monitor_incarnation: int


@dataclass(frozen=True, slots=True)
class LeaseReclaimed:
    """The monitor has given it back, or found it settled. `outcome` is for the log."""

    lease_key: UUID
    outcome: str


FactOfASlot = Spawned | SpawnFailed | DeadlineSet | Measured | Retired | Terminated | Killed | Exited
FactOfTheFleet = StopAsked | GaveUp | Scaled | RecycleAsked | Reloaded | ReloadRejected | LeaseSent | LeaseReclaimed
Fact = FactOfASlot | FactOfTheFleet
