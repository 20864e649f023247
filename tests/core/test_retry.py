"""From an adapter's exception, recognised by its class name, to the job's outcome."""

import pytest

from tests.core.test_outcome import lease
from worker.core.outcome import Failed, Released, Retried
from worker.core.retry import Failure, FailureKind, RetryPolicy, failure_of, outcome_of
from worker.ipc.contract import ErrorCode, Step

PRIVATE = "what a pupil wrote"


def foreign(name: str, base: type[BaseException] = Exception) -> type[BaseException]:
    """A class of another package that has only its name in common with ours."""
    return type(name, (base,), {})


KINDS: dict[str, tuple[type[BaseException], FailureKind]] = {
    "vision transient": (foreign("VisionTransientError"), FailureKind.TRANSIENT),
    "vision permanent": (foreign("VisionPermanentError"), FailureKind.PERMANENT),
    "feedback transient": (foreign("FeedbackTransientError"), FailureKind.TRANSIENT),
    "feedback permanent": (foreign("FeedbackPermanentError"), FailureKind.PERMANENT),
    "unavailable": (foreign("Unavailable"), FailureKind.UNAVAILABLE),
    "child of transient": (foreign("VisionTimeout", foreign("VisionTransientError")), FailureKind.TRANSIENT),
    "grandchild of permanent": (foreign("A", foreign("B", foreign("FeedbackPermanentError"))), FailureKind.PERMANENT),
    "the nearest name counts": (foreign("VisionTransientError", foreign("VisionPermanentError")), FailureKind.TRANSIENT),
    "timeout of the language": (TimeoutError, FailureKind.BUG),
    "another name": (foreign("VisionError"), FailureKind.BUG),
    "part of a name": (foreign("MyVisionPermanentErrorToo"), FailureKind.BUG),
}


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize(("kind_of_error", "kind"), KINDS.values(), ids=KINDS.keys())
def test_kinds(kind_of_error: type[BaseException], kind: FailureKind, step: Step) -> None:
    """A class is recognised by its own name or a base class's, in either step. Its message is not kept."""
    failure = failure_of(kind_of_error(PRIVATE), step)
    assert failure == Failure(step, kind, kind_of_error.__name__)
    assert PRIVATE not in repr(failure)


CODES: dict[str, tuple[object, ErrorCode | None]] = {
    "corrupt": ("input_corrupt", ErrorCode.INPUT_CORRUPT),
    "unsupported": ("input_unsupported", ErrorCode.INPUT_UNSUPPORTED),
    "too large": ("input_too_large", ErrorCode.INPUT_TOO_LARGE),
    "ours": (ErrorCode.INPUT_CORRUPT, ErrorCode.INPUT_CORRUPT),
    "code of a step": ("vision_failed", None),
    "unknown": ("out_of_cheese", None),
    "number": (404, None),
    "none": (None, None),
    "list": (["input_corrupt"], None),
    "mapping": ({"code": "input_corrupt"}, None),
}


@pytest.mark.parametrize(("given", "code"), CODES.values(), ids=CODES.keys())
def test_codes(given: object, code: ErrorCode | None) -> None:
    """Only a code for a faulty input is taken from an exception. Any other value is ignored."""
    error = foreign("VisionPermanentError")()
    error.error_code = given  # type: ignore[attr-defined]
    assert failure_of(error, Step.VISION).error_code is code


POLICY = RetryPolicy(max_retries=3, backoff_seconds=10)
NEVER = RetryPolicy(max_retries=0, backoff_seconds=10)
PATIENT = RetryPolicy(max_retries=100, backoff_seconds=10)
AGING = RetryPolicy(max_retries=3, backoff_seconds=10, max_age_seconds=600)


def failure(kind: FailureKind, step: Step = Step.VISION, code: ErrorCode | None = None) -> Failure:
    return Failure(step, kind, "E", code)


def retried(delay_seconds: float, step: Step = Step.VISION) -> Retried:
    return Retried(step, "E", delay_seconds)


def failed(code: ErrorCode) -> Failed:
    return Failed(code, code.value, "E")


TRANSIENT, PERMANENT, UNAVAILABLE, BUG = FailureKind.TRANSIENT, FailureKind.PERMANENT, FailureKind.UNAVAILABLE, FailureKind.BUG
WAITING = Released("unavailable", 5.0)
CORRUPT = ErrorCode.INPUT_CORRUPT

OUTCOMES: dict[str, tuple[Failure, RetryPolicy, int, float, Failed | Retried | Released]] = {
    "first try": (failure(TRANSIENT), POLICY, 0, 0, retried(10)),
    "second doubles": (failure(TRANSIENT), POLICY, 1, 0, retried(20)),
    "third doubles again": (failure(TRANSIENT), POLICY, 2, 0, retried(40)),
    "retries used up": (failure(TRANSIENT), POLICY, 3, 0, failed(ErrorCode.VISION_FAILED)),
    "retries used up before the limit was lowered": (failure(TRANSIENT), POLICY, 9, 0, failed(ErrorCode.VISION_FAILED)),
    "no retries at all": (failure(TRANSIENT), NEVER, 0, 0, failed(ErrorCode.VISION_FAILED)),
    "no wait at all": (failure(TRANSIENT), RetryPolicy(3, 0), 2, 0, retried(0)),
    "wait is capped at a day": (failure(TRANSIENT), PATIENT, 14, 0, retried(86_400)),
    "wait stays capped": (failure(TRANSIENT), PATIENT, 99, 0, retried(86_400)),
    "feedback": (failure(TRANSIENT, Step.FEEDBACK), POLICY, 0, 0, retried(10, Step.FEEDBACK)),
    "feedback used up": (failure(TRANSIENT, Step.FEEDBACK), POLICY, 3, 0, failed(ErrorCode.FEEDBACK_FAILED)),
    "bug is transient": (failure(BUG), POLICY, 2, 0, retried(40)),
    "bug used up": (failure(BUG, Step.FEEDBACK), POLICY, 3, 0, failed(ErrorCode.FEEDBACK_FAILED)),
    "permanent": (failure(PERMANENT), POLICY, 0, 0, failed(ErrorCode.VISION_FAILED)),
    "permanent feedback": (failure(PERMANENT, Step.FEEDBACK), POLICY, 0, 0, failed(ErrorCode.FEEDBACK_FAILED)),
    "permanent with the input's code": (failure(PERMANENT, code=CORRUPT), POLICY, 0, 0, failed(CORRUPT)),
    "transient with the input's code": (failure(TRANSIENT, code=CORRUPT), POLICY, 0, 0, retried(10)),
    "used up with the input's code": (failure(TRANSIENT, code=CORRUPT), POLICY, 3, 0, failed(CORRUPT)),
    "unavailable burns no attempt": (failure(UNAVAILABLE), POLICY, 3, 0, WAITING),
    "unavailable without retries": (failure(UNAVAILABLE, Step.FEEDBACK), NEVER, 0, 0, WAITING),
    "unavailable for a long time": (failure(UNAVAILABLE), POLICY, 0, 1e9, WAITING),
    "unavailable just young enough": (failure(UNAVAILABLE), AGING, 0, 599.9, WAITING),
    "unavailable for too long": (failure(UNAVAILABLE), AGING, 0, 600, failed(ErrorCode.VISION_FAILED)),
    "transient just young enough": (failure(TRANSIENT), AGING, 0, 599.9, retried(10)),
    "transient and too old": (failure(TRANSIENT, Step.FEEDBACK), AGING, 0, 600, failed(ErrorCode.FEEDBACK_FAILED)),
    "age is off": (failure(TRANSIENT), POLICY, 0, 1e9, retried(10)),
}


@pytest.mark.parametrize(("cause", "policy", "retry_count", "age_seconds", "expected"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_outcomes(
    cause: Failure, policy: RetryPolicy, retry_count: int, age_seconds: float, expected: Failed | Retried | Released
) -> None:
    """The outcome follows from the kind of failure, the number of attempts and the job's age."""
    assert outcome_of(cause, lease({}, retry_count, age_seconds), policy) == expected
