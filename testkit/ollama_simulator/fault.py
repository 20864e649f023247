"""Choose the fault of each request: set by a test, set in a header, or drawn from a seed."""

import random
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import JsonObject
from testkit.ollama_simulator.catalogue import full_name

MAX_TEXT_CHARACTERS = 1_000_000


class FaultKind(StrEnum):
    STATUS_400 = "status_400"  # a schema whose grammar is refused
    STATUS_404 = "status_404"  # as for a model that was removed
    STATUS_500 = "status_500"  # the runner has stopped
    STATUS_503 = "status_503"  # as when OLLAMA_MAX_QUEUE requests wait for a load
    NESTED_ERROR = "nested_error"  # 500, and the error's text is llama-server's JSON
    DISCONNECT = "disconnect"  # the connection is closed before any header
    HANG = "hang"  # holds a slot and sends nothing until the client disconnects
    WEDGE = "wedge"  # like HANG for every request to this model, until the faults are cleared
    SLOW = "slow"  # pauses `seconds` before the first token
    TRICKLE = "trickle"  # a token every `seconds`
    SILENCE = "silence"  # half of the tokens, then no more, and the connection stays open
    EOF = "eof"  # ends in the middle: a stream without its last line, or a whole answer with done false
    DONE_FALSE = "done_false"  # sends the whole text, ends with done false and no counters
    TRUNCATED = "truncated"  # half of the text, done_reason length
    ENDLESS = "endless"  # new tokens until the client disconnects, num_predict is ignored
    REPEAT = "repeat"  # one token repeated until the client disconnects or num_predict is reached
    THINKING_ONLY = "thinking_only"  # only thoughts, empty content, done_reason stop
    SAY = "say"  # the whole answer is `text`, done_reason stop, the schema is ignored
    GARBAGE = "garbage"  # a line in the stream, or the whole body, is not JSON
    KILL_RUNNER = "kill_runner"  # the runner dies in the middle, ps lists it until the next request reloads it


UNDRAWN = (FaultKind.WEDGE, FaultKind.SAY)  # WEDGE lasts until the faults are cleared, SAY needs a text


@dataclass(slots=True)
class Fault:
    """A fault for the next `times` requests to `model` (None: any) that contain the text `containing`."""

    kind: FaultKind
    model: str | None = None
    times: int = 1
    seconds: float = 1.0
    text: str = ""
    containing: str = ""

    def concerns(self, model: str) -> bool:
        return self.model in (None, model)


class Faults:
    """The faults that tests have set, used in the order in which they were set.

    With a `rate`, that share of the other requests gets a fault drawn from the seed and the number of the request.
    """

    def __init__(self, rate: float = 0.0, seed: int = 0) -> None:
        self._rate = rate
        self._seed = seed
        self._requests = 0
        self._pending: list[Fault] = []
        self._wedged: set[str] = set()

    def add(self, body: JsonObject) -> None:
        """Add a fault. Raises ApiError 400 for invalid parameters."""
        self._pending.append(read_fault(body))

    def clear(self) -> None:
        self._pending.clear()
        self._wedged.clear()

    def reads(self, model: str) -> bool:
        """Return True if a fault for this model depends on the text of the request."""
        return any(fault.containing and fault.concerns(model) for fault in self._pending)

    def take(self, model: str, content: str) -> Fault | None:
        """Return the fault for one request with a prompt. `content` is the prompt, and the text in its images if `reads`."""
        self._requests += 1
        if model in self._wedged:
            return Fault(FaultKind.WEDGE)
        fault = next((each for each in self._pending if each.concerns(model) and each.containing in content), None)
        if fault is None:
            return self._drawn()
        fault.times -= 1
        self._pending = [each for each in self._pending if each.times > 0]
        if fault.kind is FaultKind.WEDGE:
            self._wedged.add(model)
        return fault

    def _drawn(self) -> Fault | None:
        draw = random.Random(f"{self._seed}/{self._requests}")
        if draw.random() >= self._rate:
            return None
        return Fault(draw.choice([kind for kind in FaultKind if kind not in UNDRAWN]))


def read_fault(body: JsonObject) -> Fault:
    model, times, seconds = body.get("model"), body.get("times", 1), body.get("seconds", 1.0)
    text, containing = body.get("text") or "", body.get("containing") or ""
    if not isinstance(times, int) or times < 1 or not isinstance(seconds, int | float) or not 0 <= seconds < 1e9:
        raise ApiError(400, "times must be a whole number of at least 1, seconds a number of at least 0")
    if not isinstance(text, str) or not isinstance(containing, str) or len(text) > MAX_TEXT_CHARACTERS:
        raise ApiError(400, f"text and containing must be strings, text of at most {MAX_TEXT_CHARACTERS} characters")
    name = full_name(str(model)) if model is not None else None
    return Fault(_kind(body.get("fault")), name, times, float(seconds), text, containing)


def fault_in_header(header: str) -> Fault:
    """Parse a kind with percent-encoded parameters, such as `trickle; seconds=0.2` or `say; text=Gr%C3%BC%C3%9Fe`."""
    kind, _, rest = header.partition(";")
    given = {name.strip(): value for name, value in parse_qsl(rest, separator=";")}
    try:
        seconds = float(given.get("seconds", "1"))
    except ValueError as error:
        raise ApiError(400, "seconds must be a number") from error
    return read_fault({"fault": kind.strip(), "seconds": seconds, "text": given.get("text", "")})


def _kind(name: object) -> FaultKind:
    try:
        return FaultKind(str(name))
    except ValueError as error:
        raise ApiError(400, f"fault must be one of {', '.join(FaultKind)}") from error
