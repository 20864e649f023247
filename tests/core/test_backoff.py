"""The wait after a failure: doubled each time, and never above its limit."""

import pytest

from worker.ipc.backoff import doubling, jittered


@pytest.mark.parametrize(
    ("failures", "wait_seconds"), [(0, 0.5), (1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (30, 60.0), (31, 60.0), (100_000, 60.0)]
)
def test_the_wait_doubles_up_to_its_limit(failures: int, wait_seconds: float) -> None:
    """A count of failures that would overflow a float gives the longest wait."""
    assert doubling(0.5, 60.0, failures) == wait_seconds


def test_the_exponent_is_bounded() -> None:
    """Without a limit of its own the wait stops growing after 30 doublings."""
    assert doubling(1.0, float("inf"), 31) == doubling(1.0, float("inf"), 30) == 2.0**30


def test_jitter_shortens_a_wait_by_at_most_half() -> None:
    waits = [jittered(8.0) for _ in range(100)]
    assert min(waits) >= 4.0
    assert max(waits) <= 8.0
    assert len(set(waits)) > 1
