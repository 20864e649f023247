"""What was asked of the models, for tests: one `Call` per request to chat or generate."""

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.request import Ask

MAX_CALLS = 100_000


@dataclass(slots=True)
class Call:
    """`at` is Unix time, `*_seconds` count from there. `outcome`, `seconds` are None while the call is in flight.

    `outcome` is done, disconnected or error:<status>. `in_flight_at_start` counts the calls to the same model at that moment,
    this one included. `is_empty`: it only loads or unloads.
    `image_sha256` is of the image's bytes, of several images one after another.
    """

    endpoint: str
    at: float = field(default_factory=time.time)
    model: str | None = None
    is_empty: bool = False
    has_image: bool = False
    image_sha256: str | None = None
    outcome: str | None = None
    first_byte_seconds: float | None = None
    seconds: float | None = None
    in_flight_at_start: int = 0
    started_ns: int = field(default_factory=time.monotonic_ns)

    def first_byte(self) -> None:
        if self.first_byte_seconds is None:
            self.first_byte_seconds = self.elapsed_seconds()

    def elapsed_seconds(self) -> float:
        return (time.monotonic_ns() - self.started_ns) / 1e9


class CallLog:
    """Calls in the order of their arrival, the last `MAX_CALLS`."""

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=MAX_CALLS)
        self.in_flight: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()
        self.max_in_flight: Counter[str] = Counter()  # without those that only load or unload: they take no slot

    @contextmanager
    def record(self, endpoint: str) -> Iterator[Call]:
        """Writes down how the block ends."""
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

    def identify(self, call: Call, ask: Ask, model: str) -> None:
        """Fills in what the call is about, once its body has been read."""
        call.model, call.is_empty = model, ask.is_empty
        call.has_image = bool(ask.images)
        call.image_sha256 = hashlib.sha256(b"".join(ask.images)).hexdigest() if ask.images else None
        self.in_flight[model] += 1
        call.in_flight_at_start = self.in_flight[model]
        self._asking[model] += not ask.is_empty
        self.max_in_flight[model] = max(self.max_in_flight[model], self._asking[model])

    def reset(self) -> None:
        """Forgets calls and maxima; calls in flight stay counted."""
        self.calls.clear()
        self.max_in_flight.clear()

    def _close(self, call: Call, outcome: str) -> None:
        if outcome != "disconnected":
            call.first_byte()  # of an answer that is not streamed, the first byte is the last
        call.seconds, call.outcome = call.elapsed_seconds(), outcome
        if call.model is not None:
            self.in_flight[call.model] -= 1
            self._asking[call.model] -= not call.is_empty
