"""What a call to a model tells when it is over: how it ended, and the server's own numbers. No word of what was said."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from worker.core.errors import Unavailable
from worker.ipc.contract import MAX_REPORTED_SECONDS, MAX_TOKENS_PER_SECOND, CallOutcome, ModelCall
from worker.ollama.errors import AnswerTruncated, BadRequest, FirstTokenTimeout, Runaway, ServerFailed, TokenTimeout
from worker.ollama.stream import StreamedAnswer, Timings

OnCall = Callable[[ModelCall], None]
_NS_PER_SECOND = 1e9
_MAX_NUMBER = 10**18


def ignore_call(_call: ModelCall) -> None:
    """For who asks a server outside of a worker."""


@contextmanager
def reported(transcript: StreamedAnswer, on_call: OnCall) -> Iterator[None]:
    """The call that is made in the block is told of at its end, however it ends; a bug is none."""
    sent_at_seconds = time.monotonic()
    try:
        yield
    except (Unavailable, BadRequest, ServerFailed) as error:
        on_call(_call(_outcome_of(error), transcript, sent_at_seconds))
        raise
    on_call(_call(CallOutcome.ANSWERED, transcript, sent_at_seconds))


def _outcome_of(error: Exception) -> CallOutcome:
    match error:
        case Unavailable():
            return CallOutcome.BUSY
        case BadRequest():
            return CallOutcome.REFUSED
        case FirstTokenTimeout() | TokenTimeout():
            return CallOutcome.SILENT
        case Runaway():
            return CallOutcome.RUNAWAY
        case AnswerTruncated():  # an answer of no use, from a model that is well
            return CallOutcome.ANSWERED
    return CallOutcome.FAILED


def _call(outcome: CallOutcome, transcript: StreamedAnswer, sent_at_seconds: float) -> ModelCall:
    spoke_at_seconds = transcript.spoke_at_seconds
    first_token_seconds = None if spoke_at_seconds is None else spoke_at_seconds - sent_at_seconds
    timings = transcript.timings
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
    """A server may say anything; an event takes what is possible, and a float has its limits too."""
    return min(max(0, number), _MAX_NUMBER)
