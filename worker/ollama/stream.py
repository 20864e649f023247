"""An answer assembled line by line from its stream, until the last line or until it exceeds a limit."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from worker.core.doubt import NO_CONFIDENCE, Confidence
from worker.ollama.errors import AnswerTruncated, EmptyAnswer, Runaway, ServerError, StreamBroken
from worker.ollama.repetition import Repetition

LEAST_LOGPROB = -10_000.0  # llama.cpp gives this much to a token of probability 0
LINES_PER_TOKEN = 2  # a token comes as one line, or as two if it is split between thought and text
SPARE_LINES = 64
BYTES_PER_TOKEN = 32  # of text; German has about four, a row of dots sixteen


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole text, with the tokens written and read. A count that the server omitted is 0."""

    text: str
    tokens: int
    prompt_tokens: int
    confidence: Confidence = NO_CONFIDENCE


@dataclass(frozen=True, slots=True)
class Timings:
    """The server's own durations. An omitted one is 0, because Ollama omits zeros (docs/ollama-api.md 2.5)."""

    tokens: int
    total_ns: int
    load_ns: int
    prompt_ns: int
    answer_ns: int


_NO_ANSWER = frozenset({"load", "unload"})  # reasons of a reply to a request without a prompt


class _Part(BaseModel):
    """A part of a line. A field of null counts as absent."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: object) -> object:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class _Message(_Part):
    content: str = ""
    thinking: str = ""


class _Token(_Part):
    """`logprob` is the natural logarithm of the token's probability."""

    logprob: Annotated[float, Field(ge=LEAST_LOGPROB, le=0)]


_TOKENS: TypeAdapter[tuple[_Token, ...]] = TypeAdapter(tuple[_Token, ...])


def _tokens(value: object) -> tuple[_Token, ...]:
    """No tokens if the list is of another shape, because an answer is whole without it."""
    try:
        return _TOKENS.validate_python(value)
    except ValidationError:
        return ()


class _Line(_Part):
    """`done_reason` and the counters come with the last line (docs/ollama-api.md 2.5). Some servers omit them."""

    message: _Message = _Message()
    logprobs: Annotated[tuple[_Token, ...], BeforeValidator(_tokens)] = ()
    done: bool = False
    done_reason: str = ""
    eval_count: int = 0
    prompt_eval_count: int = 0
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_duration: int = 0
    eval_duration: int = 0
    error: str = ""


class StreamedAnswer:
    """One answer in progress. `max_tokens` is the request's num_predict."""

    def __init__(self, max_tokens: int, repetition_limit_characters: int) -> None:
        self._max_tokens = max_tokens
        self._max_lines = max_tokens * LINES_PER_TOKEN + SPARE_LINES
        self._max_bytes = max_tokens * BYTES_PER_TOKEN
        self._repetition = Repetition(repetition_limit_characters)
        self._pieces: list[str] = []
        self._lines = self._bytes = self._tokens = 0
        self._has_thought = False
        self._confidence = NO_CONFIDENCE
        self._last: _Line | None = None
        self.first_token_at_seconds: float | None = None

    @property
    def is_done(self) -> bool:
        return self._last is not None

    @property
    def has_begun(self) -> bool:
        """True once the model has answered anything. A reply to a request without a prompt is no answer."""
        is_empty_answer = self._last is not None and self._last.done_reason not in _NO_ANSWER
        return self.first_token_at_seconds is not None or is_empty_answer

    @property
    def counts(self) -> tuple[int, int]:
        """Tokens read and written, as the server counts them. 0 for a count that it omitted or has not sent yet."""
        return (self._last.prompt_eval_count, self._last.eval_count) if self._last else (0, 0)

    @property
    def timings(self) -> Timings | None:
        """None before the last line, or if that line has none."""
        last = self._last
        if last is None or not last.total_duration:
            return None
        return Timings(last.eval_count, last.total_duration, last.load_duration, last.prompt_eval_duration, last.eval_duration)

    def feed(self, raw: bytes, now_seconds: float) -> bool:
        """Append a line. True if it carries text or a thought. Raises StreamBroken, ServerError or Runaway."""
        line = _parsed(raw)
        self._pieces.append(line.message.content)
        self._has_thought = self._has_thought or bool(line.message.thinking)
        text = line.message.thinking + line.message.content
        if text and self.first_token_at_seconds is None:
            self.first_token_at_seconds = now_seconds
        self._tokens += bool(text)
        self._stop_runaway(text)
        for token in line.logprobs:
            self._confidence = self._confidence.plus(token.logprob)
        if line.done:
            self._last = line
        return bool(text)

    def whole(self) -> Answer:
        """Raises AnswerTruncated, EmptyAnswer or StreamBroken if the answer is not whole."""
        last, text = self._last, "".join(self._pieces)
        if last is None:
            raise StreamBroken("the stream ended without done")
        if last.done_reason == "length" or (last.done_reason != "stop" and self._has_all_tokens(last)):
            raise AnswerTruncated("as many tokens as allowed")
        has_text = bool(text.strip())
        if last.done_reason in _NO_ANSWER or (not has_text and (self._has_thought or last.done_reason != "stop")):
            raise EmptyAnswer("no text")
        return Answer(text, last.eval_count, last.prompt_eval_count, self._confidence)

    def _has_all_tokens(self, last: _Line) -> bool:
        """Judge an answer without the usual reason by its tokens. Without a count each line with text is one."""
        return (last.eval_count or self._tokens) >= self._max_tokens

    def _stop_runaway(self, text: str) -> None:
        self._lines += 1
        self._bytes += len(text.encode())
        if self._lines > self._max_lines or self._bytes > self._max_bytes:
            raise Runaway("more than num_predict explains")
        if self._repetition.is_endless_after(text):
            raise Runaway("repetition")


def _parsed(raw: bytes) -> _Line:
    try:
        line = _Line.model_validate_json(raw)
    except ValidationError:
        raise StreamBroken("a line is not what Ollama sends") from None
    if line.error:
        raise ServerError("an error in the stream")
    return line
