"""The log of calls for tests: one `Call` per request to chat or generate."""

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.request import ParsedRequest

MAX_CALLS = 100_000


@dataclass(slots=True)
class Call:
    """`at` is Unix time, `*_seconds` count from there. `outcome` and `seconds` are None while the call is in flight.

    `outcome` is done, disconnected or error:<status>. `in_flight_at_start` counts the calls to the same model at the start,
    with this one. `is_empty`: the call only loads or unloads a model. `image_sha256` is over the bytes of all images. `num_ctx`
    is the window that was asked for.
    """

    endpoint: str
    at: float = field(default_factory=time.time)
    model: str | None = None
    is_empty: bool = False
    has_image: bool = False
    image_sha256: str | None = None
    num_ctx: int | None = None
    outcome: str | None = None
    first_byte_seconds: float | None = None
    seconds: float | None = None
    in_flight_at_start: int = 0
    started_ns: int = field(default_factory=time.monotonic_ns)
    temperature: object = None  # as the request gives it
    seed: object = None
    prompt_sha256: str | None = None

    def first_byte(self) -> None:
        if self.first_byte_seconds is None:
            self.first_byte_seconds = self.elapsed_seconds()

    def elapsed_seconds(self) -> float:
        return (time.monotonic_ns() - self.started_ns) / 1e9


class CallLog:
    """The last `MAX_CALLS` calls, in order of arrival."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=MAX_CALLS)
        self.in_flight: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()
        self.max_in_flight: Counter[str] = Counter()  # without empty calls, which take no slot

    @contextmanager
    def record(self, endpoint: str) -> Iterator[Call]:
        """Log a call for the length of the block, with the block's outcome."""
        call = Call(endpoint)
        self.calls.append(call)
        outcome = "error:500"
        try:
            yield call
            outcome = "done"
        except ApiError as error:
            outcome = f"error:{error.status}"
            raise
        except (asyncio.CancelledError, ConnectionError):
            outcome = "disconnected"
            raise
        finally:
            self._close(call, outcome)

    def identify(self, call: Call, request: ParsedRequest, model: str) -> None:
        """Add model and images to the call after its body has been parsed."""
        call.model, call.is_empty = model, request.is_empty
        call.has_image = bool(request.images)
        call.num_ctx = asked if isinstance(asked := request.options.get("num_ctx"), int) else None
        call.image_sha256 = hashlib.sha256(b"".join(request.images)).hexdigest() if request.images else None
        self.in_flight[model] += 1
        call.in_flight_at_start = self.in_flight[model]
        self._asking[model] += not request.is_empty
        self.max_in_flight[model] = max(self.max_in_flight[model], self._asking[model])
        call.temperature, call.seed = request.options.get("temperature"), request.options.get("seed")
        call.prompt_sha256 = hashlib.sha256(request.prompt.encode("utf-8", "replace")).hexdigest()

    def reset(self) -> None:
        """Clear calls and maxima. Calls in flight stay counted."""
        self.calls.clear()
        self.max_in_flight.clear()

    def _close(self, call: Call, outcome: str) -> None:
        if outcome != "disconnected":
            call.first_byte()  # an answer that is not streamed arrives at once
        call.seconds, call.outcome = call.elapsed_seconds(), outcome
        if call.model is not None:
            self.in_flight[call.model] -= 1
            self._asking[call.model] -= not call.is_empty
