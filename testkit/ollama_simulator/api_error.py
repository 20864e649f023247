"""Errors with the texts of Ollama."""

from testkit.ollama_simulator.json_text import compact


class ApiError(Exception):
    """Becomes `{"error": text}` with this status.

    `is_streamed`: the request asks for a stream and a model has started on it. Ollama's header then lacks the charset.
    """

    def __init__(self, status: int, text: str, *, is_streamed: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.is_streamed = is_streamed


def engine_error(status: int, message: str, kind: str) -> ApiError:
    """An error of the engine (llama-server). Ollama passes the engine's JSON on as text within its own JSON."""
    body = {"error": {"code": status, "message": message, "type": kind}}
    return ApiError(status, compact(body))
