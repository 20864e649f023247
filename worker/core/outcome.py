"""A leased job, what its payload must say, and the one Outcome that every job ends with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.ipc.contract import WORKER_CRASHED, ErrorCode, Step

MAX_CRITERIA = 10
MAX_EXPIRIES = 5


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that is ours while `lease_key` stands in its row. `payload` is as found: not yet validated.

    `visible_at` is its place in the queue, in the server's own words: nobody here looks at a clock on the wall.
    `submission`: its row, where it came in the same round trip.
    """

    job_id: UUID
    submission_id: UUID
    lease_key: UUID
    payload: Any
    retry_count: int
    age_seconds: float = 0.0
    visible_at: str = ""
    submission: Mapping[str, Any] | None = None


def _counted(value: object) -> int:
    """Counters in a payload that nobody of ours wrote count as none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _texts(value: object) -> object:
    """Pages that nobody of ours wrote count as none."""
    return value if isinstance(value, list) and all(isinstance(text, str) for text in value) else ()


Count = Annotated[int, BeforeValidator(_counted)]


class Payload(BaseModel):
    """What the platform wrote about the job, and what workers added. Unknown keys are kept for the adapters elsewhere."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    submission_id: UUID
    student_sub: Annotated[str, Field(min_length=1)]
    kind: Literal["text", "image", "file"]
    criteria: Annotated[tuple[str, ...], Field(max_length=MAX_CRITERIA)]
    instruction_md: str | None = None
    hints_md: str | None = None
    cached_text_md: str | None = None
    cached_from: str | None = None
    cached_pages: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    cached_pages_from: str | None = None
    crashes: Count = 0
    expiries: Count = 0


@dataclass(frozen=True, slots=True)
class Completed:
    """The submission's result. `analysis` is a criteria.v2 document."""

    text_md: str
    feedback_md: str
    analysis: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """Over for good: the submission gets `error_code`, the job's row stays as `failed` with `job_error_code`."""

    error_code: ErrorCode
    job_error_code: str
    error_class: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """A transient error: again after `delay_seconds`, one attempt burnt."""

    step: Step
    error_class: str
    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Released:
    """Given back without burning an attempt: a drain, a server that is not available, or the closed gate of a model."""

    reason: Literal["drain", "unavailable", "gate"]
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class AlreadyFinal:
    """The submission was completed or failed by somebody else: only the job's row is left to delete."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is not ours any more: nothing may be written."""


Settled = Completed | Failed | Retried | Released | AlreadyFinal  # each is one write
Outcome = Settled | Lost


def parse_payload(lease: Lease) -> Payload | Failed:
    """The payload, or why this job can never run. The class of the error is named, never its value."""
    try:
        payload = Payload.model_validate(lease.payload)
    except ValidationError as error:
        fields = sorted({str(e["loc"][0]) if e["loc"] else "payload" for e in error.errors()})
        return Failed(ErrorCode.VISION_FAILED, "payload_invalid", f"payload_invalid: {', '.join(fields)[:100]}")
    if payload.submission_id != lease.submission_id:
        return Failed(ErrorCode.VISION_FAILED, "payload_invalid", "payload_invalid: submission_id")
    return payload


def quarantine(payload: Payload, max_crashes: int) -> Failed | None:
    """A job that killed its workers, or whose lease ran out again and again, is not tried any more."""
    if payload.crashes < max_crashes and payload.expiries < MAX_EXPIRIES:
        return None
    has_text = payload.kind == "text" or bool(payload.cached_text_md)
    return Failed(ErrorCode.FEEDBACK_FAILED if has_text else ErrorCode.VISION_FAILED, WORKER_CRASHED, WORKER_CRASHED)


def storable(value: Any) -> Any:
    """The text, or JSON of texts, without what PostgreSQL cannot store: NUL, unpaired surrogates, NaN and infinities."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
