"""Terms shared by all processes: steps, activities, counters, exit codes, events, and what a worker inherits at its fork."""

import traceback
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from worker.ipc.scoreboard import Scoreboard

WORKER_CRASHED = "worker_crashed"
RATE_LIMITED = "provider_rate_limited"  # code of a foreign adapter whose provider answers 429
MAX_EVENT_BYTES = 2048
MAX_REPORTED_SECONDS = 1e6
MAX_TOKENS_PER_SECOND = 1e9


class ErrorCode(StrEnum):
    """Codes of a failed submission. The platform's functions reject any other code."""

    VISION_FAILED = "vision_failed"
    FEEDBACK_FAILED = "feedback_failed"
    INPUT_CORRUPT = "input_corrupt"
    INPUT_UNSUPPORTED = "input_unsupported"
    INPUT_TOO_LARGE = "input_too_large"


class Step(StrEnum):
    """The two steps that call a model. Their values are also the `phase` of the platform's mark_retry."""

    VISION = "vision"
    FEEDBACK = "feedback"

    @property
    def failure(self) -> ErrorCode:
        return ErrorCode.VISION_FAILED if self is Step.VISION else ErrorCode.FEEDBACK_FAILED


class Activity(IntEnum):
    """Current occupation of a worker. The numbers are stored in the scoreboard."""

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


JOB_ACTIVITIES = frozenset(Activity) - {Activity.BOOT, Activity.CONNECT, Activity.IDLE, Activity.LEASE}  # the worker holds a job

MODEL_CALLS = frozenset({Activity.VISION, Activity.FEEDBACK})
BEFORE_A_CALL = frozenset(
    {Activity.CONNECT, Activity.LEASE, Activity.READ, Activity.PERMIT}
)  # no call runs: its step has not begun, or its next page is read


class Counter(IntEnum):
    """Totals of a slot. They are kept in the scoreboard because a restart or a full socket must not lose one.

    The numbers are places in `WorkerRecord.counters`.
    """

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
    REASONS_MISSING = 18
    VISION_ANSWERED = 19  # calls with an answer, usable or not, during which no other call died
    FEEDBACK_ANSWERED = 20
    VISION_DIED = 21  # calls that ended without their answer and not for lack of time
    FEEDBACK_DIED = 22
    HELD = 23  # jobs given back for a fault of the surroundings. RELEASED counts them too
    HELD_TOO_LONG = 24  # of the failed jobs
    CHECKPOINTS = 25  # commits of a page or of a whole text
    STEPS_BEGUN = 26  # renewals of a lease for a step
    SUBMISSIONS_READ = 27  # rows, with the lease or after it
    REFUSED_FILE_EMPTY = 28  # from here: submissions that FAILED_INPUT_… count too, by the reason
    REFUSED_FILE_CUT_OFF = 29
    REFUSED_FILE_DAMAGED = 30
    REFUSED_FILE_TOO_LARGE = 31
    REFUSED_TOO_MANY_PAGES = 32
    REFUSED_DOCUMENT_LOCKED = 33
    REFUSED_KEY_REFUSED = 34
    REFUSED_PHOTO_FORMAT_UNKNOWN = 35
    REFUSED_NOT_A_DOCUMENT = 36
    REFUSED_FORM_NOT_PRINTED = 37
    FAILED_INVALID_ANALYSIS = 38  # also of practice attempts
    USAGE_RECORDED = 39
    USAGE_INVALID = 40
    USAGE_REFUSED = 41


FAILURE_COUNTERS: dict[str, Counter] = {
    ErrorCode.VISION_FAILED: Counter.FAILED_VISION,
    ErrorCode.FEEDBACK_FAILED: Counter.FAILED_FEEDBACK,
    ErrorCode.INPUT_CORRUPT: Counter.FAILED_INPUT_CORRUPT,
    ErrorCode.INPUT_UNSUPPORTED: Counter.FAILED_INPUT_UNSUPPORTED,
    ErrorCode.INPUT_TOO_LARGE: Counter.FAILED_INPUT_TOO_LARGE,
    "feedback_invalid_analysis": Counter.FAILED_INVALID_ANALYSIS,  # of a later platform, if its database takes it
}

REFUSAL_COUNTERS = {  # by the reason of a refused file, see worker.core.file_refusals
    "file_empty": Counter.REFUSED_FILE_EMPTY,
    "file_cut_off": Counter.REFUSED_FILE_CUT_OFF,
    "file_damaged": Counter.REFUSED_FILE_DAMAGED,
    "file_too_large": Counter.REFUSED_FILE_TOO_LARGE,
    "too_many_pages": Counter.REFUSED_TOO_MANY_PAGES,
    "document_locked": Counter.REFUSED_DOCUMENT_LOCKED,
    "key_refused": Counter.REFUSED_KEY_REFUSED,
    "photo_format_unknown": Counter.REFUSED_PHOTO_FORMAT_UNKNOWN,
    "not_a_document": Counter.REFUSED_NOT_A_DOCUMENT,
    "form_not_printed": Counter.REFUSED_FORM_NOT_PRINTED,
}


class Obstacle(StrEnum):
    """The reason for which a job stays queued. The same words are in obstacle.sql."""

    TEST = "test"  # the job belongs to a test, and those are skipped
    TEST_RUN = "test_run"  # the job belongs to none or another test run than the one that is set
    KIND = "kind"  # unknown kind of submission
    FILE_TYPE = "file_type"  # a program file, or an unknown type, that the vision adapter does not take
    MODE = "mode"  # unknown mode of analysis
    ADAPTER = "adapter"  # the feedback adapter has no method for the mode
    PRACTICE = "practice"  # an attempt of practice without its functions


class ExitCode(IntEnum):
    """Exit codes of a worker and of the monitor; 70 and 78 are EX_SOFTWARE and EX_CONFIG of sysexits.h."""

    DONE = 0
    BUG = 70
    SUPERVISOR_GONE = 71
    CONFIG = 78


class CallOutcome(StrEnum):
    """Result of a call to a model."""

    ANSWERED = "answered"  # complete, whether or not the answer is valid
    BUSY = "busy"  # 503: the server has no room
    FAILED = "failed"  # unreachable, an error status, a broken stream, too slow
    SILENT = "silent"  # no first token, or no further token, before its deadline
    RUNAWAY = "runaway"  # more than num_predict explains, or endless repetition
    BAD_REQUEST = "bad_request"  # 400: this request is at fault

    @property
    def is_answer(self) -> bool:
        """True if the model answered. Whether the answer is usable is not asked."""
        return self in (CallOutcome.ANSWERED, CallOutcome.RUNAWAY)


class EventKind(Enum):
    """Kinds of event."""

    BOOTED = "booted"
    LEASED = "leased"
    STEP_FAILED = "step_failed"
    NEXT_RUNG = "next_rung"  # the next attempt differs from this one: `outcome` is the name of its rung
    SETTLED = "settled"
    CONNECTION_LOST = "connection_lost"
    ROW_REFUSED = "row_refused"  # the database refuses one row: `outcome` passed_over, parked or failed
    UNSUITABLE = "unsuitable"  # the database or the settings: the worker ends with CONFIG
    BUG = "bug"
    CALL = "call"
    PAGE_DOUBTFUL = "page_doubtful"  # `error_class` has the reasons
    USAGE_REFUSED = "usage_refused"  # the database does not record the tokens of a job. Its outcome was written


Seconds = Annotated[float, Field(ge=0, le=MAX_REPORTED_SECONDS)]


@dataclass(frozen=True, slots=True)
class ModelCall:
    """Figures of one finished request to a model. None if the server reported none. From docs/ollama-api.md 2.5:

    `load_seconds` includes the time in the scheduler's queue. `wait_seconds` is the server's total without load, prompt and
    answer: the wait for a slot of the loaded model.
    """

    outcome: CallOutcome
    first_token_seconds: Seconds | None = None  # since the request was sent, measured by the worker
    tokens_per_second: Annotated[float, Field(ge=0, le=MAX_TOKENS_PER_SECOND)] | None = None
    load_seconds: Seconds | None = None
    wait_seconds: Seconds | None = None
    answer_seconds: Seconds | None = None  # from the first token to the last


class Event(BaseModel):
    """One datagram from a worker to the monitor. It holds ids, class names and numbers, never a pupil's text or a file name.

    A job without errors sends SETTLED once: with the seconds of the whole job and of each step (all pages together), and with
    the job that was leased in the same round trip. Each call to a real model sends CALL in addition.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: EventKind
    job_id: UUID | None = None
    submission_id: UUID | None = None
    next_job_id: UUID | None = None
    outcome: Annotated[str, Field(max_length=64, pattern=r"^[\w.-]*$")] = ""
    error_class: Annotated[str, Field(max_length=200, pattern=r"^[\w.:<>,? -]*$")] = ""
    seconds: Seconds = 0.0
    steps: Annotated[dict[Activity, Seconds], Field(max_length=len(Activity))] = {}
    step: Step | None = None
    call: ModelCall | None = None
    page: Annotated[int, Field(ge=0, le=100_000)] = 0  # of the submission, counted from 1
    retry_in_seconds: Seconds | None = None  # of a job that was put back into the queue for later

    def encode(self) -> bytes:
        return self.model_dump_json(exclude_defaults=True).encode()

    @classmethod
    def decode(cls, datagram: bytes) -> "Event":
        """Raises pydantic.ValidationError, because a worker may send anything."""
        return cls.model_validate_json(datagram)


@dataclass(frozen=True, slots=True)
class Wiring:
    """Everything that a worker inherits from the supervisor at its fork."""

    slot: int
    instance: int
    incarnation: int
    scoreboard: Scoreboard
    wake_fd: int  # eventfd: the monitor wakes an idle worker
    event_fd: int  # datagram socket: events to the monitor
    lifeline_fd: int  # pipe: end of file when the supervisor has ended
    memory_bytes: int = 0  # limit of its private memory, 0 without a limit


def place_of(error: BaseException) -> str:
    """File and line where the error was raised. Its message is left out because it may contain a pupil's text."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
