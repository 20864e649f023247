"""The differences between /api/chat and /api/generate."""

from collections.abc import Callable
from dataclasses import dataclass

from testkit.ollama_simulator.api_error import ApiError, engine_error
from testkit.ollama_simulator.body import JsonObject
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.request import ParsedRequest, read_chat, read_generate


@dataclass(frozen=True, slots=True)
class Dialect:
    """`struct` is the request's type in Go, `fields` makes the JSON of content and thinking."""

    path: str
    struct: str
    read: Callable[[JsonObject], ParsedRequest]
    fields: Callable[[str, str], dict[str, object]]
    missing_model: tuple[int, str]
    image_refusal: tuple[int, str, str]
    schema_refusal: Callable[[str], ApiError]
    is_chat: bool
    has_context: bool

    def is_native(self, model: Model) -> bool:
        """Return True if Ollama calls the engine's own chat endpoint, else it renders the prompt and has it completed as text.

        The endpoint sorts a schema's properties by name, rejects long prompts and does not stop repetition.
        """
        return self.is_chat and not model.build.is_rendered


def _chat_fields(content: str, thinking: str) -> dict[str, object]:
    thought = {"thinking": thinking} if thinking else {}
    return {"message": {"role": "assistant", "content": content, **thought}}


def _generate_fields(content: str, thinking: str) -> dict[str, object]:
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
    fields=_chat_fields,
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
    fields=_generate_fields,
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
