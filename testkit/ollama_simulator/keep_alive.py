"""`keep_alive`: the time for which a model stays loaded after its last request (api/types.go, Duration)."""

import math
import re

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import go_kind

DEFAULT_SECONDS = 300.0  # OLLAMA_KEEP_ALIVE
UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
PART = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


def read_keep_alive(value: object) -> float | None:
    """Return seconds, infinite for a negative value, None for an absent one. Raises ApiError 400 with Go's text."""
    match value:
        case None:
            return None
        case bool() | list() | dict():
            raise ApiError(400, f"Unsupported type: '{_go_type(value)}'")
        case int() | float():
            seconds = float(value)
        case _:
            seconds = _go_duration_seconds(str(value))
    return math.inf if seconds < 0 else seconds


def _go_duration_seconds(text: str) -> float:
    """Parse like time.ParseDuration: "1h30m", "-1m", ".5s". Only 0 needs no unit."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if digits == "0":
        return 0.0
    if not digits or not re.fullmatch(rf"(?:{PART.pattern})+", digits):
        raise ApiError(400, f'time: invalid duration "{text}"')
    return sign * sum(_part_seconds(number, unit, text) for number, unit in PART.findall(digits))


def _part_seconds(number: str, unit: str, text: str) -> float:
    if not unit:
        raise ApiError(400, f'time: missing unit in duration "{text}"')
    if unit not in UNIT_SECONDS:
        raise ApiError(400, f'time: unknown unit "{unit}" in duration "{text}"')
    return float(number) * UNIT_SECONDS[unit]


def _go_type(value: object) -> str:
    return {"array": "[]interface {}", "object": "map[string]interface {}"}.get(go_kind(value), go_kind(value))
