"""Faults that a test orders: the next requests for a model go wrong in a known way."""

import asyncio
from dataclasses import dataclass
from enum import StrEnum

from demo.ollama_simulator.api_error import ApiError
from demo.ollama_simulator.body import JsonObject
from demo.ollama_simulator.catalogue import full_name

QUEUE_FULL = (503, "server busy, please try again.  maximum pending requests exceeded")
RUNNER_STOPPED = (
    500,
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details",
)


class FaultKind(StrEnum):
    STATUS_503 = "status_503"  # as when OLLAMA_MAX_QUEUE requests wait for a load
    STATUS_500 = "status_500"  # the runner has stopped
    HANG = "hang"  # takes a slot and says nothing until the client leaves
    SLOW = "slow"  # pauses before the first token
    EOF = "eof"  # ends in the middle: a stream without its last line, or a whole answer with done false


@dataclass(slots=True)
class Fault:
    """`model` None stands for every model; `seconds` is the pause of SLOW; `times` requests are left."""

    kind: FaultKind
    model: str | None
    times: int
    seconds: float


class Faults:
    """Orders are used up in the order given."""

    def __init__(self) -> None:
        self._orders: list[Fault] = []

    def order(self, body: JsonObject) -> None:
        """Raises ApiError 400 for an order that makes no sense."""
        self._orders.append(read_fault(body))

    def clear(self) -> None:
        self._orders.clear()

    def take(self, model: str) -> Fault | None:
        """The fault for one request to this model; only requests with a prompt ask."""
        fault = next((order for order in self._orders if order.model in (None, model)), None)
        if fault is not None:
            fault.times -= 1
            self._orders = [order for order in self._orders if order.times > 0]
        return fault


def read_fault(body: JsonObject) -> Fault:
    model, times, seconds = body.get("model"), body.get("times", 1), body.get("seconds", 1.0)
    try:
        kind = FaultKind(str(body.get("fault")))
    except ValueError as error:
        raise ApiError(400, f"fault must be one of {', '.join(FaultKind)}") from error
    if not isinstance(times, int) or times < 1 or not isinstance(seconds, int | float) or seconds < 0:
        raise ApiError(400, "times must be a whole number of at least 1, seconds a number of at least 0")
    return Fault(kind, full_name(str(model)) if model is not None else None, times, float(seconds))


def before_scheduling(fault: Fault | None) -> None:
    if fault is not None and fault.kind is FaultKind.STATUS_503:
        raise ApiError(*QUEUE_FULL)


async def before_first_token(fault: Fault | None) -> None:
    """Called with a slot taken: what hangs here keeps it from others."""
    match fault:
        case Fault(kind=FaultKind.STATUS_500):
            raise ApiError(*RUNNER_STOPPED)
        case Fault(kind=FaultKind.HANG):
            await asyncio.Event().wait()  # until the request is cancelled
        case Fault(kind=FaultKind.SLOW, seconds=seconds):
            await asyncio.sleep(seconds)


def ends_early(fault: Fault | None) -> bool:
    return fault is not None and fault.kind is FaultKind.EOF
