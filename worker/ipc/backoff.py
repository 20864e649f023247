"""Waits that double after each failure, for every retry of the product: restarts, reconnections, probes and loads."""

import random

_MAX_DOUBLINGS = 30  # more would overflow a float long after the longest wait is reached


def doubling(first_seconds: float, max_seconds: float, failures: int) -> float:
    """Return the wait after `failures` earlier failures in a row, counted from 0: the first wait, doubled, up to the longest."""
    return min(max_seconds, first_seconds * 2.0 ** min(failures, _MAX_DOUBLINGS))


def jittered(seconds: float) -> float:
    """Return a random wait of half to all of `seconds`, so that several processes do not retry at the same moment."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311  jitter is no secret
