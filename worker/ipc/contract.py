"""What the supervisor and a worker agree on: phases, counters, exit codes, the wiring a worker inherits, and its events."""

import traceback
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from worker.ipc.scoreboard import Scoreboard

WORKER_CRASHED = "worker_crashed"
MAX_EVENT_BYTES = 2048
MAX_REPORTED_SECONDS = 1e6
MAX_TOKENS_PER_SECOND = 1e9


class ErrorCode(StrEnum):
    """What a failed submission may carry; the platform's functions refuse any other."""

    VISION_FAILED = "vision_failed"
    FEEDBACK_FAILED = "feedback_failed"
    INPUT_CORRUPT = "input_corrupt"
    INPUT_UNSUPPORTED = "input_unsupported"
    INPUT_TOO_LARGE = "input_too_large"


class Step(StrEnum):
    """The two steps that call a model; also the `phase` of the platform's mark_retry."""

    VISION = "vision"
    FEEDBACK = "feedback"

    @property
    def failure(self) -> ErrorCode:
        return ErrorCode.VISION_FAILED if self is Step.VISION else ErrorCode.FEEDBACK_FAILED


class Activity(IntEnum):
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


BUSY = frozenset(Activity) - {Activity.BOOT, Activity.CONNECT, Activity.IDLE, Activity.LEASE}  # with a job in hand


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
    RELEASED = 8
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


class HoldReason(IntEnum):
    """Why work is held back, as the monitor decided. The numbers are stored in the scoreboard; the words are the journal's."""

    NONE = 0
    MEMORY = 1  # Ollama uses more than OLLAMA_MEMORY_LIMIT, or has not yet fallen below the low water
    REOPENING = 2  # below the low water: one slot after another
    EVICTION = 3  # stalled for the longest time allowed: idle models are unloaded
    CANARY = 4  # held for the longest time allowed: one job shows whether more may run
    UNKNOWN = 5  # a limit is set, and nobody can tell what Ollama uses
    BREAKER = 6  # a model failed several times in a row
    PROBING = 7  # one call shows whether the model answers again
    RAMPING = 8  # it answers again: 1, 2, 4 ... calls at once
    WEDGED = 9  # the server lists the model, and no call to it gets on
    LOADING = 10  # the model is not loaded yet
    EXCLUSIVE = 11  # two models that do not fit together: it is the other one's phase
    TURNS = 12  # two models on the same cores: it is the other one's turn
    UNLOADABLE = 13  # the model could not be loaded, and work waits for it


class CallOutcome(StrEnum):
    """How a call to a model ended."""

    ANSWERED = "answered"  # to its end, whatever the answer is worth
    BUSY = "busy"  # 503: the server has no room
    FAILED = "failed"  # unreachable, an error status, a broken stream, too slow
    SILENT = "silent"  # no token, or no further one, in its time
    RUNAWAY = "runaway"  # more than num_predict explains, or endless repetition
    REFUSED = "refused"  # 400: a matter of this request


class EventKind(Enum):
    """What an event reports."""

    BOOTED = "booted"
    LEASED = "leased"
    STEP_FAILED = "step_failed"
    SETTLED = "settled"
    CONNECTION_LOST = "connection_lost"
    REFUSED = "refused"
    BUG = "bug"
    CALL = "call"


Seconds = Annotated[float, Field(ge=0, le=MAX_REPORTED_SECONDS)]


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One request to a model that is over, in numbers; None where the server told none. From ollama.md 2.5:

    `load_seconds` includes the queue for the scheduler; `wait_seconds` is what of the server's total is neither load nor
    prompt nor answer: the wait for a slot of the loaded model.
    """

    outcome: CallOutcome
    first_token_seconds: Seconds | None = None  # since the request was sent, as we saw it
    tokens_per_second: Annotated[float, Field(ge=0, le=MAX_TOKENS_PER_SECOND)] | None = None
    load_seconds: Seconds | None = None
    wait_seconds: Seconds | None = None
    answer_seconds: Seconds | None = None  # from its first token to its last


class Event(BaseModel):
    """One datagram from a worker to the monitor. Ids, classes and numbers only: no text of a pupil, no file name.

    A job without mishaps costs one: SETTLED, with the seconds of the whole job and of its steps (of all pages together), and
    with the job that was leased in the same round trip. Beside it each call to a real model costs one: CALL.
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
    steps: Annotated[dict[Activity, Seconds], Field(max_length=len(Activity))] = {}
    step: Step | None = None
    call: ModelCall | None = None

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
