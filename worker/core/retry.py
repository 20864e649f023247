"""From an adapter's exception to the job's outcome.

Exceptions are recognised by class name, because adapters of other packages define classes of their own.
"""

from dataclasses import dataclass
from enum import Enum

from worker.core.outcome import Failed, Lease, Released, Retried
from worker.ipc.backoff import doubling
from worker.ipc.contract import ErrorCode, Step

UNAVAILABLE_DELAY_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 86_400.0
_INPUT_CODES = frozenset({ErrorCode.INPUT_CORRUPT, ErrorCode.INPUT_UNSUPPORTED, ErrorCode.INPUT_TOO_LARGE})


class FailureKind(Enum):
    """Effect of an adapter's failure on the job."""

    UNAVAILABLE = "unavailable"  # the server has no capacity: wait, use no attempt
    TRANSIENT = "transient"
    RUNAWAY = "runaway"  # a model that produced text without end: transient, but counted
    PERMANENT = "permanent"
    BUG = "bug"  # an exception outside the contract: transient, but counted


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
    """An adapter's failure without its message, which may contain a pupil's text."""

    step: Step
    kind: FailureKind
    error_class: str
    error_code: ErrorCode | None = None


def failure_of(error: BaseException, step: Step) -> Failure:
    """Classifies an exception by the first contract name among its class and base classes. Without one it is a bug."""
    kind = next((_FAILURE_KINDS[c.__name__] for c in type(error).__mro__ if c.__name__ in _FAILURE_KINDS), FailureKind.BUG)
    code = getattr(error, "error_code", None)
    return Failure(step, kind, type(error).__name__, ErrorCode(code) if isinstance(code, str) and code in _INPUT_CODES else None)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of the queue contract. `max_age_seconds` 0 sets no limit."""

    max_retries: int
    backoff_seconds: float
    max_age_seconds: float = 0.0


def outcome_of(failure: Failure, lease: Lease, policy: RetryPolicy) -> Failed | Retried | Released:
    """Retries with doubling waits while attempts are left. A permanent error, or the last attempt, fails the submission."""
    code = failure.error_code or failure.step.failure
    is_too_old = 0 < policy.max_age_seconds <= lease.age_seconds
    if failure.kind is FailureKind.UNAVAILABLE and not is_too_old:
        return Released("unavailable", UNAVAILABLE_DELAY_SECONDS)
    if failure.kind is FailureKind.PERMANENT or is_too_old or lease.retry_count >= policy.max_retries:
        return Failed(code, code, failure.error_class)
    delay_seconds = doubling(policy.backoff_seconds, MAX_BACKOFF_SECONDS, lease.retry_count)
    return Retried(failure.step, failure.error_class, delay_seconds)
