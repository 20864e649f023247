"""A leased job, its validated payload, and the Outcome that every job ends with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from worker.core.doubt import PageGrade, parsed_grades
from worker.core.evidence import HeldFailure
from worker.core.usage import UsageEvent
from worker.ipc.contract import WORKER_CRASHED, ErrorCode, Step

MAX_CRITERIA = 10
MAX_EXPIRIES = 5

Submission = Mapping[str, Any]  # a row of learning_submissions


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that belongs to this worker while its row contains `lease_key`. `payload` is not validated yet.

    `visible_at` is its place in the queue, as text of the database: the worker never compares it with a clock.
    `submission` is the submission's row, if it came in the same round trip. `retry_count` is never negative.
    """

    job_id: UUID
    submission_id: UUID
    lease_key: UUID
    payload: Any
    retry_count: int
    age_seconds: float = 0.0
    visible_at: str = ""
    submission: Submission | None = None
    error_code: str = ""  # of the job's last try


@dataclass(frozen=True, slots=True)
class Completed:
    """The submission has a result. `text_md` is None for a mode without a text. `analysis` is a criteria.v2 document, or `{}`."""

    text_md: str | None
    feedback_md: str
    analysis: Mapping[str, Any]
    usage: tuple[UsageEvent, ...] = ()


_ANSWER: TypeAdapter[Completed] = TypeAdapter(Completed)


def _counted(value: object) -> int:
    """0 for a counter that no worker can have written."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _texts(value: object) -> object:
    """No pages if no worker can have written them."""
    return value if isinstance(value, list) and all(isinstance(text, str) for text in value) else ()


def _page_grades(value: object) -> tuple[PageGrade, ...]:
    return parsed_grades(list(value.values())) if isinstance(value, Mapping) else ()


def _metadata(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _answer(value: object) -> object:
    """No answer if no worker can have written it."""
    try:
        return _ANSWER.validate_python(value)
    except ValidationError:
        return None


Count = Annotated[int, BeforeValidator(_counted)]


class Payload(BaseModel):
    """Keys of the platform, and keys added by workers. Unknown keys stay in `Lease.payload`, which foreign adapters receive."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    submission_id: UUID
    student_sub: Annotated[str, Field(min_length=1)]
    kind: Literal["text", "image", "file"]
    criteria: Annotated[tuple[str, ...], Field(max_length=MAX_CRITERIA)]
    instruction_md: str | None = None
    hints_md: str | None = None
    cached_text_md: str | None = None
    cached_raw_metadata: Annotated[Mapping[str, Any], BeforeValidator(_metadata)] = {}
    cached_from: str | None = None
    cached_pages: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    cached_pages_from: str | None = None
    cached_page_grades: Annotated[tuple[PageGrade, ...], BeforeValidator(_page_grades)] = ()
    answer: Annotated[Completed | None, BeforeValidator(_answer)] = None  # that the database did not take before
    crashes: Count = 0
    expiries: Count = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """Final failure. The submission gets `error_code`. The job's row stays as `failed` with `job_error_code`."""

    error_code: str  # one that the database takes
    job_error_code: str
    error_class: str = ""
    usage: tuple[UsageEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Retried:
    """The model's answer or the job itself is at fault. The job is tried again after `delay_seconds`, which uses one attempt."""

    step: Step
    error_class: str
    delay_seconds: float
    usage: tuple[UsageEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Released:
    """Given back without using an attempt: for a drain, a closed gate, a refused write, or a fault of the surroundings (held).

    `error_class` is written into the job's row, the others into its payload. `held_failure`: the evidence about a held job.
    `answer`: the models' answer that the database did not take. None leaves what the payload has.
    """

    reason: Literal["drain", "gate", "refused", "held"]
    delay_seconds: float = 0.0
    error_class: str = ""
    held_failure: HeldFailure | None = None
    answer: Completed | None = None
    usage: tuple[UsageEvent, ...] = ()

    @property
    def is_at_gate(self) -> bool:
        """True if the job kept its place at a closed gate, where it would be found again at once."""
        return self.reason in {"gate", "held"} and self.delay_seconds == 0


@dataclass(frozen=True, slots=True)
class AlreadyFinal:
    """The submission was completed or failed elsewhere. Only the job's row is left to delete."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease was lost. Nothing may be written."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The database refused the outcome, and the failure too. The job was put aside, or its lease ends by itself."""

    reason: str


Settled = Completed | Failed | Retried | Released | AlreadyFinal  # each is one write
Outcome = Settled | Lost


def parse_payload(lease: Lease) -> Payload | Failed:
    """The payload, or a failure that names the invalid fields. Their values are left out: they may contain a pupil's text."""
    try:
        payload = Payload.model_validate(lease.payload)
    except ValidationError as error:
        fields = sorted({str(e["loc"][0]) if e["loc"] else "payload" for e in error.errors()})
        return Failed(ErrorCode.VISION_FAILED, "payload_invalid", f"payload_invalid: {', '.join(fields)[:100]}")
    if payload.submission_id != lease.submission_id:
        return Failed(ErrorCode.VISION_FAILED, "payload_invalid", "payload_invalid: submission_id")
    return payload


def has_answer(lease: Lease) -> bool:
    """True if the payload keeps an answer that the database did not take before."""
    return isinstance(lease.payload, Mapping) and "answer" in lease.payload


def quarantine(payload: Payload, max_crashes: int) -> Failed | None:
    """Fails a job that killed `max_crashes` workers, or whose lease ended MAX_EXPIRIES times without a result."""
    if payload.crashes < max_crashes and payload.expiries < MAX_EXPIRIES:
        return None
    has_text = _has_text(payload.kind, payload.cached_text_md)
    return Failed(ErrorCode.FEEDBACK_FAILED if has_text else ErrorCode.VISION_FAILED, WORKER_CRASHED, WORKER_CRASHED)


def fail_refused(lease: Lease, reason: str, *, has_text: bool = False) -> Failed:
    """Fails a job whose row or result the database refuses. `has_text`: its text was committed since it was leased."""
    payload = lease.payload if isinstance(lease.payload, Mapping) else {}
    has_text = has_text or _has_text(payload.get("kind"), payload.get("cached_text_md"))
    return Failed(ErrorCode.FEEDBACK_FAILED if has_text else ErrorCode.VISION_FAILED, reason, reason)


def fallbacks(outcome: Outcome, lease: Lease, reason: str, *, may_retry: bool) -> tuple[Failed, ...]:
    """Outcomes to write instead of one that the database refuses: the job fails.

    None for a job that has ended elsewhere or is only to be released, and none if the refusal may pass and retries are left.
    """
    if may_retry or isinstance(outcome, AlreadyFinal | Released | Lost):
        return ()
    failure = fail_refused(lease, reason)
    return () if outcome == failure else (failure,)


def _has_text(kind: object, cached_text_md: object) -> bool:
    return kind == "text" or bool(cached_text_md)


def storable(value: Any) -> Any:
    """The text, or JSON of texts, without what PostgreSQL cannot store: NUL, unpaired surrogates, NaN and infinities."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
