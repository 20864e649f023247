"""Conversations with an Ollama server, streamed, one at a time, each within its deadline."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import BaseModel, ValidationError

from worker.ollama import window
from worker.ollama.call_report import OnCall, ignore_call, reported
from worker.ollama.deadline import Deadline, Missed, silence_seconds
from worker.ollama.errors import (
    AnswerTimeout,
    FirstTokenTimeout,
    PromptTooLong,
    Runaway,
    ServerFailed,
    ServerUnreachable,
    StreamBroken,
    TokenTimeout,
)
from worker.ollama.models import is_called
from worker.ollama.error_status import MAX_REFUSAL_BYTES, refusal
from worker.ollama.stream import Answer, StreamedAnswer
from worker.ollama.transport import DeadlineHolder, bounded, bounded_client

LOOKUP_SECONDS = 5.0  # for a list of models, all of it
REST_SECONDS = 1.0  # for the end of a body whose last line has come: beyond it the connection is given up, not the answer
LINE_BYTES_PER_TOKEN = 1024  # of the stream: a line is some 150 bytes around its piece of text
SPARE_BYTES = 1_000_000  # one line may carry a whole answer, each of its characters escaped
MAX_LIST_BYTES = 4_000_000  # of a list of models: some 700 bytes a model
_LATE = {Missed.FIRST_TOKEN: FirstTokenTimeout, Missed.NEXT_TOKEN: TokenTimeout, Missed.END: AnswerTimeout}


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request to /api/chat. `max_tokens` is all that the model may write, what it thinks included.

    `options` are the model's frozen ones: the server loads a model anew where two requests differ in them (ollama.md 5).
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    options: Mapping[str, int]
    max_tokens: int
    repetition_limit_characters: int
    document_schema: Mapping[str, Any] | None = None
    think: bool | str = False

    @property
    def least_tokens(self) -> int:
        """Of the prompt, at least."""
        images = sum(len(message.get("images", ())) for message in self.messages)
        return window.least_tokens((str(message["content"]) for message in self.messages), images)

    def body(self) -> dict[str, Any]:
        """`truncate` false: a server that would cut the prompt refuses it. No keep_alive, which would be everybody's (4.5)."""
        form = {} if self.document_schema is None else {"format": self.document_schema}
        options = {**self.options, "temperature": 0, "num_predict": self.max_tokens}
        said = {"model": self.model, "messages": list(self.messages), "think": self.think, "options": options}
        return {**said, **form, "stream": True, "truncate": False}


class _Model(BaseModel):
    name: str = ""
    digest: str = ""
    context_length: int | None = None


class _Models(BaseModel):
    models: list[_Model]


class Ollama:
    """A client for one server. `on_progress` is called with every line that says something: silence is no progress.

    `on_call` is called at the end of each request to a model that was sent, however it ended.
    """

    def __init__(self, base_url: str, on_progress: Callable[[], None], on_call: OnCall = ignore_call) -> None:
        self._patience, self._on_progress, self._on_call = DeadlineHolder(), on_progress, on_call
        self._http = bounded_client(base_url, self._patience)

    def chat(self, question: ChatRequest, deadline: Deadline) -> Answer:
        """A whole answer, before the deadline is over.

        Raises Unavailable, BadRequest or a class below it, ServerFailed or a class below it: see worker.ollama.errors.
        """
        least_tokens = question.least_tokens
        if window.is_too_small(self._window_tokens(question, least_tokens, deadline), least_tokens):
            raise PromptTooLong("not sent")
        answer = self._told(question, deadline)
        if window.was_cut(least_tokens, answer.prompt_tokens):
            raise PromptTooLong("cut by the server")
        return answer

    def digest(self, model: str) -> str | None:
        """The model's digest, which changes when another one is pulled under its name; None where it is not listed.

        Raises ServerFailed, after LOOKUP_SECONDS at the latest.
        """
        listed = self._listed("/api/tags", deadline_in(LOOKUP_SECONDS))
        return next((each.digest for each in listed if is_called(each.name, model)), None)

    def _window_tokens(self, question: ChatRequest, least_tokens: int, deadline: Deadline) -> int | None:
        """As set, or of the model as it is loaded: asked anew where it may matter, since a stale number would fail a pupil."""
        if "num_ctx" in question.options:
            return question.options["num_ctx"]
        if not window.may_matter(least_tokens):
            return None
        with suppress(ServerFailed):
            running = self._listed("/api/ps", deadline)
            return next((each.context_length for each in running if is_called(each.name, question.model)), None)
        return None

    def _told(self, question: ChatRequest, deadline: Deadline) -> Answer:
        transcript = StreamedAnswer(question.max_tokens, question.repetition_limit_characters)
        with reported(transcript, self._on_call):
            self._listen(transcript, question, deadline)
            return transcript.answer()

    def _listen(self, transcript: StreamedAnswer, question: ChatRequest, deadline: Deadline) -> None:
        max_bytes = question.max_tokens * LINE_BYTES_PER_TOKEN + SPARE_BYTES
        self._patience.deadline = deadline
        with _failing(self._patience), self._http.stream("POST", "/api/chat", json=question.body()) as response:
            _refuse(response)
            pieces = response.iter_raw()
            for line in _lines(pieces, max_bytes):
                self._hear(transcript, line)
                if transcript.is_done:
                    self._finish(pieces)
                    break

    def _hear(self, transcript: StreamedAnswer, line: bytes) -> None:
        now_seconds = time.monotonic()
        if transcript.hear(line, now_seconds):
            self._patience.deadline = self._patience.deadline.after_token(now_seconds)
            self._on_progress()

    def _finish(self, pieces: Iterator[bytes]) -> None:
        """Reads to the end of the body, without which the connection cannot be used again; more than the end closes it."""
        self._patience.deadline = self._patience.deadline.cut(time.monotonic(), REST_SECONDS)
        with suppress(httpx.HTTPError):
            next(pieces, None)

    def _listed(self, path: str, deadline: Deadline) -> list[_Model]:
        self._patience.deadline = deadline.cut(time.monotonic(), LOOKUP_SECONDS)
        with _failing(self._patience), self._http.stream("GET", path) as response:
            _refuse(response)
            body = bounded(response.iter_raw(), MAX_LIST_BYTES)
        try:
            return _Models.model_validate_json(body).models
        except ValidationError:
            raise StreamBroken("not a list of models") from None


@contextmanager
def _failing(patience: DeadlineHolder) -> Iterator[None]:
    """What httpx raises, in the words of worker.ollama.errors."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServerUnreachable(type(error).__name__) from None
    except httpx.TimeoutException as error:
        raise _LATE[patience.deadline.first_missed](type(error).__name__) from None
    except httpx.HTTPError as error:
        raise StreamBroken(type(error).__name__) from None


def deadline_in(timeout_seconds: float) -> Deadline:
    return Deadline.starting(time.monotonic(), timeout_seconds, silence_seconds(timeout_seconds))


def _refuse(response: httpx.Response) -> None:
    if response.status_code != httpx.codes.OK:
        raise refusal(response.status_code, bounded(response.iter_raw(), MAX_REFUSAL_BYTES))


def _lines(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """The stream line by line; its size is looked at with every piece, whether or not a line ever ends."""
    rest, size_bytes = b"", 0
    for piece in pieces:
        size_bytes += len(piece)
        if size_bytes > max_bytes:
            raise Runaway("more bytes than num_predict explains")
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line for line in whole if line)
