"""The report of a finished call to a model: its outcome and the server's own figures, without any text."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.core.errors import Unavailable
from worker.ipc.contract import MAX_REPORTED_SECONDS, MAX_TOKENS_PER_SECOND, CallOutcome, ModelCall
from worker.ollama.errors import (
    REQUEST_FAILURES,
    AnswerTruncated,
    BadRequest,
    FirstTokenTimeout,
    Runaway,
    ServerUnreachable,
    TokenTimeout,
)
from worker.ollama.stream import StreamedAnswer, Timings

OnCall = Callable[[ModelCall], None]
_NS_PER_SECOND = 1e9
_MAX_NUMBER = 10**18


def ignore_call(_call: ModelCall) -> None:
    """An `on_call` for callers outside of a worker."""


@contextmanager
def reported(answer: StreamedAnswer, on_call: OnCall) -> Iterator[None]:
    """Report the call in the block when it ends. A bug is not reported, because it is no outcome of the call."""
    sent_at_seconds = time.monotonic()
    try:
        yield
    except REQUEST_FAILURES as error:
        on_call(_call(_outcome_of(error), answer, sent_at_seconds))
        raise
    on_call(_call(CallOutcome.ANSWERED, answer, sent_at_seconds))


@contextmanager
def failures_reported(on_call: OnCall) -> Iterator[None]:
    """Report a request that precedes a call only if it fails: it is no answer of the model.

    A missing connection is not reported, because the monitor's own list shows it and it is not the model's.
    """
    try:
        yield
    except ServerUnreachable:
        raise
    except REQUEST_FAILURES as error:
        on_call(ModelCall(_outcome_of(error)))
        raise


def _outcome_of(error: Exception) -> CallOutcome:
    match error:
        case Unavailable():
            return CallOutcome.BUSY
        case BadRequest():
            return CallOutcome.BAD_REQUEST
        case FirstTokenTimeout() | TokenTimeout():
            return CallOutcome.SILENT
        case Runaway():
            return CallOutcome.RUNAWAY
        case AnswerTruncated():  # the answer is of no use, but the model is healthy
            return CallOutcome.ANSWERED
    return CallOutcome.FAILED


def _call(outcome: CallOutcome, answer: StreamedAnswer, sent_at_seconds: float) -> ModelCall:
    first_token_at_seconds, timings = answer.first_token_at_seconds, answer.timings
    first_token_seconds = None if first_token_at_seconds is None else first_token_at_seconds - sent_at_seconds
    if timings is None:
        return ModelCall(outcome, first_token_seconds)
    load_seconds, answer_seconds = _seconds(timings.load_ns), _seconds(timings.answer_ns)
    wait_ns = timings.total_ns - timings.load_ns - timings.prompt_ns - timings.answer_ns
    speed = _speed(timings, answer_seconds)
    return ModelCall(outcome, first_token_seconds, speed, load_seconds, _seconds(wait_ns), answer_seconds)


def _speed(timings: Timings, answer_seconds: float) -> float | None:
    return min(_natural(timings.tokens) / answer_seconds, MAX_TOKENS_PER_SECOND) if answer_seconds else None


def _seconds(duration_ns: int) -> float:
    return min(_natural(duration_ns) / _NS_PER_SECOND, MAX_REPORTED_SECONDS)


def _natural(number: int) -> int:
    """Clamp a server's number: an event has bounds, and an integer can be too large for a float."""
    return min(max(0, number), _MAX_NUMBER)
