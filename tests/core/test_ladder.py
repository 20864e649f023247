"""The ladder of retries: no two requests for one page or feedback are equal."""

from worker.core.ladder import RUNGS, rung, seed


def test_no_two_attempts_have_the_same_seed() -> None:
    """The second request of a feedback has a seed of its own too, also where both have the strict prompt."""
    seeds = [seed(attempt, is_second_try=is_second) for attempt in range(100) for is_second in (False, True)]
    assert len(set(seeds)) == len(seeds)
    assert 0 not in seeds


def test_a_rung_above_the_last_one_is_the_last_one() -> None:
    assert [rung(attempt) for attempt in (-1, 0, 4, 5, 1000)] == [RUNGS[0], RUNGS[0], RUNGS[-1], RUNGS[-1], RUNGS[-1]]


def test_the_temperature_never_falls() -> None:
    temperatures = [each.temperature for each in RUNGS]
    assert temperatures == sorted(temperatures)
    assert len(set(RUNGS)) == len(RUNGS)
