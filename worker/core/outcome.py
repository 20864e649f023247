"""A leased job, its validated payload, and the Outcome that every job ends with."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from worker.core.abilities import Needs
from worker.core.doubt import PageGrade, parsed_grades
from worker.core.evidence import HeldFailure
from worker.core.modes import Mode
from worker.core.usage import UsageEvent, usage_of
from worker.ipc.contract import WORKER_CRASHED, ErrorCode, Step

MAX_CRITERIA = 10
MAX_EXPIRIES = 5
MAX_LAST_ERROR = 200  # characters: no class has a longer name

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
    error_code: str = ""  # of the job's last try: of its row, or of its payload after a retry


@dataclass(frozen=True, slots=True)
class Completed:
    """The submission has a result. `text_md` is None for a mode without a text. `analysis` is a criteria.v2 document, or `{}`."""

    text_md: str | None
    feedback_md: str
    analysis: Mapping[str, Any]
    usage: Annotated[tuple[UsageEvent, ...], BeforeValidator(lambda value: usage_of(value).events)] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the answer as the payload keeps it, with its events: they are recorded with the result."""
        return {**asdict(self), "usage": [event.as_json() for event in self.usage]}


_ANSWER: TypeAdapter[Completed] = TypeAdapter(Completed)


def _counted(value: object) -> int:
    """0 for a counter that no worker can have written."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def _text(value: object) -> str | None:
    """None instead of a value that is no text."""
    return value if isinstance(value, str) else None


def _criteria(value: object) -> tuple[str, ...]:
    """None of them is left out, because each gets a result by its place. Without a list there are none, as on the platform."""
    return tuple(each if isinstance(each, str) else str(each) for each in value) if isinstance(value, list | tuple) else ()


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
Text = Annotated[str | None, BeforeValidator(_text)]


class Payload(BaseModel):
    """Keys of the platform, and keys added by workers. Unknown keys stay in `Lease.payload`, which foreign adapters receive.

    Only the student must be there. The submission's id and kind are those of the rows. Other keys without a usable value are
    left out, because a later platform may write other ones.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    student_sub: Annotated[str, Field(min_length=1)]
    kind: Text = None
    analysis_mode: Text = None
    criteria: Annotated[tuple[str, ...], BeforeValidator(_criteria)] = ()
    instruction_md: Text = None
    hints_md: Text = None
    cached_text_md: Text = None
    cached_raw_metadata: Annotated[Mapping[str, Any], BeforeValidator(_metadata)] = {}
    cached_from: Text = None
    cached_pages: Annotated[tuple[str, ...], BeforeValidator(_texts)] = ()
    cached_pages_from: Text = None
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

    `unable`: the instance cannot do the job, which stays queued. `needs`: what its submission shows about that.

    `error_class` is written into the job's row, the others into its payload. `held_failure`: the evidence about a held job.
    `answer`: the models' answer that the database did not take. None leaves what the payload has.
    """

    reason: Literal["drain", "gate", "refused", "held", "unable"]
    delay_seconds: float = 0.0
    error_class: str = ""
    held_failure: HeldFailure | None = None
    answer: Completed | None = None
    usage: tuple[UsageEvent, ...] = ()
    needs: Needs | None = None

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


def with_usage(outcome: Outcome, usage: tuple[UsageEvent, ...]) -> Outcome:
    """Return the outcome with the events that are recorded in its transaction. Nothing is recorded without a write."""
    return outcome if isinstance(outcome, AlreadyFinal | Lost) else replace(outcome, usage=usage)


def usage_in(outcome: Outcome) -> tuple[UsageEvent, ...]:
    """Return the events that are recorded with the outcome. Those of a held answer wait for it."""
    return () if isinstance(outcome, AlreadyFinal | Lost) else outcome.usage


def parse_payload(lease: Lease) -> Payload | Failed:
    """The payload, or a failure that names the invalid fields. Their values are left out: they may contain a pupil's text."""
    try:
        return Payload.model_validate(lease.payload)
    except ValidationError as error:
        fields = sorted({str(e["loc"][0]) if e["loc"] else "payload" for e in error.errors()})
        return Failed(ErrorCode.VISION_FAILED, "payload_invalid", f"payload_invalid: {', '.join(fields)[:100]}")


def last_error_in(payload: object) -> str:
    """Return the class with which the last attempt failed. Empty if there is none, or if no worker can have written it."""
    last_error = payload.get("last_error") if isinstance(payload, Mapping) else None
    return last_error if isinstance(last_error, str) and len(last_error) <= MAX_LAST_ERROR else ""


def has_answer(lease: Lease) -> bool:
    """True if the payload keeps an answer that the database did not take before."""
    return isinstance(lease.payload, Mapping) and "answer" in lease.payload


def quarantine(payload: Payload, max_crashes: int) -> Failed | None:
    """Fails a job that killed `max_crashes` workers, or whose lease ended MAX_EXPIRIES times without a result."""
    if payload.crashes < max_crashes and payload.expiries < MAX_EXPIRIES:
        return None
    has_text = _is_past_reading(payload.kind, payload.cached_text_md, payload.analysis_mode)
    return Failed(ErrorCode.FEEDBACK_FAILED if has_text else ErrorCode.VISION_FAILED, WORKER_CRASHED, WORKER_CRASHED)


def fail_refused(lease: Lease, reason: str, *, has_text: bool = False) -> Failed:
    """Fails a job whose row or result the database refuses. `has_text`: its text was committed since it was leased."""
    payload = lease.payload if isinstance(lease.payload, Mapping) else {}
    words = (payload.get(name) for name in ("kind", "cached_text_md", "analysis_mode"))
    has_text = has_text or _is_past_reading(*words)
    return Failed(ErrorCode.FEEDBACK_FAILED if has_text else ErrorCode.VISION_FAILED, reason, reason)


def fallbacks(outcome: Outcome, lease: Lease, reason: str, *, may_retry: bool) -> tuple[Failed, ...]:
    """Outcomes to write instead of one that the database refuses: the job fails.

    None for a job that has ended elsewhere or is only to be released, and none if the refusal may pass and retries are left.
    """
    if may_retry or isinstance(outcome, AlreadyFinal | Released | Lost):
        return ()
    failure = replace(fail_refused(lease, reason), usage=outcome.usage)
    return () if outcome == failure else (failure,)


def _is_past_reading(kind: object, cached_text_md: object, analysis_mode: object) -> bool:
    """Report whether the job needs feedback only, so that it fails as feedback. The same rule is in reclaim.sql."""
    is_visual = isinstance(analysis_mode, str) and analysis_mode.lower() == Mode.VISUAL_DIRECT
    return kind in ("text", "dialog") or bool(cached_text_md) or is_visual


def storable(value: Any) -> Any:
    """The text, or JSON of texts, without what PostgreSQL cannot store: NUL, unpaired surrogates, NaN and infinities."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
