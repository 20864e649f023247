"""The fourth column of scripts/chaos: a submission may fail for a fault of its own, and for no other."""

from dataclasses import replace
from typing import Any

import pytest

from testkit.chaos.checks import check
from testkit.chaos.plan import Kind, Work
from testkit.chaos.run_record import InjectedFault, Refusal, RunRecord, SubmissionState
from tests.core.test_chaos_checks import (
    AGAIN,
    ENTERED,
    ID,
    KILLED,
    LEASED,
    OVER,
    PAGE,
    QUARANTINED,
    RETURNED,
    SECOND_PID,
    STATE,
    report_of,
    run,
)

FAILED = replace(STATE, status="failed", error_code="feedback_failed", job_status="failed")
OUT_OF_TRIES = replace(LEASED, at=5.0, old_status="leased", status="failed", lease_key=None, retry_count=3)
CUT_OFF = InjectedFault(1.5, Kind.MODEL_FAULT, frozenset(), "truncated × 3")
BROKEN = InjectedFault(1.5, Kind.MODEL_FAULT, frozenset(), "eof × 3")
KILLED_AGAIN = InjectedFault(4.4, Kind.KILL_REPEATEDLY, frozenset({SECOND_PID}))


def failed_with(last_error: str, *injected: InjectedFault, **changes: Any) -> RunRecord:
    state = replace(FAILED, last_error=last_error)
    return run(ENTERED, LEASED, OUT_OF_TRIES, state=state, injected=injected, calls=(), **changes)


def for_others(record: RunRecord) -> int:
    return len(check(record).for_others)


def damaged(error_code: str) -> SubmissionState:
    return replace(STATE, work=Work.DAMAGED, status="failed", error_code=error_code, last_error="vision_failed")


@pytest.mark.parametrize(
    ("record", "count"),
    [
        pytest.param(run(state=damaged("input_corrupt")), 0, id="a damaged file"),
        pytest.param(run(state=damaged("vision_failed")), 1, id="a damaged file that failed as something else"),
        pytest.param(failed_with("answer_truncated", CUT_OFF), 0, id="four unusable answers"),
        pytest.param(failed_with("answer_truncated"), 1, id="unusable answers that were not planned"),
        pytest.param(failed_with("stream_broken", BROKEN), 1, id="a model server that breaks off"),
        pytest.param(failed_with("remote_fetch_failed"), 1, id="a store that is away"),
        pytest.param(failed_with("bad_request", BROKEN), 1, id="a server that refuses the request"),
        pytest.param(failed_with("server_error", runner_killers=frozenset({ID})), 0, id="its text kills the runner"),
        pytest.param(failed_with("server_error"), 1, id="a neighbour of a text that kills the runner"),
        pytest.param(failed_with("database_23514", refusals=(Refusal(ID, "23514", 1.0, None),)), 0, id="its row is refused"),
        pytest.param(failed_with("database_23514"), 1, id="a refusal that was not planned"),
    ],
)
def test_a_failure_is_its_own_or_others(record: RunRecord, count: int) -> None:
    """Only a planned cause of the submission's own explains its failure."""
    assert for_others(record) == count


def test_a_quarantine_needs_two_planned_deaths() -> None:
    """A job whose workers were killed twice is quarantined for its own fault. Expired leases of living workers are not."""
    history = (ENTERED, LEASED, PAGE, RETURNED, AGAIN, OVER)
    assert for_others(run(*history, state=QUARANTINED, injected=(KILLED, KILLED_AGAIN), calls=())) == 0
    assert for_others(run(*history, state=QUARANTINED, injected=(KILLED,), calls=())) == 1
    expired = [replace(LEASED, at=float(number), lease_key=type(ID)(int=number)) for number in range(1, 8)]
    locked = replace(OVER, at=9.0, crashes=0, expiries=6)
    assert for_others(run(ENTERED, *expired, locked, state=QUARANTINED, calls=())) == 1


def test_a_failure_for_others_makes_a_run_wrong() -> None:
    """A run is right with no failure for others, and its figures name the number."""
    assert report_of().figures()["failed_for_others"] == 0
    assert report_of(model_progress=(50.0,)).is_right
    state = replace(FAILED, last_error="remote_fetch_failed")
    away = InjectedFault(1.5, Kind.STORE_AWAY, frozenset())
    transitions = (ENTERED, LEASED, OUT_OF_TRIES)
    report = report_of(submissions=(state,), transitions=transitions, injected=(away,), ended_at=7.0)
    assert report.figures()["failed_for_others"] == 1
    assert not report.is_right
    assert "failed for somebody else's fault" in next(report.violations())
