"""The effect of a fault on a request: before scheduling, before the first token, and on the answer."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from aiohttp import web

from testkit.ollama_simulator.answer import THOUGHT, Answer, Ending, Piece
from testkit.ollama_simulator.api_error import ApiError, engine_error
from testkit.ollama_simulator.catalogue import not_found
from testkit.ollama_simulator.fault import Fault, FaultKind
from testkit.ollama_simulator.options import Options
from testkit.ollama_simulator.request import ParsedRequest
from testkit.ollama_simulator.scheduler import QUEUE_FULL
from testkit.ollama_simulator.token import tokens

RUNNER_STOPPED = (
    500,
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details",
)
GRAMMAR_REFUSED = (400, "Failed to initialize samplers: failed to parse grammar", "invalid_request_error")
COMPUTE_FAILED = (500, "Compute error.", "server_error")
GARBAGE = b'{"model":"chain","created_at":"2026-1'


async def before_scheduling(fault: Fault | None, request: ParsedRequest, http: web.Request) -> None:
    match fault:
        case Fault(kind=FaultKind.STATUS_503):
            raise ApiError(*QUEUE_FULL)
        case Fault(kind=FaultKind.STATUS_404):
            raise not_found(request.model)
        case Fault(kind=FaultKind.DISCONNECT):
            if http.transport is not None:
                http.transport.close()
            await forever()  # aiohttp cancels this task because its connection is closed


async def before_first_token(fault: Fault | None) -> None:
    """Apply the fault while the request holds its slot: a request that hangs here blocks the slot."""
    match fault:
        case Fault(kind=FaultKind.STATUS_400):
            raise engine_error(*GRAMMAR_REFUSED)
        case Fault(kind=FaultKind.STATUS_500):
            raise ApiError(*RUNNER_STOPPED)
        case Fault(kind=FaultKind.NESTED_ERROR):
            raise engine_error(*COMPUTE_FAILED)
        case Fault(kind=FaultKind.HANG | FaultKind.WEDGE):
            await forever()
        case Fault(kind=FaultKind.SLOW, seconds=seconds):
            await asyncio.sleep(seconds)


def with_fault(fault: Fault | None, answer: Answer, options: Options) -> Answer:
    """Return the model's answer as changed by the fault."""
    if fault is None:
        return answer
    pieces = tuple(answer.pieces)
    half = pieces[: (len(pieces) + 1) // 2]
    match fault.kind:
        case FaultKind.TRICKLE:
            return replace(answer, token_seconds=fault.seconds)
        case FaultKind.SILENCE:
            return Answer(half, ending=Ending.SILENCE)
        case FaultKind.EOF:
            return Answer(half, ending=Ending.CUT)
        case FaultKind.KILL_RUNNER:
            return Answer(half, ending=Ending.DEATH)
        case FaultKind.DONE_FALSE:
            return replace(answer, ending=Ending.DONE_FALSE)
        case FaultKind.TRUNCATED:
            return Answer(half, "length")
        case FaultKind.GARBAGE:
            return replace(answer, pieces=(*half, Piece(raw=GARBAGE), *pieces[len(half) :]))
        case _:
            return _other(fault, answer, options)


def _other(fault: Fault, answer: Answer, options: Options) -> Answer:
    """Replace the model's text by the fault's."""
    match fault.kind:
        case FaultKind.SAY:
            return Answer(tuple(Piece(content) for content in tokens(fault.text)))
        case FaultKind.THINKING_ONLY:
            return Answer(tuple(Piece(thinking=thought) for thought in tokens(THOUGHT)))
        case FaultKind.REPEAT:
            return Answer((Piece(" …"),) * options.limit_tokens, "length")
        case FaultKind.ENDLESS:
            return Answer(_numbers())
        case _:
            return answer


def _numbers() -> Iterator[Piece]:
    return (Piece(f" {number}") for number in count(1))


async def forever() -> None:
    """Wait until the request is cancelled."""
    await asyncio.Event().wait()
