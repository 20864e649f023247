"""Arithmetic with intervals of time, each a pair (since, until). Lists of them are sorted and do not overlap."""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import accumulate

Interval = tuple[float, float]


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """Join intervals that overlap or touch. Empty ones are dropped."""
    joined: list[Interval] = []
    for since, until in sorted(each for each in intervals if each[1] > each[0]):
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((since, until))
    return joined


def intersection(*lists: list[Interval]) -> list[Interval]:
    """Return the time that is in all lists."""
    return reduce(_intersection, lists) if lists else []


def without(kept: list[Interval], removed: list[Interval]) -> list[Interval]:
    """Return the time that is in `kept` and not in `removed`."""
    for gap_since, gap_until in removed:
        parts = [((since, min(until, gap_since)), (max(since, gap_until), until)) for since, until in kept]
        kept = [part for both in parts for part in both if part[1] > part[0]]
    return kept


def clock(intervals: list[Interval]) -> Callable[[float], float]:
    """Return a clock that runs only within the intervals: the seconds of them before a time."""
    starts = [since for since, _ in intervals]
    before = [0.0, *accumulate(until - since for since, until in intervals)]

    def seconds_before(at: float) -> float:
        number = bisect_right(starts, at)
        return before[number] - max(0.0, intervals[number - 1][1] - at) if number else 0.0

    return seconds_before


def _intersection(some: list[Interval], others: list[Interval]) -> list[Interval]:
    return union((max(a, c), min(b, d)) for a, b in some for c, d in others)
