"""The evidence of other jobs' writes, from the counters in the scoreboard."""

from dataclasses import replace
from uuid import UUID

from worker.core.refusal import Access
from worker.ipc.scoreboard import COUNTERS, ControlRecord, Scoreboard, WorkerRecord
from worker.rivals import MAX_JOBS, RefusedAccesses

FIRST, SECOND = UUID(int=1), UUID(int=2)


def count(scoreboard: Scoreboard, access: Access, total: int) -> None:
    """Publish how many writes of this kind the instance's worker has done."""
    scoreboard.control.write(ControlRecord(leasing_slots=1))
    counters = tuple(total if place == access.value else 0 for place in range(COUNTERS))
    scoreboard.write_worker(0, replace(WorkerRecord(1, 1), counters=counters))


def test_an_accepted_write_ends_the_row_of_refusals() -> None:
    """It is evidence against the refused job, if it is of the same kind."""
    scoreboard = Scoreboard()
    refused = RefusedAccesses(scoreboard)
    refused.add(Access.CHECKPOINT, FIRST)
    count(scoreboard, Access.RESULT, 1)
    assert (refused.is_refused(Access.CHECKPOINT), refused.has_rival(FIRST)) == (True, False)
    count(scoreboard, Access.CHECKPOINT, 1)
    assert (refused.is_refused(Access.CHECKPOINT), refused.has_rival(FIRST)) == (False, True)
    refused.forget(FIRST)
    assert not refused.has_rival(FIRST)


def test_the_memory_of_refused_jobs_is_bounded() -> None:
    scoreboard = Scoreboard()
    refused = RefusedAccesses(scoreboard)
    for number in range(1, MAX_JOBS + 2):
        refused.add(Access.RESULT, UUID(int=number))
    count(scoreboard, Access.RESULT, 1)
    assert (refused.has_rival(FIRST), refused.has_rival(SECOND)) == (False, True)
