"""Make a document for a JSON schema: valid, small, determined by the seed."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testkit.ollama_simulator.criteria import about, enumerated
from testkit.ollama_simulator.json_text import compact

MAX_DEPTH = 50
MAX_ITEMS = 1000
Schema = Mapping[str, object]


class SchemaError(ValueError):
    """The schema is unusable. The text is the engine's (llama.cpp, json-schema-to-grammar)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """`seed` chooses numbers and sentences, `criteria` name the items of a list without a fixed length."""

    seed: str
    sentences: Sequence[str]
    criteria: Sequence[str]


def document(schema: Schema, subject: Subject) -> object:
    """Make the document with required properties only. pattern, format and uniqueItems are ignored."""
    return _Author(schema, subject).value(schema, "#", 0)


@dataclass(frozen=True, slots=True)
class _Author:
    root: Schema
    subject: Subject

    def value(self, schema: Schema, path: str, depth: int) -> object:
        """`path` is the value's place in the document, so the same schema gives different values at two places."""
        if depth > MAX_DEPTH:
            raise SchemaError("JSON schema error at #: nested too deeply")
        schema = self.resolved(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(choices := schema.get("enum"), list) and choices:
            return choices[self.number(path, len(choices))]
        return self.of_type(_type(schema), schema, path, depth)

    def of_type(self, name: str, schema: Schema, path: str, depth: int) -> object:
        match name:
            case "object":
                return self.object_of(schema, path, depth)
            case "array":
                return self.array_of(schema, path, depth)
            case "string":
                return self.string_of(schema, path)
            case "integer":
                low, high = _whole_bounds(schema)
                return low + self.number(path, high - low + 1)
            case "number":
                low_number, high_number = _bounds(schema)
                return min(low_number + (high_number - low_number) * self.number(path, 101) / 100, high_number)
            case "boolean":
                return self.number(path, 2) == 1
            case "null":
                return None
        raise SchemaError(f"JSON schema conversion failed:\nUnrecognized schema: {compact(schema)}")

    def object_of(self, schema: Schema, path: str, depth: int) -> dict[str, object]:
        properties = _mapping(schema.get("properties"))
        required = [str(name) for name in _list(schema.get("required"))]
        ordered = [name for name in properties if name in required]
        ordered += [name for name in required if name not in properties]
        return {name: self.value(_mapping(properties.get(name)), f"{path}/{name}", depth + 1) for name in ordered}

    def array_of(self, schema: Schema, path: str, depth: int) -> list[object]:
        prefix = [_mapping(item) for item in _list(schema.get("prefixItems"))]
        item = self.resolved(_mapping(schema.get("items")))
        names = enumerated(item) or (self.subject.criteria if "criterion" in _mapping(item.get("properties")) else ())
        open_length = 0 if prefix else len(names)
        length = max(_whole(schema.get("minItems"), open_length), len(prefix))
        length = min(length, _whole(schema.get("maxItems"), MAX_ITEMS), MAX_ITEMS)
        more = [about(item, names[i] if i < len(names) else None) for i in range(length - len(prefix))]
        return [self.value(part, f"{path}/{i}", depth + 1) for i, part in enumerate([*prefix, *more][:length])]

    def string_of(self, schema: Schema, path: str) -> str:
        text = self.subject.sentences[self.number(path, len(self.subject.sentences))]
        shortest = _whole(schema.get("minLength"), 0)
        longest = _whole(schema.get("maxLength"), max(len(text), shortest))
        return (text + " " * max(shortest - len(text), 0))[:longest]

    def resolved(self, schema: Schema) -> Schema:
        """Follow $ref within the schema, and the first branch of anyOf and oneOf."""
        for _ in range(MAX_DEPTH):
            if isinstance(reference := schema.get("$ref"), str):
                schema = self.target(reference)
            elif branches := _list(schema.get("anyOf")) or _list(schema.get("oneOf")):
                schema = _mapping(branches[0])
            else:
                return schema
        raise SchemaError("JSON schema error at #: references in a circle")

    def target(self, reference: str) -> Schema:
        found: object = self.root
        for name in reference.split("/")[1:]:  # "#/$defs/X", or "#" for the whole
            if name not in _mapping(found):
                raise SchemaError(f"JSON schema error at #: cannot resolve $ref {reference}, {name} not found")
            found = _mapping(found)[name]
        return _mapping(found)

    def number(self, path: str, count: int) -> int:
        """Return a number from 0 to count - 1, chosen by seed and path."""
        digest = hashlib.sha256(f"{self.subject.seed}{path}".encode("utf-8", errors="replace")).digest()
        return int.from_bytes(digest[:8], "big") % count


def _type(schema: Schema) -> str:
    name = schema.get("type")
    if isinstance(name, list) and name:
        return str(name[0])
    if isinstance(name, str):
        return name
    if "properties" in schema or not schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _bounds(schema: Schema) -> tuple[float, float]:
    low, high = _float(schema.get("minimum")), _float(schema.get("maximum"))
    if low is None:
        low = 0.0 if high is None or high >= 0 else high - 10
    return low, low + 10 if high is None else high


def _whole_bounds(schema: Schema) -> tuple[int, int]:
    above, below = _float(schema.get("exclusiveMinimum")), _float(schema.get("exclusiveMaximum"))
    inclusive = dict(schema)
    if above is not None:
        inclusive["minimum"] = math.floor(above) + 1
    if below is not None:
        inclusive["maximum"] = math.ceil(below) - 1
    low, high = _bounds(inclusive)
    if math.floor(high) < math.ceil(low):
        raise SchemaError("JSON schema error at #: no whole number between minimum and maximum")
    return math.ceil(low), math.floor(high)


def _mapping(value: object) -> Schema:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _whole(value: object, default: int) -> int:
    return int(value) if isinstance(value, int | float) else default


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
