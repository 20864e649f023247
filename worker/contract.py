"""What the supervisor and a worker agree on: phases, counters, exit codes, the wiring a worker inherits, and its events."""

import traceback
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from worker.core.job import ErrorCode
from worker.scoreboard import Scoreboard

MAX_EVENT_BYTES = 2048


class Phase(IntEnum):
    """What a worker is doing. The numbers are stored in the scoreboard."""

    BOOT = 1
    CONNECT = 2
    IDLE = 3
    LEASE = 4
    READ = 5
    PERMIT = 6
    VISION = 7
    FEEDBACK = 8
    SETTLE = 9
    CHECKPOINT = 10


BUSY = frozenset(Phase) - {Phase.BOOT, Phase.CONNECT, Phase.IDLE, Phase.LEASE}  # with a job in hand


class Counter(IntEnum):
    """Totals that a slot keeps in the scoreboard, so that no restart and no full socket loses one. The numbers are places."""

    COMPLETED = 0
    FAILED_VISION = 1
    FAILED_FEEDBACK = 2
    FAILED_INPUT_CORRUPT = 3
    FAILED_INPUT_UNSUPPORTED = 4
    FAILED_INPUT_TOO_LARGE = 5
    RETRIED_VISION = 6
    RETRIED_FEEDBACK = 7
    RETURNED = 8
    REJECTED_BY_FENCE = 9
    OCR_REUSED = 10
    VISION_CALLS = 11
    FEEDBACK_CALLS = 12
    ADAPTER_BUGS = 13
    EVENTS_DROPPED = 14
    QUARANTINED = 15
    PAGES_REUSED = 16
    RUNAWAYS = 17
    SCORES_CLAMPED = 18


FAILURES = {
    ErrorCode.VISION_FAILED: Counter.FAILED_VISION,
    ErrorCode.FEEDBACK_FAILED: Counter.FAILED_FEEDBACK,
    ErrorCode.INPUT_CORRUPT: Counter.FAILED_INPUT_CORRUPT,
    ErrorCode.INPUT_UNSUPPORTED: Counter.FAILED_INPUT_UNSUPPORTED,
    ErrorCode.INPUT_TOO_LARGE: Counter.FAILED_INPUT_TOO_LARGE,
}


class ExitCode(IntEnum):
    """How a worker or the monitor ends by itself; 78 is EX_CONFIG of sysexits.h."""

    DONE = 0
    BUG = 70
    SUPERVISOR_GONE = 71
    REFUSED = 78


class StepName(StrEnum):
    """The steps of a job whose durations are reported."""

    READ = "read"
    VISION = "vision"
    FEEDBACK = "feedback"
    SETTLE = "settle"


class EventKind(Enum):
    """What an event reports."""

    BOOTED = "booted"
    LEASED = "leased"
    STEP_FAILED = "step_failed"
    SETTLED = "settled"
    CONNECTION_LOST = "connection_lost"
    REFUSED = "refused"
    BUG = "bug"


Seconds = Annotated[float, Field(ge=0, lt=1e6)]


class Event(BaseModel):
    """One datagram from a worker to the monitor. Ids, classes and numbers only: no text of a pupil, no file name.

    A job without mishaps costs one: SETTLED, with the seconds of the whole job and of its steps (of all pages together), and
    with the job that was leased in the same round trip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: EventKind
    incarnation: Annotated[int, Field(ge=0, lt=2**32)]
    job_id: UUID | None = None
    submission_id: UUID | None = None
    next_job_id: UUID | None = None
    outcome: Annotated[str, Field(max_length=64, pattern=r"^[\w.-]*$")] = ""
    error_class: Annotated[str, Field(max_length=200, pattern=r"^[\w.:<>,? -]*$")] = ""
    seconds: Seconds = 0.0
    steps: Annotated[dict[StepName, Seconds], Field(max_length=len(StepName))] = {}

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()

    @classmethod
    def decode(cls, datagram: bytes) -> "Event":
        """Raises pydantic.ValidationError: what a worker sends is a claim."""
        return cls.model_validate_json(datagram)


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a worker inherits from the supervisor across the fork."""

    slot: int
    instance: int
    incarnation: int
    scoreboard: Scoreboard
    wake_fd: int  # eventfd: the monitor wakes an idle worker
    event_fd: int  # datagram socket: events to the monitor
    lifeline_fd: int  # pipe: end of file when the supervisor is gone
    memory_bytes: int = 0  # private memory that it may have; 0: no limit


def place_of(error: BaseException) -> str:
    """File and line where it was raised, without its message, which may carry a pupil's text."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
