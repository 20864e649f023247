"""What a model says, line by line of its stream, until it says that it is done or says too much."""

from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from worker.ollama.errors import AnswerTruncated, EmptyAnswer, Runaway, ServerError, StreamBroken
from worker.ollama.repetition import Repetition

LINES_PER_TOKEN = 2  # a token comes as one line; a model that thinks may have it split between thought and speech
SPARE_LINES = 64
BYTES_PER_TOKEN = 32  # of text; German has about four, a row of dots sixteen


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said to its end, and how many tokens it took and was given. A count that the server left out is 0."""

    text: str
    tokens: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Timings:
    """The server's own, of a whole answer. What it left out is 0, as Ollama does with what is (ollama.md 2.5)."""

    tokens: int
    total_ns: int
    load_ns: int
    prompt_ns: int
    answer_ns: int


class _Message(BaseModel):
    content: str = ""
    thinking: str = ""


class _Line(BaseModel):
    """`done_reason` and the counters come with the last one (ollama.md 2.5)."""

    message: _Message = _Message()
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
    """One answer being written. `max_tokens` is the request's num_predict."""

    def __init__(self, max_tokens: int, repetition_limit_characters: int) -> None:
        self._max_lines = max_tokens * LINES_PER_TOKEN + SPARE_LINES
        self._max_bytes = max_tokens * BYTES_PER_TOKEN
        self._repetition = Repetition(repetition_limit_characters)
        self._pieces: list[str] = []
        self._lines = self._bytes = 0
        self._has_thought = False
        self._last: _Line | None = None
        self.spoke_at_seconds: float | None = None  # for the first time

    @property
    def is_done(self) -> bool:
        return self._last is not None

    @property
    def timings(self) -> Timings | None:
        """None before the last line, or where that tells none."""
        last = self._last
        if last is None or not last.total_duration:
            return None
        return Timings(last.eval_count, last.total_duration, last.load_duration, last.prompt_eval_duration, last.eval_duration)

    def hear(self, raw: bytes, now_seconds: float) -> bool:
        """Whether the line says something. Raises StreamBroken, ServerError or Runaway."""
        line = _parsed(raw)
        self._pieces.append(line.message.content)
        self._has_thought = self._has_thought or bool(line.message.thinking)
        said = line.message.thinking + line.message.content
        if said and self.spoke_at_seconds is None:
            self.spoke_at_seconds = now_seconds
        self._refuse_runaway(said)
        if line.done:
            self._last = line
        return bool(said)

    def answer(self) -> Answer:
        """Raises AnswerTruncated, EmptyAnswer or StreamBroken where this is no whole one."""
        last, text = self._last, "".join(self._pieces)
        if last is None:
            raise StreamBroken("the stream ended without done")
        if last.done_reason == "length":
            raise AnswerTruncated("done_reason length")
        if last.done_reason != "stop" or (self._has_thought and not text.strip()):
            raise EmptyAnswer("nothing was said")
        return Answer(text, last.eval_count, last.prompt_eval_count)

    def _refuse_runaway(self, said: str) -> None:
        self._lines += 1
        self._bytes += len(said.encode())
        if self._lines > self._max_lines or self._bytes > self._max_bytes:
            raise Runaway("more than num_predict explains")
        if self._repetition.is_endless_after(said):
            raise Runaway("repetition")


def _parsed(raw: bytes) -> _Line:
    try:
        line = _Line.model_validate_json(raw)
    except ValidationError:
        raise StreamBroken("a line is not what Ollama sends") from None
    if line.error:
        raise ServerError("an error in the stream")
    return line
