"""An end for a test that would wait for ever."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PATIENCE_SECONDS = 60


@contextmanager
def alarmed() -> Iterator[None]:
    """The block fails when it takes longer than any machine needs; a child forked in it has no alarm."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("still waiting"))
    signal.alarm(PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
