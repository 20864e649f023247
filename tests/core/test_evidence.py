"""Evidence turns a suspect failure into the job's own, or leaves it with the surroundings."""

from dataclasses import replace
from typing import Any

import pytest

from worker.core.evidence import CallCounts, HeldFailure, Suspect, convicts, held_failure_in, remembered
from worker.core.faults import Suspicion
from worker.ipc.contract import Step

DIED, LATE, ODD = Suspicion
INSTANCE = 7
HELD_FAILURE = HeldFailure(DIED, "ServerError", Step.VISION, INSTANCE, answered=10, in_flight=0, died=5, probes=2)
BROKEN = Suspect(DIED, "StreamBroken", Step.VISION)
QUIET = CallCounts(INSTANCE, answered=10, died=6, probes=2)  # the job itself died again
ANSWERED = replace(QUIET, answered=11)
PROBED = replace(QUIET, probes=3)

VERDICTS: dict[str, tuple[HeldFailure | None, Suspicion, Step, CallCounts, bool]] = {
    "a first failure": (None, DIED, Step.VISION, ANSWERED, False),
    "no other call": (HELD_FAILURE, DIED, Step.VISION, QUIET, False),
    "another job's call was answered": (HELD_FAILURE, DIED, Step.VISION, ANSWERED, True),
    "a probe was answered": (HELD_FAILURE, DIED, Step.VISION, PROBED, True),
    "a probe says nothing about a slow call": (replace(HELD_FAILURE, group=LATE), LATE, Step.VISION, PROBED, False),
    "a probe says nothing about a bug": (replace(HELD_FAILURE, group=ODD), ODD, Step.VISION, PROBED, False),
    "others are faster": (replace(HELD_FAILURE, group=LATE), LATE, Step.VISION, ANSWERED, True),
    "another kind of failure": (HELD_FAILURE, LATE, Step.VISION, ANSWERED, False),
    "in the other step": (HELD_FAILURE, DIED, Step.FEEDBACK, ANSWERED, False),
    "in another instance": (HELD_FAILURE, DIED, Step.VISION, replace(ANSWERED, instance=8), False),
    "fewer than before": (HELD_FAILURE, DIED, Step.VISION, replace(QUIET, answered=9), False),
    "it died together with others": (HELD_FAILURE, DIED, Step.VISION, replace(ANSWERED, died=7, died_meanwhile=1), False),
    "a probe was answered, and another job died too": (HELD_FAILURE, DIED, Step.VISION, replace(PROBED, died=7), False),
    "a probe was answered, and another job died before": (HELD_FAILURE, DIED, Step.VISION, replace(PROBED, suspects=2), False),
    "a probe was answered, and only this job died": (HELD_FAILURE, DIED, Step.VISION, replace(PROBED, suspects=1), True),
    "it died three times, and no other": (replace(HELD_FAILURE, times=2), DIED, Step.VISION, replace(PROBED, died=7), True),
    "more of the others died than were answered": (HELD_FAILURE, DIED, Step.VISION, replace(ANSWERED, died=8), False),
    "as many of the others were answered as died": (HELD_FAILURE, DIED, Step.VISION, replace(QUIET, answered=12, died=8), True),
    "its own pages were answered": (HELD_FAILURE, DIED, Step.VISION, replace(ANSWERED, own_answered=1), False),
    "others were in flight": (HELD_FAILURE, DIED, Step.VISION, replace(ANSWERED, others_in_flight=1), False),
    "late while others are in flight": (
        replace(HELD_FAILURE, group=LATE),
        LATE,
        Step.VISION,
        replace(ANSWERED, others_in_flight=1),
        True,
    ),
}


@pytest.mark.parametrize(("before", "group", "step", "counts", "is_convicted"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdicts(before: HeldFailure | None, group: Suspicion, step: Step, counts: CallCounts, *, is_convicted: bool) -> None:
    """Only the same failure again, in the same instance, with calls of others answered since, convicts a job."""
    assert convicts(before, Suspect(group, "ServerError", step), counts) is is_convicted


def test_calls_in_flight_at_a_late_end_are_no_evidence() -> None:
    """They began before it, and may have been answered before the server grew slow."""
    late = Suspect(LATE, "ServerTimeout", Step.VISION)
    held_failure = remembered(None, late, replace(QUIET, others_in_flight=3))
    assert not convicts(held_failure, late, replace(QUIET, answered=13, died=8))
    assert convicts(held_failure, late, replace(QUIET, answered=14, died=8))


def test_calls_in_flight_at_a_death_are_not_awaited() -> None:
    """Their workers see the death, and do not count their answers."""
    held_failure = remembered(None, BROKEN, replace(QUIET, others_in_flight=3))
    assert convicts(held_failure, BROKEN, ANSWERED)


def test_answers_about_pages_of_the_job_are_no_evidence() -> None:
    """Three pages were read before the server began to fail. The next lease no longer counts them as its own."""
    held_failure = remembered(None, BROKEN, replace(QUIET, answered=13, own_answered=3))
    assert not convicts(held_failure, BROKEN, replace(QUIET, answered=13))


def test_the_counts_of_the_first_failure_stay() -> None:
    """Evidence adds up over several holds. The class is the newest one."""
    again = remembered(HELD_FAILURE, BROKEN, replace(ANSWERED, died=7, died_meanwhile=1))
    assert again == replace(HELD_FAILURE, error_class="StreamBroken", times=2)
    assert convicts(again, BROKEN, replace(ANSWERED, died=8))


@pytest.mark.parametrize(
    "now", [(LATE, Step.VISION, QUIET), (DIED, Step.FEEDBACK, QUIET), (DIED, Step.VISION, replace(QUIET, instance=8))]
)
def test_evidence_begins_anew(now: tuple[Suspicion, Step, CallCounts]) -> None:
    """Another kind of failure, the other step or another instance."""
    group, step, counts = now
    assert remembered(HELD_FAILURE, Suspect(group, "E", step), counts) == HeldFailure(
        group, "E", step, counts.instance, 10, 0, 6, 2
    )


def test_a_memory_survives_the_payload() -> None:
    """It is written as JSON, with words for the administrator."""
    assert HELD_FAILURE.as_json() == {
        "group": "died",
        "error_class": "ServerError",
        "step": "vision",
        "instance": INSTANCE,
        "answered": 10,
        "in_flight": 0,
        "died": 5,
        "probes": 2,
        "times": 1,
    }
    assert held_failure_in({"suspect": HELD_FAILURE.as_json()}) == HELD_FAILURE


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {},
        {"suspect": None},
        {"suspect": 3},
        {"suspect": {}},
        {"suspect": {**HELD_FAILURE.as_json(), "answered": "many"}},
    ],
)
def test_what_no_worker_has_written_is_no_memory(payload: Any) -> None:
    assert held_failure_in(payload) is None
