"""One streamed conversation with an Ollama server, with a deadline over all of it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from worker.adapters.errors import Unavailable
from worker.settings import silence_seconds

CONNECT_TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 8_000_000  # of a stream; far above any answer within num_predict


class ServerFailed(Exception):
    """The server could not answer now. Says a status or a class, never what was asked or answered."""


class RequestRefused(Exception):
    """The server will never answer this request."""


class _Message(BaseModel):
    content: str = ""


class _Chunk(BaseModel):
    """One line of the stream. `done_reason` and the counters come with the last one (ollama.md 2.5)."""

    message: _Message = _Message()
    done: bool = False
    done_reason: str = ""
    eval_count: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, how it ended (`stop` or `length`) and how many tokens it took."""

    text: str
    done_reason: str
    tokens: int


class Ollama:
    """A client for one server. `on_progress` is called with every piece: tokens are progress, silence is not."""

    def __init__(self, base_url: str, on_progress: Callable[[], None]) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=CONNECT_TIMEOUT_SECONDS, trust_env=False)
        self._on_progress = on_progress

    def chat(self, request: dict[str, Any], timeout_seconds: float) -> Answer:
        """Raises Unavailable for 503, RequestRefused for 400, ServerFailed for anything else that is no whole answer."""
        deadline_seconds = time.monotonic() + timeout_seconds
        timeout = httpx.Timeout(timeout_seconds, connect=min(CONNECT_TIMEOUT_SECONDS, timeout_seconds))
        try:
            with self._http.stream("POST", "/api/chat", json={**request, "stream": True}, timeout=timeout) as response:
                _refuse_status(response.status_code)
                response.request.extensions["timeout"]["read"] = silence_seconds(timeout_seconds)
                return self._collected(_lines(response.iter_bytes(), deadline_seconds))
        except httpx.HTTPError as error:
            raise ServerFailed(type(error).__name__) from None

    def whole_answer(
        self, request: dict[str, Any], timeout_seconds: float, *, transient: type[Exception], permanent: type[Exception]
    ) -> Answer:
        """`chat` in the words of an adapter: an answer that was cut off is none. Raises Unavailable or the two given classes."""
        try:
            answer = self.chat(request, timeout_seconds)
        except RequestRefused as error:
            raise permanent(str(error)) from None
        except ServerFailed as error:
            raise transient(str(error)) from None
        if answer.done_reason != "stop":
            raise transient("the answer was not written to its end")
        return answer

    def digest(self, model: str) -> str:
        """The model's digest, which changes when another one is pulled under its name; the name where it is not listed."""
        try:
            listed = self._http.get("/api/tags").raise_for_status().json()["models"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ServerFailed(type(error).__name__) from None
        return next((str(m["digest"]) for m in listed if model in {m["name"], m["name"].removesuffix(":latest")}), model)

    def _collected(self, lines: Iterator[bytes]) -> Answer:
        pieces = []
        for line in lines:
            chunk = _parsed(line)
            pieces.append(chunk.message.content)
            self._on_progress()
            if chunk.done:
                return Answer("".join(pieces), chunk.done_reason, chunk.eval_count)
        raise ServerFailed("the stream ended without done")


def _lines(pieces: Iterator[bytes], deadline_seconds: float) -> Iterator[bytes]:
    """The stream line by line; time and size are looked at with every piece, so that a trickle without an end is cut off."""
    rest, size_bytes = b"", 0
    for piece in pieces:
        size_bytes += len(piece)
        if time.monotonic() > deadline_seconds or size_bytes > MAX_ANSWER_BYTES:
            raise ServerFailed("the answer took too long, or did not end")
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line)


def _parsed(line: bytes) -> _Chunk:
    try:
        chunk = _Chunk.model_validate_json(line)
    except ValidationError:
        raise ServerFailed("a line of the stream is not what Ollama sends") from None
    if chunk.error:
        raise ServerFailed("the server reported an error in the stream")
    return chunk


def _refuse_status(status: int) -> None:
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        raise Unavailable("status 503")
    if status == httpx.codes.BAD_REQUEST:
        raise RequestRefused("status 400")
    if status != httpx.codes.OK:
        raise ServerFailed(f"status {status}")
