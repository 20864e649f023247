"""What an adapter's exception means for its job. Adapters of other packages are known by the names of their classes."""

from dataclasses import dataclass
from enum import Enum

from worker.core.outcome import Failed, Lease, Released, Retried
from worker.ipc.contract import ErrorCode, Step

UNAVAILABLE_DELAY_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 86_400.0
_INPUT_CODES = frozenset({ErrorCode.INPUT_CORRUPT, ErrorCode.INPUT_UNSUPPORTED, ErrorCode.INPUT_TOO_LARGE})


class FailureKind(Enum):
    """How an adapter's failure is taken."""

    UNAVAILABLE = "unavailable"  # the server has no room: wait, burn no attempt
    TRANSIENT = "transient"
    RUNAWAY = "runaway"  # a model that did not come to an end: transient, but counted
    PERMANENT = "permanent"
    BUG = "bug"  # an exception of no agreed name: transient, but counted


_FAILURE_KINDS = {
    "Unavailable": FailureKind.UNAVAILABLE,
    "Runaway": FailureKind.RUNAWAY,
    "VisionTransientError": FailureKind.TRANSIENT,
    "FeedbackTransientError": FailureKind.TRANSIENT,
    "VisionPermanentError": FailureKind.PERMANENT,
    "FeedbackPermanentError": FailureKind.PERMANENT,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An adapter's failure without its message: messages may carry a pupil's text."""

    step: Step
    kind: FailureKind
    error_class: str
    error_code: ErrorCode | None = None


def failure_of(error: BaseException, step: Step) -> Failure:
    """By the names along the class's ancestry, since the platform's adapters bring classes of their own."""
    kind = next((_FAILURE_KINDS[c.__name__] for c in type(error).__mro__ if c.__name__ in _FAILURE_KINDS), FailureKind.BUG)
    code = getattr(error, "error_code", None)
    return Failure(step, kind, type(error).__name__, ErrorCode(code) if isinstance(code, str) and code in _INPUT_CODES else None)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The numbers of the contract; `max_age_seconds` 0 is off."""

    max_retries: int
    backoff_seconds: float
    max_age_seconds: float = 0.0


def outcome_of(failure: Failure, lease: Lease, policy: RetryPolicy) -> Failed | Retried | Released:
    """Retry with doubling waits while tries are left; a permanent error, or none left, fails the submission."""
    code = failure.error_code or failure.step.failure
    is_too_old = 0 < policy.max_age_seconds <= lease.age_seconds
    if failure.kind is FailureKind.UNAVAILABLE and not is_too_old:
        return Released("unavailable", UNAVAILABLE_DELAY_SECONDS)
    if failure.kind is FailureKind.PERMANENT or is_too_old or lease.retry_count >= policy.max_retries:
        return Failed(code, code, failure.error_class)
    delay_seconds = policy.backoff_seconds * 2 ** min(lease.retry_count, 20)
    return Retried(failure.step, failure.error_class, min(delay_seconds, MAX_BACKOFF_SECONDS))
