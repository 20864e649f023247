"""The client of an Ollama server: one request at a time, each within its deadline. Chats are streamed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import httpx

from worker.core.errors import Unavailable
from worker.ollama import window
from worker.ollama.api import CHAT, MAX_ERROR_BYTES, SHOW, TAGS, Body, Endpoint, Reply
from worker.ollama.call_report import OnCall, ignore_call, reported
from worker.ollama.deadline import Deadline, Missed, silence_seconds
from worker.ollama.error_status import error_for_status
from worker.ollama.errors import (
    REQUEST_FAILURES,
    AnswerTimeout,
    FirstTokenTimeout,
    LookupFailed,
    ModelElsewhere,
    ModelMissing,
    NameUnresolved,
    PromptTooLong,
    Runaway,
    ServerUnreachable,
    StreamBroken,
    TokenTimeout,
)
from worker.ollama.stream import Answer, StreamedAnswer
from worker.ollama.transport import DeadlineHolder, bounded, bounded_client, is_unresolved
from worker.ollama.usage import FEEDBACK, OnUsage, Purpose, ignore_usage, recorded

LOOKUP_SECONDS = 5.0  # for a list or a description, which a healthy server sends in milliseconds
REST_SECONDS = 1.0  # for the end of a body after its last line: a later end costs the connection, not the answer
LINE_BYTES_PER_TOKEN = 1024  # of the stream: a line is some 150 bytes around its piece of text
SPARE_BYTES = 1_000_000  # one line may carry a whole answer, each of its characters escaped
_TIMEOUTS = {Missed.FIRST_TOKEN: FirstTokenTimeout, Missed.NEXT_TOKEN: TokenTimeout, Missed.END: AnswerTimeout}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to /api/chat. `max_tokens` limits the answer, thoughts included. The answer ends before a word of `stop`.

    `options` are the model's frozen ones: the server loads a model again if two requests differ in them (docs/ollama-api.md 5).
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, int]
    max_tokens: int
    repetition_limit_characters: int
    document_schema: Mapping[str, Any] | None = None
    think: bool | str = False
    temperature: float = 0.0
    seed: int = 1
    stop: tuple[str, ...] = ()
    wants_logprobs: bool = False  # servers without them ignore this
    purpose: Purpose = FEEDBACK

    @property
    def least_tokens(self) -> int:
        """Lower bound of the prompt's tokens."""
        return window.least_tokens((str(message["content"]) for message in self.messages), self.images)

    @property
    def images(self) -> int:
        """Number of pictures in the prompt."""
        return sum(len(message.get("images", ())) for message in self.messages)

    def body(self) -> dict[str, Any]:
        """With `truncate` false the server rejects a prompt that it would otherwise cut.

        There is no keep_alive, because it would hold for all clients of the model (docs/ollama-api.md 4.5).
        """
        form = {} if self.document_schema is None else {"format": self.document_schema}
        options: dict[str, Any] = {**self.options, "temperature": self.temperature, "seed": self.seed}
        options |= {"num_predict": self.max_tokens} | ({"stop": list(self.stop)} if self.stop else {})
        prompt = {"model": self.model, "messages": list(self.messages), "think": self.think, "options": options}
        certainty = {"logprobs": True} if self.wants_logprobs else {}
        return {**prompt, **form, **certainty, "stream": True, "truncate": False}


def ignore_progress() -> None:
    """An `on_progress` for callers outside of a worker."""


class Ollama:
    """A client for one server.

    `on_progress` is called with every line that carries text. `on_call` is called at the end of each chat that was sent, and
    `on_usage` at the end of each answer, also of one that is of no use.
    With `may_leave_the_house` False no chat is sent to a model that runs elsewhere, or that cannot be described.
    All methods raise Unavailable, BadRequest, ServerFailed or a subclass: see worker.ollama.errors.
    """

    def __init__(
        self,
        base_url: str,
        on_progress: Callable[[], None] = ignore_progress,
        on_call: OnCall = ignore_call,
        *,
        on_usage: OnUsage = ignore_usage,
        may_leave_the_house: bool = True,
    ) -> None:
        self._holder, self._on_progress, self._on_call, self._on_usage = DeadlineHolder(), on_progress, on_call, on_usage
        self._http = bounded_client(base_url, self._holder)
        self._may_leave_the_house = may_leave_the_house
        self._model_tokens: dict[str, int] = {}  # the largest window of each model, 0 if not known

    def chat(self, request: ChatRequest, deadline: Deadline) -> Answer:
        """A whole answer, before the deadline."""
        request = self._within_its_model(request, deadline)
        least_tokens, window_tokens = request.least_tokens, request.options.get("num_ctx")
        if window.is_too_small(window_tokens, least_tokens):
            raise PromptTooLong("not sent")
        answer = self._streamed(request, deadline)
        if window.was_cut(window_tokens, least_tokens, answer.prompt_tokens):
            raise PromptTooLong("cut by the server")
        return answer

    def look_up(self, endpoint: Endpoint[Reply], body: Body | None = None) -> Reply:
        """The reply to a request that needs no model. It takes at most LOOKUP_SECONDS."""
        return self.request(endpoint, body, LOOKUP_SECONDS)

    def request(self, endpoint: Endpoint[Reply], body: Body | None, timeout_seconds: float) -> Reply:
        """The whole reply within `timeout_seconds`."""
        return self._request(endpoint, body, deadline_in(timeout_seconds).cut(time.monotonic(), timeout_seconds))

    def _describe(self, endpoint: Endpoint[Reply], body: Body | None, deadline: Deadline) -> Reply:
        """A reply about installed models, within LOOKUP_SECONDS. A failure that could pass for a call's is LookupFailed."""
        try:
            return self._request(endpoint, body, deadline.cut(time.monotonic(), LOOKUP_SECONDS))
        except (ServerUnreachable, ModelMissing, Unavailable):
            raise
        except REQUEST_FAILURES as error:
            raise LookupFailed(type(error).__name__) from None

    def digest(self, model: str) -> str | None:
        """The model's digest, which changes if another model is pulled under its name; None if it is not installed."""
        listed = self._describe(TAGS, None, deadline_in(LOOKUP_SECONDS)).find(model)
        return listed.digest if listed else None

    def _within_its_model(self, request: ChatRequest, deadline: Deadline) -> ChatRequest:
        """Ask for no larger window than the model has, and nothing of a model that runs elsewhere.

        The description is read once, before the first chat.
        """
        if "num_ctx" not in request.options:
            return request
        if request.model not in self._model_tokens:
            self._model_tokens[request.model] = self._described_tokens(request, deadline)
        return replace(request, options=window.within(request.options, self._model_tokens[request.model]))

    def _described_tokens(self, request: ChatRequest, deadline: Deadline) -> int:
        """Without a description the server limits the window in the same way. But no pupil's work leaves because of that.

        The failure is then reported as that of the call, because the chat is not sent.
        """
        try:
            description = self._describe(SHOW, {"model": request.model}, deadline)
        except REQUEST_FAILURES:
            if self._may_leave_the_house:
                return 0
            with reported(StreamedAnswer(request.max_tokens, request.repetition_limit_characters), self._on_call):
                raise
        if description.runs_elsewhere and not self._may_leave_the_house:
            raise ModelElsewhere("not sent")
        return description.context_tokens

    def _streamed(self, request: ChatRequest, deadline: Deadline) -> Answer:
        answer = StreamedAnswer(request.max_tokens, request.repetition_limit_characters)
        usage = recorded(answer, request.model, request.purpose, self._on_usage, has_image=request.images > 0)
        with reported(answer, self._on_call), usage:
            self._read_stream(answer, request, deadline)
            return answer.whole()

    def _read_stream(self, answer: StreamedAnswer, request: ChatRequest, deadline: Deadline) -> None:
        max_bytes = request.max_tokens * LINE_BYTES_PER_TOKEN + SPARE_BYTES
        self._holder.deadline = deadline
        with _failing(self._holder), self._http.stream(CHAT.method, CHAT.path, json=request.body()) as response:
            if response.status_code != httpx.codes.OK:
                raise error_for_status(response.status_code, bounded(response.iter_raw(), MAX_ERROR_BYTES))
            pieces = response.iter_raw()
            for line in _lines(pieces, max_bytes):
                self._feed(answer, line)
                if answer.is_done:
                    self._finish(pieces)
                    break

    def _feed(self, answer: StreamedAnswer, line: bytes) -> None:
        now_seconds = time.monotonic()
        if answer.feed(line, now_seconds):
            self._holder.deadline = self._holder.deadline.after_token(now_seconds)
            self._on_progress()

    def _finish(self, pieces: Iterator[bytes]) -> None:
        """Read to the end of the body, so that the connection can be used again. Any further data closes it."""
        self._holder.deadline = self._holder.deadline.cut(time.monotonic(), REST_SECONDS)
        with suppress(httpx.HTTPError):
            next(pieces, None)

    def _request(self, endpoint: Endpoint[Reply], body: Body | None, deadline: Deadline) -> Reply:
        self._holder.deadline = deadline
        with _failing(self._holder), self._http.stream(endpoint.method, endpoint.path, json=body) as response:
            content = bounded(response.iter_raw(), endpoint.limit_bytes(response.status_code))
        return endpoint.parse(response.status_code, content)


@contextmanager
def _failing(holder: DeadlineHolder) -> Iterator[None]:
    """Convert httpx's exceptions to those of worker.ollama.errors."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if is_unresolved(error):
            raise NameUnresolved("host name not resolved") from None
        raise ServerUnreachable(type(error).__name__) from None
    except httpx.TimeoutException as error:
        raise _TIMEOUTS[holder.deadline.first_missed](type(error).__name__) from None
    except httpx.HTTPError as error:
        raise StreamBroken(type(error).__name__) from None


def deadline_in(timeout_seconds: float) -> Deadline:
    """A deadline that starts now."""
    return Deadline.starting(time.monotonic(), timeout_seconds, silence_seconds(timeout_seconds))


def _lines(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """Split the stream into lines. Its size is checked with every piece, so that a line without an end is noticed."""
    rest, size_bytes = b"", 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise Runaway("more bytes than num_predict explains")
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line)
