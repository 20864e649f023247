"""The matrix of scripts/outages: complete, drawn from the seed, and judged so that each missed goal is found."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from testkit.chaos.plan import Work
from testkit.outages.matrix import WAYS, Case, Kind, Length, Moment, Request, Way
from testkit.outages.plan import QUICK_LANES, draw, site_of
from testkit.outages.schoolbook import JobHistory
from testkit.outages.status_truth import SHOWN_SECONDS, Outage, Sample, shown_seconds, wrong_samples
from testkit.outages.verdict import Figures, Observed, is_right, judge, totals

CASE = Case(Request.VISION, Way.STATUS_500, Length.LONG, Moment.MIDDLE)
TEXT, PHOTO = UUID(int=1), UUID(int=2)
HISTORIES = (JobHistory(TEXT, 0, 0, 0, False, None), JobHistory(PHOTO, 0, 0, 0, True, None))
GOOD = Observed(
    works={TEXT: Work.TEXT, PHOTO: Work.PHOTO},
    histories=HISTORIES,
    failed_ids=(),
    done_at={TEXT: 5.0, PHOTO: 21.0},
    open_ids=(PHOTO,),
    ended_at=20.0,
    recovered_at=20.5,
    vision_calls=1,
    feedback_calls=2,
    wrong_status=(),
    met=3,
)


# The plan


def test_every_request_meets_every_kind_of_failure_that_it_can_meet() -> None:
    """Each request has its ways. Requests to a server have every kind but those that only a database or a disk has."""
    assert set(WAYS) == set(Request)
    for request in (Request.MODEL_SERVER, Request.TAGS, Request.PS, Request.VISION, Request.FEEDBACK, Request.STORE):
        assert {way.kind for way in WAYS[request]} == set(Kind)
    assert {way.kind for way in WAYS[Request.DATABASE]} >= {Kind.AWAY, Kind.SILENT, Kind.REFUSING, Kind.LIMITED}


def test_each_way_is_played_in_each_length_and_each_moment() -> None:
    """One run has each length. Three seeds have each length at each moment."""
    whole = {(request, way) for request, ways in WAYS.items() for way in ways}
    assert len(draw(0).cases) == len(Length) * len(whole)
    cases = {case for seed in range(3) for case in draw(seed).cases}
    assert cases == {Case(*pair, length, moment) for pair in whole for length in Length for moment in Moment}


def test_the_same_seed_gives_the_same_plan() -> None:
    """Equal seeds give equal lanes. Another seed gives others."""
    assert draw(7) == draw(7) != draw(8)


def test_the_lanes_have_about_equal_length() -> None:
    """No lane takes much longer than the average, and each plays the cases of its own kind of fleet."""
    plan = draw(0)
    loads = [sum(map(plan.load_seconds, cases)) for _, cases in plan.lanes]
    assert abs(len(plan.lanes) - QUICK_LANES) <= 1
    assert max(loads) < 1.5 * sum(loads) / len(loads)
    assert all(site_of(case.request) is site for site, cases in plan.lanes for case in cases)


@pytest.mark.parametrize("pattern", ["store/", "store/*/120s/*", "last"])
def test_a_pattern_chooses_cases(pattern: str) -> None:
    """A pattern with `*` matches the whole name, any other is a part of it."""
    names = {case.name for case in draw(0, pattern).cases}
    assert names
    assert names < {case.name for case in draw(0).cases}
    assert all(part in name for name in names for part in pattern.split("*"))


# The verdict


def test_a_case_without_a_loss_is_right() -> None:
    """A text and a photo with one call each and no count are right, and the recovery is the time to the first commit."""
    figures = judge(CASE, GOOD)
    assert (figures.is_right, figures.recovery_seconds) == (True, 0.5)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param({"failed_ids": (PHOTO,), "feedback_calls": 1}, {"failed_wrongly": 1}, id="a failed submission"),
        pytest.param({"histories": (replace(HISTORIES[0], retries=2),)}, {"attempts_burnt_wrongly": 2}, id="attempts"),
        pytest.param({"histories": (replace(HISTORIES[0], expiries=1),)}, {"attempts_burnt_wrongly": 1}, id="an expiry"),
        pytest.param({"vision_calls": 2}, {"calls_wasted": 1}, id="a second call for a page"),
        pytest.param({"feedback_calls": 4}, {"calls_wasted": 2}, id="two answers that were not used"),
        pytest.param({"done_at": {TEXT: 5.0}, "feedback_calls": 1}, {"unfinished": 1}, id="a job that stays open"),
        pytest.param({"wrong_status": ("ok",)}, {"wrong_status": ("ok",)}, id="a wrong status"),
    ],
)
def test_each_loss_is_found(change: dict[str, Any], found: dict[str, Any]) -> None:
    """Each kind of loss has its figure, and the run misses its goal."""
    figures = judge(CASE, replace(GOOD, **change))
    assert {name: getattr(figures, name) for name in found} == found
    assert not figures.is_right
    assert not is_right(totals([figures]))


def test_a_planned_death_may_be_counted_and_lose_one_call() -> None:
    """A case that kills a worker itself expects its crash, and the call that it had."""
    killed = replace(GOOD, histories=(replace(HISTORIES[0], crashes=1),), feedback_calls=3, planned_deaths=1)
    assert judge(CASE, killed).is_right


def test_a_call_that_the_outage_cuts_may_be_lost() -> None:
    """The server had sent its answer when the connection broke. A second lost call is the product's."""
    assert judge(CASE, replace(GOOD, feedback_calls=GOOD.feedback_calls + 1, cut_calls=1)).is_right
    assert judge(CASE, replace(GOOD, feedback_calls=GOOD.feedback_calls + 2, cut_calls=1)).calls_wasted == 1


def test_a_case_whose_fault_was_not_met_does_not_count() -> None:
    """A fault that no request met proves nothing."""
    assert totals([judge(CASE, replace(GOOD, met=0))])["cases"] == 0


def test_a_slow_recovery_and_a_case_that_was_not_played_miss_the_goal() -> None:
    """The recovery counts by its 95th percentile. A case that could not be played is no success."""
    assert is_right(totals([Figures(CASE, recovery_seconds=7.9)]))
    assert not is_right(totals([Figures(CASE, recovery_seconds=8.1)]))
    assert not is_right(totals([Figures(CASE, problem="no server")]))


# The status


def sample(at: float, state: str = "ok", message: str = "All is well") -> Sample:
    return Sample(at, state, message)


def wrong(*samples: Sample, results_at: tuple[float, ...] = (), case: Case = CASE) -> list[float]:
    found = wrong_samples(case, samples, results_at, jobs=2, outage=Outage(10.0, 40.0))
    return [each.at for each in found]


def test_well_in_a_standstill_is_wrong() -> None:
    """A status is wrong as soon as nothing has been committed for longer than it may take to show the outage."""
    assert wrong(sample(10 + SHOWN_SECONDS - 0.1), sample(10 + SHOWN_SECONDS + 0.1)) == [10 + SHOWN_SECONDS + 0.1]
    assert wrong(sample(18.0), results_at=(16.0,)) == []
    assert wrong(sample(41.0)) == []


def test_the_message_must_name_the_part_that_fails() -> None:
    """Another cause in the words is as wrong as none."""
    assert wrong(sample(30.0, "degraded", "Held back: qwen2.5vl:3b failed several times in a row")) == []
    assert wrong(sample(30.0, "down", "The database cannot be reached")) == [30.0]


def test_no_status_is_wrong_without_open_work_or_without_an_answer() -> None:
    """With all results written nothing stands still. A monitor that gives no answer says nothing wrong."""
    assert wrong(sample(30.0), results_at=(11.0, 12.0)) == []
    assert wrong(sample(30.0, "", "")) == []


def test_a_part_without_an_answer_is_shown_after_its_timeout() -> None:
    """A silent part is known later than one that refuses, a row that waits only by the standstill."""
    silent = replace(CASE, way=Way.SILENT)
    locked = Case(Request.SETTLE, Way.ROW_LOCK, Length.LONG, Moment.LAST)
    assert shown_seconds(CASE) < shown_seconds(silent) < shown_seconds(locked)
    assert shown_seconds(silent) < shown_seconds(silent, is_long=True)
