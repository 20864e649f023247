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
PROMPT_TOKENS = re.compile(r'(request \(|"n_prompt_tokens":)\d+')
CUT_WORDS = re.compile(r"(\w+) .* … \((\d+) characters\)")
SCENES = (  # these need more around them than their requests; tests/ollama/test_scenes.py plays them
    "20-third-model-evicts",
    "21-queue-full",
    "22-cancel",
    "23-runner-killed",
    "24-runner-killed-not-streamed",
    "25-slots",
    "26-ps-against-rss",
)
EXACT = ("error", "done_reason", "role", "capabilities", "format", "parent_model")

Exchange = dict[str, Any]


def exchanges(name: str) -> list[Exchange]:
    recording: dict[str, list[Exchange]] = json.loads((DIRECTORY / f"{name}.json").read_text())
    return recording["exchanges"]


def names() -> list[str]:
    """Those that can be replayed as they are."""
    return sorted({path.stem for path in DIRECTORY.glob("*.json")} - set(SCENES))


def replay(client: httpx.Client, exchange: Exchange) -> httpx.Response:
    """Sends the recorded request again; where the recording cut an image short, with one of our own."""
    request = exchange["request"]
    body = request["body"]
    content = body["raw"] if body and "raw" in body else json.dumps(_complete(body)) if body is not None else ""
    return client.request(request["method"], request["path"], content=content)


def recorded_shape(exchange: Exchange) -> dict[str, Any]:
    response = exchange["response"]
    if "ndjson" in response:
        body: object = _stream_shape([item["line"] for item in response["ndjson"] if "line" in item])
    else:
        body = shape(response["json"]) if "json" in response else response["text"]
    return {"status": response["status"], **_framing(response["headers"], body), "body": body}


def lines_shape(response: httpx.Response, lines: list[str]) -> dict[str, Any]:
    """Of a stream that is left after these lines."""
    body = _stream_shape([json.loads(line) for line in lines])
    return {"status": response.status_code, **_framing(response.headers, body), "body": body}


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
            return PROMPT_TOKENS.sub(r"\1N", value)  # no two tokenizers count alike
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


def _complete(value: object, key: str = "") -> object:
    """What the recording has cut short is made long again."""
    match value:
        case dict():
            return {name: _complete(part, name) for name, part in value.items()}
        case list():
            return [_complete(part, key) for part in value]
        case str() if key == "images" and CUT in value:
            return _image(value)
        case str() if words := CUT_WORDS.fullmatch(value):
            return (words[1] + " ") * (int(words[2]) // (len(words[1]) + 1))
    return value


def _image(cut: str) -> str:
    if cut.startswith("/9j/"):
        return base64_text(jpeg())
    if cut.startswith("data:"):
        return "data:image/png;base64," + base64_text(png())
    return base64_text(png()[:70]) if "(400 characters)" in cut else base64_text(png())  # 400: the truncated one of 14
