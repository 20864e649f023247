"""Calls of the other workers, read from the scoreboard, as evidence about a failed call."""

import time
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from supervisor.settings.model import parse
from worker.core.evidence import CallCounts
from worker.ipc.contract import Activity, Counter, Step, Wiring
from worker.ipc.scoreboard import COUNTERS, AdmissionRecord, ControlRecord, Scoreboard, WorkerRecord
from worker.neighbours import Neighbours

INSTANCE, OWN_SLOT = 7, 1
SOON_SECONDS = 60.0


def record(activity: Activity, deadline_in_seconds: float = SOON_SECONDS, **counts: int) -> WorkerRecord:
    counters = [0] * COUNTERS
    for name, count in counts.items():
        counters[Counter[name]] = count
    deadline_seconds = time.monotonic() + deadline_in_seconds
    return WorkerRecord(activity=activity, deadline_seconds=deadline_seconds, counters=tuple(counters))


def neighbours(scoreboard: Scoreboard, **models: str) -> Neighbours:
    environ: dict[str, Any] = {"AI_BACKEND": "local", "LEARNING_DATABASE_URL": "postgresql://worker@127.0.0.1/db", **models}
    return Neighbours(Wiring(OWN_SLOT, INSTANCE, 1, scoreboard, -1, -1, -1), parse(environ).worker)


@pytest.fixture
def scoreboard() -> Scoreboard:
    """Three workers: one in a vision call, this one, and one in a feedback call."""
    board = Scoreboard()
    board.control.write(ControlRecord(leasing_slots=3))
    board.write_worker(0, record(Activity.VISION, VISION_ANSWERED=10, VISION_DIED=1))
    board.write_worker(OWN_SLOT, record(Activity.VISION, VISION_ANSWERED=5, VISION_DIED=100))
    board.write_worker(2, record(Activity.FEEDBACK, VISION_ANSWERED=1, FEEDBACK_ANSWERED=7, FEEDBACK_DIED=3))
    board.admission.write(AdmissionRecord(vision_probes=4, feedback_probes=6))
    return board


def test_a_scene_is_about_one_step(scoreboard: Scoreboard) -> None:
    """Answers and deaths are those of all workers. Calls in flight are those of the others."""
    seen = neighbours(scoreboard)
    seen.call_begins(Step.VISION)
    assert seen.counts(Step.VISION, own_answered=2) == CallCounts(INSTANCE, 16, 2, others_in_flight=1, died=101, probes=4)
    seen.call_begins(Step.FEEDBACK)
    assert seen.counts(Step.FEEDBACK, own_answered=0) == CallCounts(INSTANCE, answered=7, others_in_flight=1, died=3, probes=6)


def test_two_steps_with_one_model_share_its_deaths(scoreboard: Scoreboard) -> None:
    """A runner that dies takes the calls of both steps with it."""
    seen = neighbours(scoreboard, AI_VISION_MODEL="both", AI_FEEDBACK_MODEL="both:latest")
    seen.call_begins(Step.VISION)
    counts = seen.counts(Step.VISION, own_answered=0)
    assert (counts.others_in_flight, counts.died) == (2, 104)


def test_only_deaths_during_the_call_are_deaths_with_it(scoreboard: Scoreboard) -> None:
    seen = neighbours(scoreboard)
    seen.call_begins(Step.VISION)
    scoreboard.write_worker(0, record(Activity.SETTLE, VISION_ANSWERED=10, VISION_DIED=2))
    counts = seen.counts(Step.VISION, own_answered=0)
    assert (counts.others_in_flight, counts.died, counts.died_meanwhile) == (0, 102, 1)
    seen.call_begins(Step.VISION)
    assert seen.counts(Step.VISION, own_answered=0).died_meanwhile == 0


def test_a_call_that_outlives_a_death_is_known(scoreboard: Scoreboard) -> None:
    """Its answer says nothing about calls that begin afterwards. Its own deaths and the other model's do not count."""
    seen = neighbours(scoreboard)
    seen.call_begins(Step.VISION)
    scoreboard.write_worker(OWN_SLOT, record(Activity.VISION, VISION_DIED=101))
    scoreboard.write_worker(2, record(Activity.FEEDBACK, FEEDBACK_DIED=4))
    assert not seen.have_died(Step.VISION)
    scoreboard.write_worker(0, record(Activity.SETTLE, VISION_DIED=2))
    assert seen.have_died(Step.VISION)
    seen.call_begins(Step.VISION)
    assert not seen.have_died(Step.VISION)


def test_leases_in_the_others_hands(scoreboard: Scoreboard) -> None:
    """Those of living workers. The monitor that reclaims a dead worker's lease may be dead too."""
    held = record(Activity.SETTLE)
    keys = [uuid4() for _ in range(3)]
    scoreboard.write_worker(0, replace(held, lease_key=keys[0]))
    scoreboard.write_worker(OWN_SLOT, replace(held, lease_key=keys[1]))
    scoreboard.write_worker(2, replace(record(Activity.SETTLE, deadline_in_seconds=-1.0), lease_key=keys[2]))
    assert neighbours(scoreboard).lease_keys() == (keys[0],)


def test_the_record_of_a_killed_worker_is_no_call(scoreboard: Scoreboard) -> None:
    """It stays in its slot until the next worker, but its deadline passes."""
    scoreboard.write_worker(0, record(Activity.VISION, deadline_in_seconds=-1.0))
    assert neighbours(scoreboard).counts(Step.VISION, own_answered=0).others_in_flight == 0
