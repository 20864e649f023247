"""All slots and what was asked of them: the whole state of a supervisor, as one frozen value."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from uuid import UUID

MONITOR = -1  # the monitor's slot number; workers count from 0


class SlotState(IntEnum):
    """Where a slot is. The numbers stand in the scoreboard's ledger."""

    VACANT = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    KILLED = 4


ALIVE = frozenset({SlotState.STARTING, SlotState.RUNNING, SlotState.STOPPING})  # there is a process, and nobody has killed it yet


class ActionReason(Enum):
    """The reason for an action, told in the log and counted in the metrics."""

    FIRST_START = "first start"
    REPLACEMENT = "replacement"
    BOOT_TOO_SLOW = "boot timed out"
    DEADLINE_EXCEEDED = "deadline exceeded"
    DRAIN = "drain"
    WORKERS_GONE = "all workers are gone"
    GRACE_EXPIRED = "grace expired"
    DRAIN_EXPIRED = "drain took too long"
    STOP_NOW = "immediate stop"
    DEATH_IN_A_JOB = "its worker died"
    DEADLINE_EXCEEDED_IN_DRAIN = "deadline exceeded while draining"
    OVER_HARD_LIMIT = "memory over the hard limit"
    OVER_SOFT_LIMIT = "memory over the soft limit"
    OUTDATED = "settings were read again"
    OPERATOR = "asked for by an operator"
    SURPLUS = "more workers than wanted"
    NO_PROGRESS = "nothing but crashes"


REQUESTED_STOPS = frozenset(
    {ActionReason.DRAIN, ActionReason.DRAIN_EXPIRED, ActionReason.STOP_NOW, ActionReason.WORKERS_GONE, ActionReason.OUTDATED}
)  # nothing the process did


class ExitCause(IntEnum):
    """Why a process ended, each end under exactly one. The numbers stand in the scoreboard's ledger."""

    ASKED = 0  # left by itself, with 0, as it was asked to
    OPERATOR = 1  # killed, as a stop did not wait any longer
    EXIT_CODE = 2
    SIGNAL = 3  # of an unknown sender
    OOM = 4  # the kernel's OOM killer
    HUNG = 5  # we ended it: it had broken its deadline
    MEMORY = 6  # we ended it: it was over the hard limit
    BOOT = 7  # it died before its first deadline, or we ended it as that did not come

    @property
    def is_crash(self) -> bool:
        """Counts against the slot, and against the job it had in hand."""
        return self not in {ExitCause.ASKED, ExitCause.OPERATOR}

    @property
    def word(self) -> str:
        """As the log, the metrics and the status have it."""
        return self.name.lower()


def crashes(ends_by_cause: Sequence[int]) -> int:
    """Of the ends at their causes' numbers those that nobody asked for."""
    return sum(ends_by_cause[cause] for cause in ExitCause if cause.is_crash)


class ReloadProblem(Enum):
    """Why the settings that were read last are not in use."""

    WRONG_SETTINGS = "wrong settings"
    REJECTED_BY_WORKER = "a worker refused them"


@dataclass(frozen=True, slots=True)
class Run:
    """One finished life that ended as a crash: when, how long it had lived, and which part in [0, 1) of the wait is due."""

    ended_at_seconds: float
    lived_seconds: float
    jitter: float = 1.0

    @property
    def started_at_seconds(self) -> float:
        return self.ended_at_seconds - self.lived_seconds


@dataclass(frozen=True, slots=True)
class Slot:
    """A numbered place for a process. It survives restarts; the process in it has a pid and an incarnation."""

    number: int
    state: SlotState = SlotState.VACANT
    since_seconds: float = 0.0  # when the state began
    pid: int = 0
    incarnation: int = 0
    started_at_seconds: float = 0.0
    deadline_seconds: float | None = None  # what the process deadline_set; None while it boots
    stop_by_seconds: float = 0.0  # in STOPPING: when the grace ends
    stop_reason: ActionReason | None = None  # who asked it to end; None: nobody
    kill_reason: ActionReason | None = None  # why we have killed it; None: we have not
    starts: int = 0
    last_status: int = 0
    last_cause: ExitCause = ExitCause.ASKED
    ends_by_cause: tuple[int, ...] = (0,) * len(ExitCause)  # at the cause's number
    crash_runs: tuple[Run, ...] = ()  # the latest lives in a row that ended as a crash, newest last
    generation: int = 0  # of the settings it was forked with
    is_busy: bool = False  # it says that it has a job in hand
    rss_bytes: int = 0  # the newest sample of this life; 0: none yet
    baseline_bytes: int | None = None  # the first sample after the boot
    retire_reason: ActionReason | None = None  # why it was asked to leave by itself, after the job in hand
    is_recycle_asked: bool = False  # an operator wants another process in its place

    @property
    def is_occupied(self) -> bool:
        return self.state is not SlotState.VACANT

    @property
    def is_worker(self) -> bool:
        return self.number != MONITOR

    @property
    def is_retiring(self) -> bool:
        return self.retire_reason is not None


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
    """`stop_asked_at_seconds` has one time per request to stop: the first drains, the second shortens, the third is now.

    Progress is a worker's finished boot or a new deadline. A generation is one reading of the settings; its number is never
    used again. Processes are forked with the settings of `generation`.
    """

    slots: tuple[Slot, ...]  # each at the place of its number: workers from 0, and the monitor, -1, last
    wanted: int  # workers; a slot of this number or above is not filled
    stop_asked_at_seconds: tuple[float, ...] = ()
    dead_leases: tuple[DeadLease, ...] = ()
    is_refused: bool = False  # a child said that its configuration can never work
    killed_during_drain: bool = False  # a worker was killed during the stop
    gave_up: bool = False  # nothing but crashes: asked itself to stop
    is_ready: bool = False  # a worker has reached the database
    generation: int = 0
    last_good_generation: int | None = None  # the newest with which a worker has reached the database
    reload_problem: ReloadProblem | None = None
    last_progress_seconds: float | None = None  # before the first progress: the first start
    crashes_since_progress: int = 0

    @classmethod
    def of(cls, workers: int) -> "Fleet":
        return cls(tuple(Slot(number) for number in (*range(workers), MONITOR)), workers)

    @property
    def workers(self) -> tuple[Slot, ...]:
        return self.slots[:-1]

    @property
    def wanted_workers(self) -> tuple[Slot, ...]:
        return self.slots[: min(self.wanted, len(self.slots) - 1)]

    @property
    def is_reloading(self) -> bool:
        """Some worker still runs with settings of another generation."""
        return any(slot.is_occupied and slot.generation != self.generation for slot in self.wanted_workers)

    @property
    def monitor(self) -> Slot:
        return self.slots[MONITOR]

    @property
    def is_stopping(self) -> bool:
        return bool(self.stop_asked_at_seconds)

    def slot(self, number: int) -> Slot:
        """Raises IndexError for a number that is no slot."""
        return self.slots[number]

    def with_slot(self, changed: Slot) -> "Fleet":
        slots = list(self.slots)
        slots[changed.number] = changed
        return replace(self, slots=tuple(slots))
