"""Arithmetic with intervals of time, each a pair (since, until). Lists of them are sorted and do not overlap."""

from collections.abc import Iterable
from functools import reduce

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


def seconds_within(intervals: list[Interval], since: float, until: float) -> float:
    """Return the length of the intervals between two times."""
    return sum(max(0.0, min(end, until) - max(start, since)) for start, end in intervals)


def _intersection(some: list[Interval], others: list[Interval]) -> list[Interval]:
    return union((max(a, c), min(b, d)) for a, b in some for c, d in others)
