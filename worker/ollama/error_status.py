"""Maps HTTP error statuses of Ollama to exceptions."""

from http import HTTPStatus

from pydantic import BaseModel, ValidationError

from worker.core.errors import Unavailable
from worker.ollama.errors import BadRequest, ImageUnreadable, ModelMissing, PromptTooLong, ServerError

_TOO_LONG = ("exceeds the available context size", "the prompt is longer than the context length", "exceeds the context length")
_UNREADABLE = "Failed to load image"


class _Outer(BaseModel):
    error: str = ""


class _EngineError(BaseModel):
    message: str = ""
    type: str = ""


class _Inner(BaseModel):
    error: _EngineError = _EngineError()


def error_for_status(status: int, body: bytes) -> Exception:
    """The exception to raise. It is chosen by the texts of docs/ollama-api.md 2.8, and its message contains none of them."""
    match status:
        case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.TOO_MANY_REQUESTS:
            return Unavailable(f"status {status}")
        case HTTPStatus.NOT_FOUND:
            return ModelMissing("status 404")
        case HTTPStatus.BAD_REQUEST:
            return _bad_request(_engine_error(body))
    return ServerError(f"status {status}")


def _bad_request(error: _EngineError) -> BadRequest:
    if error.type == "exceed_context_size_error" or any(text in error.message for text in _TOO_LONG):
        return PromptTooLong("status 400")
    if _UNREADABLE in error.message:
        return ImageUnreadable("status 400")
    return BadRequest("status 400")


def _engine_error(body: bytes) -> _EngineError:
    """Parse Ollama's error text, which may itself be a JSON document of its engine."""
    try:
        text = _Outer.model_validate_json(body).error
    except ValidationError:
        return _EngineError()
    try:
        return _Inner.model_validate_json(text).error
    except ValidationError:
        return _EngineError(message=text)
