"""All slots and what was asked of them: the whole state of a supervisor, as one frozen value."""

from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from uuid import UUID

MONITOR = -1  # the monitor's slot number; workers count from 0


class Stage(IntEnum):
    """Where a slot is. The numbers stand in the scoreboard's ledger."""

    VACANT = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    KILLED = 4


class Why(Enum):
    """The reason for an action, told in the log and counted in the metrics."""

    FIRST_START = "first start"
    REPLACEMENT = "replacement"
    BOOT_TOO_SLOW = "boot took longer than promised"
    BROKEN_PROMISE = "broken promise"
    DRAIN = "drain"
    LAST_OUT = "all workers are gone"
    GRACE_EXPIRED = "grace expired"
    DRAIN_EXPIRED = "drain took too long"
    STOP_NOW = "immediate stop"
    DEATH_IN_A_JOB = "its worker died"


BLAMELESS = frozenset({Why.DRAIN, Why.DRAIN_EXPIRED, Why.STOP_NOW, Why.LAST_OUT})  # deaths that a job did not cause


@dataclass(frozen=True, slots=True)
class Run:
    """One finished life of a process that ended by itself: when, and how long it had lived."""

    ended_at_seconds: float
    lived_seconds: float


@dataclass(frozen=True, slots=True)
class Slot:
    """A numbered place for a process. It survives restarts; the process in it has a pid and an incarnation."""

    number: int
    stage: Stage = Stage.VACANT
    since_seconds: float = 0.0  # when the stage began
    pid: int = 0
    incarnation: int = 0
    started_at_seconds: float = 0.0
    deadline_seconds: float | None = None  # what the process promised; None while it boots
    stop_by_seconds: float = 0.0  # in STOPPING: when the grace ends
    stop_why: Why | None = None  # who asked it to end; None: nobody
    starts: int = 0
    crashes: int = 0
    last_status: int = 0
    crash_runs: tuple[Run, ...] = ()  # the latest lives in a row that ended as a crash, newest last

    @property
    def is_occupied(self) -> bool:
        return self.stage is not Stage.VACANT

    @property
    def is_worker(self) -> bool:
        return self.number != MONITOR


@dataclass(frozen=True, slots=True)
class DeadLease:
    """A lease whose worker is dead: the monitor gives it back. `is_counted`: the death counts against the job."""

    slot: int
    job_id: UUID | None
    lease_key: UUID
    is_counted: bool
    sent_to: int = 0  # the monitor's incarnation that was asked last


@dataclass(frozen=True, slots=True)
class Fleet:
    """`stop_asked_at_seconds` has one time per request to stop: the first drains, the second shortens, the third is now."""

    slots: tuple[Slot, ...]
    stop_asked_at_seconds: tuple[float, ...] = ()
    dead_leases: tuple[DeadLease, ...] = ()
    is_refused: bool = False  # a child said that its configuration can never work
    was_cut_short: bool = False  # a worker was killed during the stop

    @classmethod
    def of(cls, workers: int) -> "Fleet":
        return cls(tuple(Slot(number) for number in (*range(workers), MONITOR)))

    @property
    def workers(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.is_worker)

    @property
    def monitor(self) -> Slot:
        return self.slot(MONITOR)

    @property
    def is_stopping(self) -> bool:
        return bool(self.stop_asked_at_seconds)

    def slot(self, number: int) -> Slot:
        """Raises KeyError for a number that is no slot."""
        return {slot.number: slot for slot in self.slots}[number]

    def with_slot(self, changed: Slot) -> "Fleet":
        return replace(self, slots=tuple(changed if slot.number == changed.number else slot for slot in self.slots))
