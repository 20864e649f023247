"""The plan of scripts/chaos: determined by the seed, with all kinds of faults and submissions."""

from testkit.chaos.fault_injector import INJECTIONS
from testkit.chaos.plan import FAULT_GAP_SECONDS, FLEETS, LONG, Kind, Work, draw
from testkit.chaos.report import MAX_STANDSTILL_SECONDS
from testkit.chaos.submissions import made


def test_the_same_seed_gives_the_same_plan() -> None:
    """Equal seeds give equal times, victims and durations. Another seed gives another plan."""
    assert draw(7, 2.0) == draw(7, 2.0) != draw(8, 2.0)


def test_a_short_run_has_every_kind_of_fault_and_of_work() -> None:
    """The daily run of two minutes has every kind of fault, for each fleet."""
    for seed in range(50):
        plan = draw(seed, 2.0)
        assert {fault.kind for fault in plan.faults} == set(Kind)
        assert {fault.fleet for fault in plan.faults} == set(range(FLEETS))
        assert {planned.work for planned in plan.submissions} == set(Work)


def test_a_run_with_chosen_kinds_has_no_other() -> None:
    """Only the chosen kinds are drawn, and the submissions are those of the whole run."""
    chosen = (Kind.SILENCE_HOST, Kind.REFUSE_ROW)
    plan = draw(7, 2.0, chosen)
    assert {fault.kind for fault in plan.faults} == set(chosen)
    assert plan.submissions == draw(7, 2.0).submissions


def test_a_long_fault_ends_before_a_standstill_is_too_long() -> None:
    """A fault of one host lasts 10 to 40 s: longer than the time-outs, shorter than the longest allowed standstill."""
    lengths = [fault.seconds for fault in draw(7, 30.0).faults if fault.kind in LONG]
    assert 10 <= min(lengths) < max(lengths) <= 40 < MAX_STANDSTILL_SECONDS


def test_each_kind_of_fault_has_an_injection() -> None:
    """A planned kind without an injection would be counted but have no effect."""
    assert set(INJECTIONS) == set(Kind)


def test_nothing_is_planned_after_the_end() -> None:
    """All times are in order and within the run, with about one fault per mean gap."""
    plan = draw(3, 30.0)
    for times in ([fault.at_seconds for fault in plan.faults], [planned.at_seconds for planned in plan.submissions]):
        assert times == sorted(times)
        assert times[0] > 0
        assert times[-1] < plan.ends_at_seconds
    assert 0.8 < len(plan.faults) * FAULT_GAP_SECONDS / plan.ends_at_seconds < 1.2


def test_submissions_follow_from_seed_and_number() -> None:
    """A submission that is made again for the checks has equal bytes, and no two are equal."""
    plan = draw(5, 0.5)
    first, again = ([made(planned, plan.seed) for planned in plan.submissions] for _ in range(2))
    pages = [page for submission in first for page in submission.rendered_pages]
    assert first == again
    assert len({submission.content for submission in first}) == len(first)
    assert len(set(pages)) == len(pages) > 0
    assert not [submission.label for submission in first if b"Date" in str(submission.content).encode()]
