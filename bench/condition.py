"""BacklogSampled for what a measurement needs to be true before it goes on."""

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.02

Answer = TypeVar("Answer")


def until(condition: Callable[[], Answer], patience_seconds: float = PATIENCE_SECONDS) -> Answer:
    """What the condition answers as soon as that is true. Raises TimeoutError."""
    until_seconds = time.monotonic() + patience_seconds
    while not (answer := condition()):
        if time.monotonic() > until_seconds:
            raise TimeoutError(f"not within {patience_seconds:g} s: {condition}")
        time.sleep(LOOK_SECONDS)
    return answer
