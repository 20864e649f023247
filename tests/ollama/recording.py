"""Recorded answers of a real Ollama, and what an answer must have in common with one: its shape."""

import json
import re
from pathlib import Path
from typing import Any

import httpx

from tests.ollama.picture import base64_text, jpeg, png

DIRECTORY = Path(__file__).parent / "recordings"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-]\d\d:\d\d)")
CUT = "…"
EXACT = ("error", "done_reason", "role", "capabilities", "format", "parent_model")

Exchange = dict[str, Any]


def exchanges(name: str) -> list[Exchange]:
    recording: dict[str, list[Exchange]] = json.loads((DIRECTORY / f"{name}.json").read_text())
    return recording["exchanges"]


def names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def replay(client: httpx.Client, exchange: Exchange) -> httpx.Response:
    """Sends the recorded request again; where the recording cut an image short, with one of our own."""
    request = exchange["request"]
    body = request["body"]
    content = body["raw"] if body and "raw" in body else json.dumps(_with_images(body)) if body is not None else ""
    return client.request(request["method"], request["path"], content=content)


def recorded_shape(exchange: Exchange) -> dict[str, Any]:
    response = exchange["response"]
    if "ndjson" in response:
        body: object = _stream_shape([item["line"] for item in response["ndjson"] if "line" in item])
    else:
        body = shape(response["json"]) if "json" in response else response["text"]
    return {"status": response["status"], **_framing(response["headers"], body), "body": body}


def answered_shape(response: httpx.Response) -> dict[str, Any]:
    kind = response.headers.get("Content-Type", "")
    if kind == "application/x-ndjson":
        body: object = _stream_shape([json.loads(line) for line in response.text.splitlines()])
    else:
        body = shape(response.json()) if kind.startswith("application/json") else response.text
    return {"status": response.status_code, **_framing(response.headers, body), "body": body}


def shape(value: object, key: str = "") -> object:
    """Keys and JSON types, all the way down; words with a fixed meaning as they are; of a list, the shapes that occur."""
    match value:
        case dict():
            return {name: shape(part, name) for name, part in value.items()}
        case list():
            return sorted({json.dumps(shape(part, key), sort_keys=True) for part in value if part != CUT})
        case str() if key in EXACT:
            return value
        case str():
            return "timestamp" if TIMESTAMP.fullmatch(value) else "string"
        case bool() | None:
            return value
    return "number"


def _stream_shape(lines: list[object]) -> object:
    """The shapes of the lines in order, without repetition: the middle of a stream is of one kind."""
    shapes = [shape(line) for line in lines]
    return [each for i, each in enumerate(shapes) if i == 0 or each != shapes[i - 1]]


def _framing(headers: Any, body: object) -> dict[str, Any]:
    """Whether there is a length or chunks, where that does not depend on how much was said."""
    framing = {"content_type": headers.get("Content-Type")}
    if isinstance(body, list) or (isinstance(body, dict) and "error" in body):
        framing["is_chunked"] = headers.get("Transfer-Encoding") == "chunked"
    return framing


def _with_images(value: object, key: str = "") -> object:
    match value:
        case dict():
            return {name: _with_images(part, name) for name, part in value.items()}
        case list():
            return [_with_images(part, key) for part in value]
        case str() if key == "images" and CUT in value:
            return _image(value)
    return value


def _image(cut: str) -> str:
    if cut.startswith("/9j/"):
        return base64_text(jpeg())
    if cut.startswith("data:"):
        return "data:image/png;base64," + base64_text(png())
    return base64_text(png()[:70]) if "(400 characters)" in cut else base64_text(png())  # 400: the truncated one of 14
