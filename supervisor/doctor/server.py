"""Asks an Ollama server; every answer is read with a bound and checked before anything goes by it."""

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, TypeVar

import httpx
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.ollama.deadline import Deadline
from worker.ollama.loaded_models import ListedModel, ListedModels
from worker.ollama.transport import DeadlineHolder, bounded, bounded_client

LOOK_SECONDS = 5.0  # what a server that is well answers in milliseconds
MAX_BYTES = 8_000_000  # `show` lists every tensor of a model: some 100 bytes each
MAX_NUMBER = 2**60  # of bytes, tokens or nanoseconds: beyond it nothing can be calculated or shown


class ServerSilent(Exception):
    """No answer, or none that Ollama gives. Says the class of the error."""


class ServerRefused(Exception):
    """An answer that is an error; `status` is HTTP's."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def _sizes_only(value: object) -> object:
    """Of a model's description: names, words, and numbers that can be. Lists are left out by Ollama where they are long."""
    return {k: v for k, v in value.items() if _is_fact(v)} if isinstance(value, dict) else {}


def _is_fact(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and abs(value) <= MAX_NUMBER)


Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Word = Annotated[str, Field(max_length=200, pattern=r"^[ -~]*$")]  # it is shown
Facts = Annotated[dict[str, int | float | str], BeforeValidator(_sizes_only)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Version(_Said):
    version: Word


class Details(_Said):
    family: Word = ""
    parameter_size: Word = ""
    quantization_level: Word = ""


class Tag(_Said):
    """A model on disk; `size` is all of its files in bytes."""

    name: str
    size: Number
    digest: str = ""


class Tags(_Said):
    models: list[Tag]


class Description(_Said):
    """`model_info` and `projector_info` are the flat keys of the model's files (ollama.md 2.3)."""

    details: Details = Details()
    model_info: Facts = {}
    projector_info: Facts = {}
    capabilities: list[str] = []


class Message(_Said):
    content: str = ""


class ServerReply(_Said):
    """A whole answer. Durations are nanoseconds; a counter that is 0 is left out (ollama.md 2.4)."""

    message: Message = Message()
    done: bool = False
    done_reason: str = ""
    load_duration: Number = 0
    prompt_eval_count: Number = 0
    prompt_eval_duration: Number = 0
    eval_count: Number = 0
    eval_duration: Number = 0


Answer = TypeVar("Answer", bound=BaseModel)


class Server:
    """One Ollama. Every method raises ServerSilent or ServerRefused."""

    def __init__(self, base_url: str) -> None:
        self._patience = DeadlineHolder()
        self._http = bounded_client(base_url, self._patience)

    def version(self) -> str:
        return self._asked(Version, "GET", "/api/version").version

    def tags(self) -> list[Tag]:
        return self._asked(Tags, "GET", "/api/tags").models

    def describe(self, model: str) -> Description:
        return self._asked(Description, "POST", "/api/show", {"model": model})

    def running(self) -> tuple[ListedModel, ...]:
        return self._asked(ListedModels, "GET", "/api/ps").models

    def load(self, model: str, options: Mapping[str, int], timeout_seconds: float) -> None:
        """Returns when the model is loaded. The options are those of the workers' requests, or it would be loaded twice."""
        self._asked(
            ServerReply, "POST", "/api/generate", {"model": model, "options": dict(options), "stream": False}, timeout_seconds
        )

    def answer(self, body: Mapping[str, Any], timeout_seconds: float) -> ServerReply:
        """The whole answer to a request to /api/chat."""
        return self._asked(ServerReply, "POST", "/api/chat", {**body, "stream": False}, timeout_seconds)

    def _asked(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        timeout_seconds: float = LOOK_SECONDS,
    ) -> Answer:
        now_seconds = time.monotonic()
        self._patience.deadline = Deadline.starting(now_seconds, timeout_seconds, timeout_seconds).after_token(now_seconds)
        try:
            with self._http.stream(method, path, json=body) as response:
                content = bounded(response.iter_raw(), MAX_BYTES)
        except httpx.HTTPError as error:
            raise ServerSilent(type(error).__name__) from None
        if response.status_code != HTTPStatus.OK:
            raise ServerRefused(response.status_code)
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            raise ServerSilent("not an answer of Ollama") from None
