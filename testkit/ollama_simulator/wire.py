"""HTTP responses with the bodies and headers of Ollama's server (Go, gin)."""

from aiohttp import web

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.json_text import compact

JSON_TYPE = "application/json; charset=utf-8"
GO_BUFFER_BYTES = 2048  # net/http: a body up to this size has a length, a longer one is chunked


def encode(payload: object) -> bytes:
    """Encode as compact UTF-8. A lone surrogate becomes a question mark."""
    return compact(payload).encode("utf-8", errors="replace")


def json_response(payload: object, status: int = 200, content_type: str = JSON_TYPE) -> web.Response:
    return raw_json_response(encode(payload), status, content_type)


def raw_json_response(body: bytes, status: int = 200, content_type: str = JSON_TYPE) -> web.Response:
    """Send any bytes with the content type of JSON."""
    response = web.Response(body=body, status=status, headers={"Content-Type": content_type})
    if len(body) > GO_BUFFER_BYTES:
        response.enable_chunked_encoding()
    return response


def error_response(error: ApiError) -> web.Response:
    """Return an error. After a model has started on a stream, Go has already set other headers (recording 13)."""
    if not error.is_streamed:
        return json_response({"error": error.text}, error.status)
    response = json_response({"error": error.text}, error.status, "application/json")
    response.enable_chunked_encoding()
    return response


def text_response(text: str, status: int = 200, content_type: str = "text/plain") -> web.Response:
    return web.Response(body=text.encode(), status=status, headers={"Content-Type": content_type})


def line(payload: object) -> bytes:
    """One line of a stream (NDJSON)."""
    return encode(payload) + b"\n"


def stream_response() -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    response.enable_chunked_encoding()
    return response
