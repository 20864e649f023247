"""What an adapter returns, brought into the shape that PostgreSQL stores."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from worker.core.outcome import storable

Value = TypeVar("Value")


def text(value: object) -> str:
    """Raises TypeError, which is a bug of the adapter."""
    return str(storable(_of_type(value, str)))


def document(value: object) -> dict[str, Any]:
    """Raises TypeError for what is no JSON: a bug of the adapter, while it can still be told as one."""
    stored: dict[str, Any] = storable(_of_type(value, Mapping))
    json.dumps(stored)
    return stored


def _of_type(value: Value, kind: type) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"adapter returned {type(value).__name__} for {kind.__name__}")
    return value
