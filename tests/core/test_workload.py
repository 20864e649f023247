"""Progress of each model, from the records of workers in the scoreboard."""

import pytest

from supervisor.admission.policy import AdmissionPolicy
from supervisor.core.fleet import SlotState
from supervisor.monitor.ollama.workload import Workload
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import ControlRecord, LedgerRecord, Scoreboard, WorkerRecord

V, F = "vision:latest", "feedback:latest"


class Calls:
    """Two workers with calls to the feedback model that started at 100 and 200."""

    def __init__(self) -> None:
        self.board = Scoreboard()
        self.board.control.write(ControlRecord(leasing_slots=2))
        for slot in (0, 1):
            self.board.ledgers[slot].write(LedgerRecord(SlotState.RUNNING, pid=1, starts=1))
        self.write(0, 100.0, 100.0)
        self.write(1, 200.0, 200.0)
        self.workload = Workload(self.board, AdmissionPolicy(V, F))

    def write(self, slot: int, started: float, progress: float, activity: Activity = Activity.FEEDBACK) -> None:
        self.board.write_worker(slot, WorkerRecord(1, activity, progress_seconds=progress, call_started_seconds=started))

    def progress(self) -> dict[str, float]:
        return {call.model: call.progress_at_seconds for call in self.workload.sample_workers().calls}


@pytest.fixture
def calls() -> Calls:
    return Calls()


def test_before_the_first_token_the_oldest_call_counts(calls: Calls) -> None:
    """The start of a newer call is no progress of the model."""
    assert calls.progress() == {F: 100.0}


def test_the_last_token_of_any_call_counts(calls: Calls) -> None:
    """It still counts after the next call has started in its slot."""
    calls.write(0, 100.0, 250.0)
    assert calls.progress() == {F: 250.0}
    calls.write(0, 300.0, 300.0)
    assert calls.progress() == {F: 250.0}


def test_the_end_of_a_call_counts(calls: Calls) -> None:
    """Even if no token was seen between two samples."""
    calls.progress()
    calls.workload.call_ended(F)
    assert calls.progress()[F] > 200.0


def test_progress_is_forgotten_with_the_last_call(calls: Calls) -> None:
    """The next call to the model starts anew."""
    calls.write(0, 100.0, 250.0)
    calls.progress()
    for slot in (0, 1):
        calls.write(slot, 100.0, 260.0, Activity.IDLE)
    assert calls.progress() == {}
    calls.write(1, 400.0, 400.0)
    assert calls.progress() == {F: 400.0}
