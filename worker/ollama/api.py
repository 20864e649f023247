"""The endpoints of Ollama's HTTP API: method, path, shape and largest size of the reply, and the bodies of load and unload."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.ollama.error_status import error_for_status
from worker.ollama.errors import InvalidReply
from worker.ollama.models import ListedModels

MAX_LIST_BYTES = 1_000_000  # of loaded models, some 500 bytes each
MAX_TAGS_BYTES = 4_000_000  # of installed models, some 700 bytes each: a host may have thousands
MAX_DESCRIPTION_BYTES = 8_000_000  # `show` lists every tensor of a model: some 100 bytes each
MAX_REPLY_BYTES = 1_000_000  # a whole answer to a probe, thoughts included
MAX_ERROR_BYTES = 65_536
MAX_NUMBER = 2**60  # of bytes, tokens or nanoseconds: a larger one would overflow a sum

_PROBE_PICTURE = (  # 64 white pixels square, as PNG: models that cut a picture into patches take none below 28
    "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAAAAACPAi4CAAAAKUlEQVR42u3MQREAAA"
    "wCIPuX1hD77SAA6VEEAoFAIBAIBAKBQCAQfA8Gpwvw4qrwDDIAAAAASUVORK5CYII="
)

Body = Mapping[str, Any]
Reply = TypeVar("Reply", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Reply]):
    """`max_bytes` limits the body of a reply with status 200."""

    method: str
    path: str
    reply: type[Reply]
    max_bytes: int

    def limit_bytes(self, status: int) -> int:
        """Most bytes to read of a body."""
        return self.max_bytes if status == HTTPStatus.OK else MAX_ERROR_BYTES

    def parse(self, status: int, body: bytes) -> Reply:
        """Raises InvalidReply for a body of another shape, and the error of a status other than 200."""
        if status != HTTPStatus.OK:
            raise error_for_status(status, body)
        try:
            return self.reply.model_validate_json(body)
        except ValidationError:
            raise InvalidReply("not a reply of Ollama") from None


def _plain_values(value: object) -> object:
    """Keep words and finite numbers of a model's description: Ollama omits long lists, and no number may overflow a sum."""
    return {k: v for k, v in value.items() if _is_plain(v)} if isinstance(value, dict) else {}


def _is_plain(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and abs(value) <= MAX_NUMBER)


Number = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Word = Annotated[str, Field(max_length=200, pattern=r"^[ -~]*$")]  # printable, as `doctor` prints it
ModelInfo = Annotated[dict[str, int | float | str], BeforeValidator(_plain_values)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Version(_Shape):
    """A reply to /api/version."""

    version: Word


class Details(_Shape):
    """A model's family, size and quantisation as Ollama names them."""

    family: Word = ""
    parameter_size: Word = ""
    quantization_level: Word = ""


class Description(_Shape):
    """A reply to /api/show. `model_info` and `projector_info` are the flat keys of the model's files (docs/ollama-api.md 2.3).

    `remote_host` and `remote_model` are those of a model that only passes its requests on.
    """

    details: Details = Details()
    model_info: ModelInfo = {}
    projector_info: ModelInfo = {}
    capabilities: list[str] = []
    remote_host: Word = ""
    remote_model: Word = ""

    @property
    def runs_elsewhere(self) -> bool:
        return bool(self.remote_host or self.remote_model)

    @property
    def context_tokens(self) -> int:
        """The largest window of the model, 0 if the file does not give it."""
        value = self.model_info.get(f"{self.model_info.get('general.architecture')}.context_length", 0)
        return int(value) if isinstance(value, int | float) and value > 0 else 0


class Message(_Shape):
    """The text of an answer."""

    content: str = ""


class ModelReply(_Shape):
    """A whole answer in one piece. Durations are nanoseconds. Ollama omits a counter that is 0 (docs/ollama-api.md 2.4)."""

    message: Message = Message()
    done: bool = False
    done_reason: str = ""
    load_duration: Number = 0
    prompt_eval_count: Number = 0
    prompt_eval_duration: Number = 0
    eval_count: Number = 0
    eval_duration: Number = 0


VERSION = Endpoint("GET", "/api/version", Version, MAX_ERROR_BYTES)
TAGS = Endpoint("GET", "/api/tags", ListedModels, MAX_TAGS_BYTES)
PS = Endpoint("GET", "/api/ps", ListedModels, MAX_LIST_BYTES)
SHOW = Endpoint("POST", "/api/show", Description, MAX_DESCRIPTION_BYTES)
GENERATE = Endpoint("POST", "/api/generate", ModelReply, MAX_ERROR_BYTES)  # here only to load, unload and probe
CHAT = Endpoint("POST", "/api/chat", ModelReply, MAX_REPLY_BYTES)


def load_request(model: str, options: Mapping[str, int]) -> Body:
    """The reply comes when the model is loaded. `options` must be those of later requests, else these load it a second time."""
    return {"model": model, "prompt": "", "options": dict(options), "stream": False}


def probe_request(model: str, options: Mapping[str, int], *, has_picture: bool) -> Body:
    """The smallest request that needs a whole working model: one token about a few, and for a vision model about a tiny picture.

    `options` must be those of all other requests, as for a load.
    """
    picture = {"images": [_PROBE_PICTURE]} if has_picture else {}
    limited = {**options, "temperature": 0, "num_predict": 1}
    return {"model": model, "prompt": "1+1=", **picture, "options": limited, "stream": False}


def unload_request(model: str) -> Body:
    """The reply comes at once. The model leaves memory after its last request (docs/ollama-api.md 2.6)."""
    return {"model": model, "prompt": "", "keep_alive": 0, "stream": False}
