"""The memory of refused rows: waits that grow, and the end of a row that alone is at fault."""

from uuid import UUID, uuid4

import pytest

from worker.queue.refusals import (
    FIRST_WAIT_SECONDS,
    MAX_ROWS,
    MAX_SUSPECT_WAIT_SECONDS,
    MAX_WAIT_SECONDS,
    TRIES_BEFORE_FORGETTING,
    TRIES_BEFORE_THE_END,
    Refusals,
)
from worker.queue.sqlstate import is_passing, reason_of, sqlstate_in

JOB = UUID(int=1)


def waits(sqlstate: str, tries: int, *, has_rival: bool = False) -> list[float]:
    refusals, found = Refusals(), []
    for _ in range(tries):
        found.append(refusals.add(JOB, sqlstate, 0.0).retry_at_seconds)
        if has_rival:
            refusals.rival_passed(is_result=False)
    return found


def test_the_wait_doubles_up_to_a_limit() -> None:
    assert waits("P0001", 4) == [FIRST_WAIT_SECONDS * factor for factor in (1, 2, 4, 8)]
    assert waits("P0001", 20)[-1] == MAX_WAIT_SECONDS


def test_a_suspect_waits_briefly_until_another_row_has_passed() -> None:
    """After a migration its rows are tried again at once, and a trigger of one row is not tried every five seconds for ever."""
    assert waits("42883", 20)[-1] == MAX_SUSPECT_WAIT_SECONDS
    assert waits("42883", 20, has_rival=True)[-1] == MAX_WAIT_SECONDS


@pytest.mark.parametrize(("has_rival", "is_over"), [(True, True), (False, False)])
def test_a_row_ends_only_if_another_has_passed(*, has_rival: bool, is_over: bool) -> None:
    """A trigger on all rows fails none."""
    refusals = Refusals()
    for _ in range(TRIES_BEFORE_THE_END):
        last = refusals.add(JOB, "P0001", 0.0)
        if has_rival:
            refusals.rival_passed(is_result=False)
    assert last.is_over is is_over


def test_a_lease_that_passes_says_nothing_about_results() -> None:
    refusals = Refusals()
    refusals.add(JOB, "42883", 0.0, is_result=True)
    refusals.rival_passed(is_result=False)
    assert not refusals.add(JOB, "42883", 0.0, is_result=True).has_rival
    refusals.rival_passed(is_result=True)
    assert refusals.add(JOB, "42883", 0.0, is_result=True).has_rival


def test_only_an_error_of_the_row_ends_a_leased_job_without_another_try() -> None:
    """An error that may be an outage may be over at the next try, whatever other rows have shown meanwhile."""
    refusals = Refusals()
    refusals.add(JOB, "42883", 0.0, is_result=True)
    refusals.rival_passed(is_result=True)
    assert refusals.result_of(JOB) is None
    refusals.add(JOB, "P0001", 0.0, is_result=True)
    assert refusals.result_of(JOB) == "P0001"


def test_a_refused_lease_says_nothing_about_the_result() -> None:
    refusals = Refusals()
    refusals.add(JOB, "P0001", 0.0)
    assert refusals.result_of(JOB) is None


def test_a_row_that_was_accepted_is_forgotten() -> None:
    """A refused result stays until its end is written, but not for ever: the job may have ended elsewhere."""
    refusals = Refusals()
    refusals.add(JOB, "P0001", 0.0)
    refusals.was_accepted(JOB, 0.0, is_leased=True)
    assert refusals.job_ids() == ()
    refusals.add(JOB, "P0001", 0.0, is_result=True)
    refusals.was_accepted(JOB, 0.0, is_leased=True)
    assert refusals.job_ids() == (JOB,)
    for _ in range(TRIES_BEFORE_FORGETTING + 1):
        refusals.was_accepted(JOB, 0.0, is_leased=False)
    assert refusals.job_ids() == ()


def test_the_memory_is_bounded() -> None:
    refusals = Refusals()
    for job_id in (JOB, *(uuid4() for _ in range(MAX_ROWS))):
        refusals.add(job_id, "P0001", 0.0)
    assert len(refusals.job_ids()) == MAX_ROWS
    assert refusals.of(JOB) is None


def test_rows_are_due_after_their_wait() -> None:
    refusals = Refusals()
    refusals.add(JOB, "P0001", 10.0)
    assert (list(refusals.due(10.5)), refusals.is_waiting(JOB, 10.5)) == ([], True)
    assert (list(refusals.due(11.0)), refusals.is_waiting(JOB, 11.0)) == ([JOB], False)


@pytest.mark.parametrize(
    ("reason", "sqlstate"), [("database_23514", "23514"), ("database_outage", None), ("vision_failed", None)]
)
def test_a_reason_contains_its_sqlstate(reason: str, sqlstate: str | None) -> None:
    assert sqlstate_in(reason) == sqlstate
    assert sqlstate is None or reason_of(sqlstate) == reason


@pytest.mark.parametrize(("sqlstate", "may_pass"), [("40P01", True), ("55P03", True), ("57014", True), ("23514", False)])
def test_locks_and_timeouts_may_pass(sqlstate: str, *, may_pass: bool) -> None:
    assert is_passing(sqlstate) is may_pass
