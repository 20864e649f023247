"""Find the criteria of a feedback request by the form of its prompt."""

from collections.abc import Mapping
from itertools import dropwhile, islice, takewhile

MAX_CRITERIA = 64
MAX_SCORE = 10  # criteria.v2


def criteria_in(prompt: str) -> tuple[str, ...]:
    """Return the first list of `- criterion` lines after a line that contains "Kriterien"."""
    below = islice(dropwhile(lambda line: "Kriterien" not in line, prompt.splitlines()), 1, None)
    listed = takewhile(_is_item, dropwhile(lambda line: not _is_item(line), below))
    return tuple(line.strip().removeprefix("- ").strip() for line in islice(listed, MAX_CRITERIA))


def enumerated(item: Mapping[str, object]) -> tuple[str, ...]:
    """Return the criteria in the schema of a list's item: the enum of its property `criterion`."""
    names = _property(item, "criterion").get("enum")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def about(item: Mapping[str, object], criterion: str | None) -> Mapping[str, object]:
    """Narrow the schema of a list's item to one criterion. A `max_score` without limits becomes 10, as in criteria.v2."""
    properties = item.get("properties")
    if not isinstance(properties, dict):
        return item
    narrowed = dict(properties)
    if "criterion" in properties and criterion is not None:
        narrowed["criterion"] = {"const": criterion}
    if _property(item, "max_score") == {"type": "integer"}:
        narrowed["max_score"] = {"const": MAX_SCORE}
    return {**item, "properties": narrowed}


def _is_item(line: str) -> bool:
    return line.strip().startswith("- ")


def _property(item: Mapping[str, object], name: str) -> Mapping[str, object]:
    properties = item.get("properties")
    value = properties.get(name) if isinstance(properties, dict) else None
    if not isinstance(value, dict):
        return {}
    return {key: part for key, part in value.items() if key not in ("title", "description")}
