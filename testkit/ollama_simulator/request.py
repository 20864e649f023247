"""Parse a request to chat or generate into a `ParsedRequest`."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import JsonObject, check_types, go_kind
from testkit.ollama_simulator.keep_alive import read_keep_alive
from testkit.ollama_simulator.token import image_tokens, tokens

FIELDS = {
    "model": "string",
    "stream": "bool",
    "options": "map[string]interface {}",
    "truncate": "bool",
    "shift": "bool",
}
CHAT_FIELDS = {**FIELDS, "messages": "[]api.Message"}
GENERATE_FIELDS = {
    **FIELDS,
    **dict.fromkeys(("prompt", "suffix", "system", "template"), "string"),
    "raw": "bool",
    "images": "[]api.ImageData",
}
MESSAGE_FIELDS = {"role": "string", "content": "string", "thinking": "string", "images": "[]api.ImageData"}
THINK_LEVELS = ("high", "medium", "low", "max")
THINK_WORDS = '"high", "medium", "low", "max"'
NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a chat, or the system text or prompt of a generation."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """`prompt` is the text of all turns. `is_empty`: the request only loads the model."""

    model: str
    turns: tuple[Turn, ...]
    prompt: str
    images: tuple[bytes, ...]
    is_empty: bool
    is_streamed: bool
    is_raw: bool
    may_truncate: bool
    may_shift: bool
    format: object
    keep_alive_seconds: float | None
    options: Mapping[str, object]
    think: bool | str | None

    @property
    def prompt_tokens(self) -> int:
        return len(tokens(self.prompt)) + sum(map(image_tokens, self.images))


def read_chat(body: JsonObject) -> ParsedRequest:
    """Parse a chat. Its prompt is the text of all messages, in order."""
    check_types(body, "ChatRequest", CHAT_FIELDS)
    messages = [_message(item) for item in _items(body, "messages")]
    turns = [Turn(str(message.get("role") or "").lower(), str(message.get("content") or "")) for message in messages]
    images = [image for message in messages for image in _items(message, "images")]
    return _parsed(body, turns, images, is_empty=not messages)


def read_generate(body: JsonObject) -> ParsedRequest:
    """Parse a generation. Its prompt is system text and prompt. An empty prompt only loads, even with images."""
    check_types(body, "GenerateRequest", GENERATE_FIELDS)
    prompt, system = str(body.get("prompt") or ""), str(body.get("system") or "")
    turns = [turn for turn in (Turn(SYSTEM, system), Turn("user", prompt)) if turn.text]
    return _parsed(body, turns, _items(body, "images"), is_empty=not prompt)


def _parsed(body: JsonObject, turns: Sequence[Turn], images: Sequence[object], *, is_empty: bool) -> ParsedRequest:
    options = body.get("options")
    return ParsedRequest(
        model=str(body.get("model") or ""),
        turns=tuple(turns),
        prompt="\n".join(turn.text for turn in turns),
        images=tuple(_image(image) for image in images),
        is_empty=is_empty,
        is_streamed=body.get("stream") is not False,
        is_raw=body.get("raw") is True,
        may_truncate=body.get("truncate") is not False,
        may_shift=body.get("shift") is not False,
        format=None if body.get("format") == "" else body.get("format"),
        keep_alive_seconds=read_keep_alive(body.get("keep_alive")),
        options=options if isinstance(options, dict) else {},
        think=_think(body.get("think")),
    )


def _items(body: JsonObject, name: str) -> list[object]:
    items = body.get(name)
    return items if isinstance(items, list) else []


def _message(item: object) -> JsonObject:
    if not isinstance(item, dict):
        struct = "Go struct field ChatRequest.messages of type api.Message"
        raise ApiError(400, f"json: cannot unmarshal {go_kind(item)} into {struct}")
    check_types(item, "ChatRequest.messages", MESSAGE_FIELDS)
    return item


def _image(item: object) -> bytes:
    if not isinstance(item, str):
        raise ApiError(400, f"json: cannot unmarshal {go_kind(item)} into Go value of type api.ImageData")
    text = item.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, f"illegal base64 data at input byte {_first_bad_byte(text)}") from error


def _first_bad_byte(text: str) -> int:
    """Return the position at which Go's decoder (encoding/base64) stops: a foreign character, padding, or an incomplete group."""
    stray = NOT_BASE64.search(text)
    if stray is None:
        return len(text) - len(text) % 4
    at = stray.start()
    if text[at] != "=" or at % 4 < 2:
        return at
    if at % 4 == 3 or text[at + 1 : at + 2] != "=":
        return at + 1
    return at + 2


def _think(value: object) -> bool | str | None:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ApiError(400, f"think must be a boolean or string ({THINK_WORDS}, true, or false)")
    if value not in THINK_LEVELS:
        raise ApiError(400, f'invalid think value: "{value}" (must be {THINK_WORDS}, true, or false)')
    return value
