"""Parse a request body like Go's encoding/json, with the same error texts."""

import json
from collections.abc import Mapping

from testkit.ollama_simulator.api_error import ApiError

JsonObject = Mapping[str, object]

GO_PHRASES = {
    "Expecting property name": "looking for beginning of object key string",
    "Expecting ':'": "after object key",
    "Expecting ','": "after object key:value pair",
    "Expecting value": "looking for beginning of value",
}
PYTHON_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "bool": bool,
    "int": int,
    "map[string]interface {}": dict,
}


def read_object(raw: bytes, struct: str) -> JsonObject:
    """Parse the first JSON value, which must be an object. Go's decoder ignores the rest, too."""
    text = raw.decode("utf-8", errors="replace").lstrip()
    if not text:
        raise ApiError(400, "missing request body")
    try:
        value, _ = json.JSONDecoder(parse_constant=_no_constant).raw_decode(text)
    except json.JSONDecodeError as error:
        raise ApiError(400, _syntax_error(error)) from error
    except RecursionError as error:
        raise ApiError(400, "exceeded max depth") from error
    if not isinstance(value, dict):
        raise ApiError(400, f"json: cannot unmarshal {go_kind(value)} into Go value of type api.{struct}")
    return value


def check_types(body: JsonObject, struct: str, fields: Mapping[str, str]) -> None:
    """Raise ApiError for the first field whose value does not fit its Go type. Null fits every type."""
    for name, go_type in fields.items():
        value = body.get(name)
        if value is not None and not _fits(value, go_type):
            raise ApiError(400, f"json: cannot unmarshal {go_kind(value)} into Go struct field {struct}.{name} of type {go_type}")


def go_kind(value: object) -> str:
    """Go's word for the kind of a JSON value."""
    if isinstance(value, bool):
        return "bool"
    kinds: dict[type, str] = {str: "string", int: "number", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _fits(value: object, go_type: str) -> bool:
    if go_type.startswith("[]"):
        return isinstance(value, list)
    if isinstance(value, bool):
        return go_type == "bool"
    return isinstance(value, PYTHON_TYPES[go_type])


def _no_constant(name: str) -> object:
    raise json.JSONDecodeError("Expecting value", name, 0)  # NaN and Infinity exist in Python's JSON only


def _syntax_error(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].lstrip()
    if not rest or error.msg.startswith("Unterminated string"):
        return "unexpected EOF"
    phrase = next((go for python, go in GO_PHRASES.items() if error.msg.startswith(python)), "in string literal")
    return f"invalid character '{rest[0]}' {phrase}"
