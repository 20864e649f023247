"""The plan of scripts/chaos: drawn from the seed alone, and with everything in it."""

from testkit.chaos.fault_injector import INJECTIONS
from testkit.chaos.plan import FAULT_GAP_SECONDS, FLEETS, Kind, Work, draw
from testkit.chaos.submissions import made


def test_the_same_seed_gives_the_same_plan() -> None:
    """Two draws are equal in every time, victim and duration, and another seed gives another plan."""
    assert draw(7, 2.0) == draw(7, 2.0) != draw(8, 2.0)


def test_a_short_run_has_every_kind_of_fault_and_of_work() -> None:
    """Within the two minutes of every day nothing is left to luck: each kind comes, and to each of the fleets."""
    for seed in range(50):
        plan = draw(seed, 2.0)
        assert {fault.kind for fault in plan.faults} == set(Kind)
        assert {fault.fleet for fault in plan.faults} == set(range(FLEETS))
        assert {hand_in.work for hand_in in plan.hand_ins} == set(Work)


def test_each_kind_of_fault_is_made_somehow() -> None:
    """A kind that only stands in the plan would be counted and never happen."""
    assert set(INJECTIONS) == set(Kind)


def test_nothing_is_planned_after_the_end() -> None:
    """All times are in order and within the run, and there is about one fault for each gap."""
    plan = draw(3, 30.0)
    for times in ([fault.at_seconds for fault in plan.faults], [hand_in.at_seconds for hand_in in plan.hand_ins]):
        assert times == sorted(times)
        assert times[0] > 0
        assert times[-1] < plan.ends_at_seconds
    assert 0.8 < len(plan.faults) * FAULT_GAP_SECONDS / plan.ends_at_seconds < 1.2


def test_what_is_handed_in_follows_from_seed_and_number() -> None:
    """Made again for the verdict, a submission is the same to the byte, and no two are alike."""
    plan = draw(5, 0.5)
    first, again = ([made(hand_in, plan.seed) for hand_in in plan.hand_ins] for _ in range(2))
    pages = [page for submission in first for page in submission.rendered_pages]
    assert first == again
    assert len({submission.content for submission in first}) == len(first)
    assert len(set(pages)) == len(pages) > 0
    assert not [submission.label for submission in first if b"Date" in str(submission.content).encode()]
