"""BacklogSampled for what a test expects to become true, never for a time to pass."""

import time
from collections.abc import Callable

LIMIT_SECONDS = 20.0


def until(condition: Callable[[], bool]) -> None:
    """Asks again and again; each condition here is a request or a look into /proc, so that no pause is needed."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {LIMIT_SECONDS:g} s: {condition}"
