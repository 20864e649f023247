"""Backoff by doubling, the only one of the product."""


def doubling(first_seconds: float, max_seconds: float, failures: int) -> float:
    """Wait after `failures` failures in a row, counted from 0: doubles each time, never above `max_seconds`."""
    return min(max_seconds, first_seconds * 2.0 ** min(failures, 30))
