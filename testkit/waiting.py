"""BacklogSampled for what a test expects to become true, never for a time to pass."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.02

Answer = TypeVar("Answer")


def eventually(condition: Callable[[], Answer], within_seconds: float = PATIENCE_SECONDS) -> Answer:
    """What the condition answers as soon as that is true."""
    deadline = time.monotonic() + within_seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {within_seconds:g} s: {condition}"
        time.sleep(LOOK_SECONDS)
    return answer
