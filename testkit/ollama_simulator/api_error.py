"""An answer that is an error, as Ollama words it."""

from testkit.ollama_simulator.json_text import compact


class ApiError(Exception):
    """Becomes `{"error": text}` with this status.

    `is_streamed` says that it happened after a model was at work for a streaming request: then Ollama's header lacks the charset.
    """

    def __init__(self, status: int, text: str, *, is_streamed: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.is_streamed = is_streamed


def engine_error(status: int, message: str, kind: str) -> ApiError:
    """An error of the engine below (llama-server), whose JSON Ollama hands on as text: JSON within JSON."""
    body = {"error": {"code": status, "message": message, "type": kind}}
    return ApiError(status, compact(body))
