"""Wait for a condition, never for a fixed time."""

import inspect
import time
from collections.abc import Callable
from typing import TypeVar

LIMIT_SECONDS = 30.0  # for everything that a test expects to happen
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.001, 0.02

Answer = TypeVar("Answer")


def until(condition: Callable[[], Answer], within_seconds: float = LIMIT_SECONDS, what: str = "") -> Answer:
    """Call the condition until its result is true, and return that result.

    Raises TimeoutError after the limit. Its message quotes `what`, or else the condition's source.
    """
    deadline, pause_seconds = time.monotonic() + within_seconds, _FIRST_PAUSE_SECONDS
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within_seconds:g} s: {what or _text_of(condition)}")
        time.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
    return answer


def _text_of(condition: Callable[[], object]) -> str:
    try:
        return inspect.getsource(condition).strip()
    except (OSError, TypeError):  # no source file, or an object such as functools.partial
        return repr(condition)
