"""From an adapter's exception, recognised by its class name, to the job's outcome."""

from dataclasses import replace

import pytest

from worker.core.evidence import CallCounts, HeldFailure
from worker.core.faults import Fault, Suspicion
from worker.core.outcome import Failed, Released, Retried
from worker.core.retry import Failure, JobAtFailure, RetryPolicy, failure_of, outcome_of
from worker.ipc.contract import ErrorCode, Step

PRIVATE = "what a pupil wrote"


def foreign(name: str, base: type[BaseException] = Exception) -> type[BaseException]:
    """A class of another package that has only its name in common with ours."""
    return type(name, (base,), {})


FAULTS: dict[str, tuple[type[BaseException], Fault]] = {
    "vision transient": (foreign("VisionTransientError"), Fault.SUSPECT),
    "vision permanent": (foreign("VisionPermanentError"), Fault.INPUT),
    "feedback transient": (foreign("FeedbackTransientError"), Fault.SUSPECT),
    "feedback permanent": (foreign("FeedbackPermanentError"), Fault.INPUT),
    "unavailable": (foreign("Unavailable"), Fault.SURROUNDINGS),
    "a runaway": (foreign("Runaway"), Fault.ANSWER),
    "child of transient": (foreign("VisionTimeout", foreign("VisionTransientError")), Fault.SUSPECT),
    "grandchild of permanent": (foreign("A", foreign("B", foreign("FeedbackPermanentError"))), Fault.INPUT),
    "the nearest name counts": (foreign("VisionTransientError", foreign("VisionPermanentError")), Fault.SUSPECT),
}
BUGS: dict[str, type[BaseException]] = {
    "timeout of the language": TimeoutError,
    "another name": foreign("VisionError"),
    "part of a name": foreign("MyVisionPermanentErrorToo"),
}


@pytest.mark.parametrize("step", Step)
@pytest.mark.parametrize(("kind_of_error", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_faults(kind_of_error: type[BaseException], fault: Fault, step: Step) -> None:
    """A class is recognised by its own name or a base class's, in either step. Its message is not kept."""
    failure = failure_of(kind_of_error(PRIVATE), step)
    assert failure == Failure(step, fault, kind_of_error.__name__)
    assert PRIVATE not in repr(failure)


@pytest.mark.parametrize("kind_of_error", BUGS.values(), ids=BUGS.keys())
def test_bugs(kind_of_error: type[BaseException]) -> None:
    """A class that the table does not name is a bug, which the surroundings or the job may have brought out."""
    assert failure_of(kind_of_error(), Step.VISION) == Failure(Step.VISION, Fault.SUSPECT, kind_of_error.__name__, is_bug=True)


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
    assert failure_of(error, Step.VISION).error_code == (code or "")


POLICY = RetryPolicy(max_retries=3, backoff_seconds=10)
NEVER = RetryPolicy(max_retries=0, backoff_seconds=10)
PATIENT = RetryPolicy(max_retries=100, backoff_seconds=10)
AGING = RetryPolicy(max_retries=3, backoff_seconds=10, max_age_seconds=600)
ANSWER, INPUT, SURROUNDINGS, SUSPECT = Fault.ANSWER, Fault.INPUT, Fault.SURROUNDINGS, Fault.SUSPECT
CORRUPT = ErrorCode.INPUT_CORRUPT
COUNTS = CallCounts(instance=7, answered=10)
HELD_FAILURE = HeldFailure(Suspicion.ODD, "E", Step.VISION, instance=7, answered=9, in_flight=0, died=0, probes=0)


def failure(fault: Fault, step: Step = Step.VISION, code: ErrorCode | None = None) -> Failure:
    return Failure(step, fault, "E", code or "")


def retried(delay_seconds: float, step: Step = Step.VISION) -> Retried:
    return Retried(step, "E", delay_seconds)


def failed(code: ErrorCode, job_error_code: str = "") -> Failed:
    return Failed(code, job_error_code or code.value, "E")


HELD = Released("held", 2.0, "E")
TOO_LONG = failed(ErrorCode.VISION_FAILED, "held_too_long:E")

OUTCOMES: dict[str, tuple[Failure, RetryPolicy, int, float, Failed | Retried | Released]] = {
    "first try": (failure(ANSWER), POLICY, 0, 0, retried(10)),
    "second doubles": (failure(ANSWER), POLICY, 1, 0, retried(20)),
    "third doubles again": (failure(ANSWER), POLICY, 2, 0, retried(40)),
    "retries used up": (failure(ANSWER), POLICY, 3, 0, failed(ErrorCode.VISION_FAILED)),
    "retries used up before the limit was lowered": (failure(ANSWER), POLICY, 9, 0, failed(ErrorCode.VISION_FAILED)),
    "no retries at all": (failure(ANSWER), NEVER, 0, 0, failed(ErrorCode.VISION_FAILED)),
    "no wait at all": (failure(ANSWER), RetryPolicy(3, 0), 2, 0, retried(0)),
    "wait is capped at a day": (failure(ANSWER), PATIENT, 14, 0, retried(86_400)),
    "wait stays capped": (failure(ANSWER), PATIENT, 99, 0, retried(86_400)),
    "feedback": (failure(ANSWER, Step.FEEDBACK), POLICY, 0, 0, retried(10, Step.FEEDBACK)),
    "feedback used up": (failure(ANSWER, Step.FEEDBACK), POLICY, 3, 0, failed(ErrorCode.FEEDBACK_FAILED)),
    "input": (failure(INPUT), POLICY, 0, 0, failed(ErrorCode.VISION_FAILED)),
    "input of the feedback": (failure(INPUT, Step.FEEDBACK), POLICY, 0, 0, failed(ErrorCode.FEEDBACK_FAILED)),
    "input with its code": (failure(INPUT, code=CORRUPT), POLICY, 0, 0, failed(CORRUPT)),
    "answer with the input's code": (failure(ANSWER, code=CORRUPT), POLICY, 0, 0, retried(10)),
    "used up with the input's code": (failure(ANSWER, code=CORRUPT), POLICY, 3, 0, failed(CORRUPT)),
    "surroundings use no attempt": (failure(SURROUNDINGS), POLICY, 3, 0, HELD),
    "surroundings without retries": (failure(SURROUNDINGS, Step.FEEDBACK), NEVER, 0, 0, HELD),
    "surroundings for a long time": (failure(SURROUNDINGS), POLICY, 0, 1e9, HELD),
    "surroundings just young enough": (failure(SURROUNDINGS), AGING, 0, 599.9, HELD),
    "surroundings for too long": (failure(SURROUNDINGS), AGING, 0, 600, TOO_LONG),
    "suspect for too long": (failure(SUSPECT), AGING, 0, 600, TOO_LONG),
    "answer just young enough": (failure(ANSWER), AGING, 0, 599.9, retried(10)),
    "answer and too old": (failure(ANSWER, Step.FEEDBACK), AGING, 0, 600, failed(ErrorCode.FEEDBACK_FAILED)),
    "age is off": (failure(ANSWER), POLICY, 0, 1e9, retried(10)),
}


@pytest.mark.parametrize(("cause", "policy", "attempts", "age_seconds", "expected"), OUTCOMES.values(), ids=OUTCOMES.keys())
def test_outcomes(
    cause: Failure, policy: RetryPolicy, attempts: int, age_seconds: float, expected: Failed | Retried | Released
) -> None:
    """The outcome follows from the fault, the number of attempts and the job's age."""
    assert outcome_of(cause, JobAtFailure(attempts, age_seconds, COUNTS), policy) == expected


def test_a_first_suspect_failure_is_held_and_remembered() -> None:
    """Without a held_failure no job is convicted, whatever was answered before."""
    held = outcome_of(failure(SUSPECT), JobAtFailure(3, 0, COUNTS), POLICY)
    assert held == Released("held", 2.0, "E", replace(HELD_FAILURE, answered=10))


def test_a_convicted_job_uses_an_attempt() -> None:
    """Calls of other jobs were answered since, so the failure is the job's own, up to its last attempt."""
    assert outcome_of(failure(SUSPECT), JobAtFailure(1, 0, COUNTS, HELD_FAILURE), POLICY) == retried(20)
    assert outcome_of(failure(SUSPECT), JobAtFailure(3, 0, COUNTS, HELD_FAILURE), POLICY) == failed(ErrorCode.VISION_FAILED)


@pytest.mark.parametrize(("times", "delay_seconds"), [(1, 4), (2, 8), (4, 32), (5, 60), (1000, 60)])
def test_a_lone_suspect_is_asked_less_and_less_often(times: int, delay_seconds: float) -> None:
    """A lone job in a quiet hour is held for ever, but must not keep a model busy."""
    held_failure = replace(HELD_FAILURE, answered=10, times=times)
    held = outcome_of(failure(SUSPECT), JobAtFailure(0, 0, COUNTS, held_failure), POLICY)
    assert held == Released("held", delay_seconds, "E", replace(held_failure, times=times + 1))


def test_a_suspect_among_others_that_die_is_asked_again_soon() -> None:
    """The breaker limits the calls of a model that fails for all jobs, and its return is found by the next call."""
    held_failure = replace(HELD_FAILURE, group=Suspicion.DIED, answered=10, times=4)
    cause = replace(failure(SUSPECT), suspicion=Suspicion.DIED)
    held = outcome_of(cause, JobAtFailure(0, 0, replace(COUNTS, died=5), held_failure), POLICY)
    assert held == Released("held", 2.0, "E", replace(held_failure, times=5))
