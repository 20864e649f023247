"""The whole state of a supervisor as one frozen value: all slots, and what was requested of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from uuid import UUID

MONITOR = -1  # the number of the monitor's slot, while the workers' slots count from 0


class SlotState(IntEnum):
    """State of a slot and of the process in it. The numbers are stored in the scoreboard's ledger."""

    VACANT = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    KILLED = 4


ALIVE = frozenset({SlotState.STARTING, SlotState.RUNNING, SlotState.STOPPING})  # the slot has a process without a SIGKILL


class ActionReason(Enum):
    """The reason for an action, written to the log and counted in the metrics."""

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
    PERMIT_UNUSED = "waited for a permit that no worker uses"


# Reasons for which the process that ends is not at fault.
REQUESTED_STOPS = frozenset(
    {
        ActionReason.DRAIN,
        ActionReason.DRAIN_EXPIRED,
        ActionReason.STOP_NOW,
        ActionReason.WORKERS_GONE,
        ActionReason.OUTDATED,
        ActionReason.PERMIT_UNUSED,
    }
)


class ExitCause(IntEnum):
    """The cause of a process's end. Each end has exactly one. The numbers are stored in the scoreboard's ledger."""

    ASKED = 0  # left by itself with status 0 after a request to leave
    OPERATOR = 1  # killed because its time to leave was over
    EXIT_CODE = 2  # left by itself without a request, or with a status other than 0
    SIGNAL = 3  # from an unknown sender
    OOM = 4  # the kernel's OOM killer
    HUNG = 5  # ended by the supervisor after an exceeded deadline
    MEMORY = 6  # killed by the supervisor above the hard memory limit
    BOOT = 7  # ended before its first deadline, by itself or because the boot took too long

    @property
    def is_crash(self) -> bool:
        """True if the end counts against the slot and against the job in hand."""
        return self not in {ExitCause.ASKED, ExitCause.OPERATOR}

    @property
    def word(self) -> str:
        """Name in the log, the metrics and the status."""
        return self.name.lower()


def crashes(ends_by_cause: Sequence[int]) -> int:
    """Count the ends that are crashes. `ends_by_cause` is indexed by the number of the cause."""
    return sum(ends_by_cause[cause] for cause in ExitCause if cause.is_crash)


class ReloadProblem(Enum):
    """The reason why the settings that were read last are not in use."""

    WRONG_SETTINGS = "wrong settings"
    REJECTED_BY_WORKER = "a worker cannot start with them"
    NEEDS_RESTART = "another database or runtime directory"


@dataclass(frozen=True, slots=True)
class Run:
    """One life of a process that ended as a crash. `jitter` in [0, 1) is the drawn part of the wait before the next start."""

    ended_at_seconds: float
    lived_seconds: float
    jitter: float = 1.0

    @property
    def started_at_seconds(self) -> float:
        return self.ended_at_seconds - self.lived_seconds


@dataclass(frozen=True, slots=True)
class Slot:
    """A numbered place for a process. It survives restarts, and each process in it has a pid and an incarnation."""

    number: int
    state: SlotState = SlotState.VACANT
    since_seconds: float = 0.0  # when the state began
    pid: int = 0
    incarnation: int = 0
    started_at_seconds: float = 0.0
    deadline_seconds: float | None = None  # of the step that the process is in, None while it boots
    stop_by_seconds: float = 0.0  # in STOPPING: the end of the grace period
    stop_reason: ActionReason | None = None  # of the SIGTERM, None if none was sent
    kill_reason: ActionReason | None = None  # of the SIGKILL, None if none was sent
    starts: int = 0
    last_status: int = 0
    last_cause: ExitCause = ExitCause.ASKED
    ends_by_cause: tuple[int, ...] = (0,) * len(ExitCause)  # indexed by the number of the cause
    crash_runs: tuple[Run, ...] = ()  # the latest lives in a row that ended as crashes, newest last
    generation: int = 0  # of the settings that it was forked with
    is_busy: bool = False  # its record names a job in hand
    is_in_call: bool = False  # to a model
    permit_since_seconds: float | None = None  # since then it waits for a permit, None if it does not
    rss_bytes: int = 0  # resident set, newest sample of this life, 0 before the first
    baseline_bytes: int | None = None  # the first sample after the boot
    retire_reason: ActionReason | None = None  # of the request to leave after the job in hand, None if there is none
    is_recycle_asked: bool = False  # an operator requested a new process in this slot

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
    """A lease of a dead worker, for the monitor to reclaim. `is_counted`: the death counts against the job (culprits.py)."""

    slot: int
    job_id: UUID | None
    lease_key: UUID
    is_counted: bool
    asked_monitor: int = 0  # incarnation of the monitor that got the last request, 0 if none did


@dataclass(frozen=True, slots=True)
class Fleet:
    """The slots, and what was requested of all of them together.

    `stop_asked_at_seconds` has one time per request to stop: the first starts the drain, the second shortens it, the third
    kills at once. Progress is a worker's finished boot or a new deadline. A generation is one reading of the settings, and
    its number is never used again. Processes are forked with the settings of `generation`. `spared_job_ids` are the jobs with
    which a worker crashed before it had asked a model, newest last.
    """

    workers: tuple[Slot, ...]  # each at the index of its number
    monitor: Slot
    wanted: int  # number of workers: a slot of this number or above is not filled
    stop_asked_at_seconds: tuple[float, ...] = ()
    dead_leases: tuple[DeadLease, ...] = ()
    spared_job_ids: tuple[UUID, ...] = ()
    has_bad_configuration: bool = False  # a child ended with EX_CONFIG, and no older settings are known to work
    killed_during_drain: bool = False  # a stop killed a worker
    gave_up: bool = False  # the supervisor stopped by itself after crashes without progress
    is_ready: bool = False  # a worker has reached the database
    generation: int = 0
    last_good_generation: int | None = None  # the newest whose worker has reached the database
    reload_problem: ReloadProblem | None = None
    last_progress_seconds: float | None = None  # before the first progress: the first start
    crashes_since_progress: int = 0

    @classmethod
    def of(cls, workers: int) -> "Fleet":
        """Return a fleet of vacant slots."""
        return cls(tuple(Slot(number) for number in range(workers)), Slot(MONITOR), workers)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All slots, the monitor's last."""
        return (*self.workers, self.monitor)

    @property
    def wanted_workers(self) -> tuple[Slot, ...]:
        return self.workers[: self.wanted]

    @property
    def is_reloading(self) -> bool:
        """True if a wanted worker still runs with settings of another generation."""
        return any(slot.is_occupied and slot.generation != self.generation for slot in self.wanted_workers)

    @property
    def is_stopping(self) -> bool:
        return bool(self.stop_asked_at_seconds)

    def slot(self, number: int) -> Slot:
        """Return the slot of this number. Raises IndexError if there is none."""
        if number == MONITOR:
            return self.monitor
        if not 0 <= number < len(self.workers):
            raise IndexError(f"no slot {number}")
        return self.workers[number]

    def with_slot(self, changed: Slot) -> "Fleet":
        """Return the fleet with this slot in place of the one of the same number. Raises IndexError if there is none."""
        if changed.number == MONITOR:
            return replace(self, monitor=changed)
        if not 0 <= changed.number < len(self.workers):
            raise IndexError(f"no slot {changed.number}")
        workers = tuple(changed if slot.number == changed.number else slot for slot in self.workers)
        return replace(self, workers=workers)
