"""A time limit for a test that could wait without end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

FAR_SECONDS = 60


@contextmanager
def alarmed() -> Iterator[None]:
    """Fail the block after more time than any machine needs. A child that is forked in it has no alarm."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("still waiting"))
    signal.alarm(FAR_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
