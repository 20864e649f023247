"""Recorded answers of a real Ollama, and the comparison of their shapes with other answers."""

import json
import re
from pathlib import Path
from typing import Any

import httpx

from testkit.picture import base64_text, jpeg, png

DIRECTORY = Path(__file__).parents[1] / "tests/ollama/recordings"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?(Z|[+-]\d\d:\d\d)")
CUT = "…"
PROMPT_TOKENS = re.compile(r'(request \(|"n_prompt_tokens":)\d+')
CUT_WORDS = re.compile(r"(\w+) .* … \((\d+) characters\)")
SCENES = (  # not only requests, see tests/ollama/test_scenes.py
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
    """Return the recordings that can be replayed."""
    return sorted({path.stem for path in DIRECTORY.glob("*.json")} - set(SCENES))


def replay(client: httpx.Client, exchange: Exchange) -> httpx.Response:
    """Send a recorded request again. A shortened image is replaced."""
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
    """Return the shape of a stream that was read up to these lines."""
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
    """Return keys and JSON types recursively, fixed words unchanged, and the set of shapes of a list."""
    match value:
        case dict():
            return {name: shape(part, name) for name, part in value.items()}
        case list():
            return sorted({json.dumps(shape(part, key), sort_keys=True) for part in value if part != CUT})
        case str() if key in EXACT:
            return PROMPT_TOKENS.sub(r"\1N", value)  # token counts depend on the tokenizer
        case str():
            return "timestamp" if TIMESTAMP.fullmatch(value) else "string"
        case bool() | None:
            return value
    return "number"


def _stream_shape(lines: list[object]) -> object:
    """Return the shapes of the lines in order, without repetition, because a stream's middle has equal lines."""
    shapes = [shape(line) for line in lines]
    return [each for i, each in enumerate(shapes) if i == 0 or each != shapes[i - 1]]


def _framing(headers: Any, body: object) -> dict[str, Any]:
    """Return content type and framing, if the framing does not depend on the length of the answer."""
    framing = {"content_type": headers.get("Content-Type")}
    if isinstance(body, list) or (isinstance(body, dict) and "error" in body):
        framing["is_chunked"] = headers.get("Transfer-Encoding") == "chunked"
    return framing


def _complete(value: object, key: str = "") -> object:
    """Replace shortened images and texts by complete ones."""
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
    return (
        base64_text(png()[:70]) if "(400 characters)" in cut else base64_text(png())
    )  # 400: the truncated image of recording 14
