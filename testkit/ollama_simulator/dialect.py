"""What differs between /api/chat and /api/generate."""

from collections.abc import Callable
from dataclasses import dataclass

from testkit.ollama_simulator.api_error import ApiError, engine_error
from testkit.ollama_simulator.body import JsonObject
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.request import Ask, read_chat, read_generate


@dataclass(frozen=True, slots=True)
class Dialect:
    """`struct` is Go's name of the request."""

    path: str
    struct: str
    read: Callable[[JsonObject], Ask]
    said: Callable[[str, str], dict[str, object]]
    missing_model: tuple[int, str]
    image_refusal: tuple[int, str, str]
    schema_refusal: Callable[[str], ApiError]
    is_chat: bool
    has_context: bool

    def is_native(self, model: Model) -> bool:
        """Whether the engine's own chat endpoint is asked: it sorts a schema's properties by name, refuses what is too long,
        and does not mind repetition. All else is rendered by Ollama and completed as a text.
        """
        return self.is_chat and not model.build.is_rendered


def _chat_said(content: str, thinking: str) -> dict[str, object]:
    thought = {"thinking": thinking} if thinking else {}
    return {"message": {"role": "assistant", "content": content, **thought}}


def _generate_said(content: str, thinking: str) -> dict[str, object]:
    thought = {"thinking": thinking} if thinking else {}
    return {"response": content, **thought}


def _chat_schema_refusal(reason: str) -> ApiError:
    message = f"Unable to generate parser for this template. Automatic parser generation failed: {reason}"
    return engine_error(400, message, "invalid_request_error")


def _generate_schema_refusal(reason: str) -> ApiError:
    return engine_error(400, f"Field 'json_schema': \"json_schema\": {reason}", "invalid_request_error")


CHAT = Dialect(
    path="/api/chat",
    struct="ChatRequest",
    read=read_chat,
    said=_chat_said,
    missing_model=(400, "model is required"),
    image_refusal=(
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
        "server_error",
    ),
    schema_refusal=_chat_schema_refusal,
    is_chat=True,
    has_context=False,
)
GENERATE = Dialect(
    path="/api/generate",
    struct="GenerateRequest",
    read=read_generate,
    said=_generate_said,
    missing_model=(404, "model '' not found"),
    image_refusal=(
        400,
        "Multimodal data provided, but model does not support multimodal requests.",
        "invalid_request_error",
    ),
    schema_refusal=_generate_schema_refusal,
    is_chat=False,
    has_context=True,
)
