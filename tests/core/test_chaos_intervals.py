"""The arithmetic with intervals of time of scripts/chaos."""

from testkit.chaos.intervals import clock, intersection, union, without


def test_a_union_joins_what_touches() -> None:
    """Overlapping and touching intervals become one, empty ones disappear."""
    assert union([(5, 6), (1, 3), (2, 4), (4, 4.5), (7, 7)]) == [(1, 4.5), (5, 6)]


def test_an_intersection_is_in_all_lists() -> None:
    """Nothing is in all of no lists."""
    assert intersection([(1, 5), (7, 9)], [(2, 8)], [(0, 4), (7.5, 10)]) == [(2, 4), (7.5, 8)]
    assert intersection() == []


def test_a_removed_part_splits_an_interval() -> None:
    """A removed interval shortens, splits or removes others."""
    assert without([(1, 10), (12, 14)], [(0, 2), (4, 5), (11, 20)]) == [(2, 4), (5, 10)]
    assert without([(1, 10)], []) == [(1, 10)]


def test_a_clock_runs_within_the_intervals() -> None:
    """It stands between them, before the first and after the last."""
    seconds_before = clock([(1, 4), (6, 8)])
    assert [seconds_before(at) for at in (0, 1, 3, 4, 5, 6, 7, 8, 9)] == [0, 0, 2, 3, 3, 3, 4, 5, 5]
    assert clock([])(5) == 0
