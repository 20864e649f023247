"""Progress of each model, from the records of workers in the scoreboard."""

import os
import signal
import subprocess
from collections.abc import Iterator

import psutil
import pytest

from supervisor.admission.policy import AdmissionPolicy
from supervisor.core.fleet import SlotState
from supervisor.monitor.ollama.workload import Workload
from supervisor.monitor.suspensions import Suspensions
from testkit.waiting import until
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import ControlRecord, LedgerRecord, Scoreboard, WorkerRecord

V, F = "vision:latest", "feedback:latest"


class Calls:
    """Two workers with calls to the feedback model that started at 100 and 200."""

    def __init__(self) -> None:
        self.board = Scoreboard()
        self.board.control.write(ControlRecord(leasing_slots=2))
        for slot in (0, 1):
            self.employ(slot, pid=1)
        self.write(0, 100.0, 100.0)
        self.write(1, 200.0, 200.0)
        self.suspensions = Suspensions()
        self.workload = Workload(self.board, AdmissionPolicy(V, F), self.suspensions)

    def write(self, slot: int, started: float, progress: float, activity: Activity = Activity.FEEDBACK) -> None:
        self.board.write_worker(slot, WorkerRecord(1, activity, alive_seconds=progress, call_started_seconds=started))

    def employ(self, slot: int, pid: int) -> None:
        self.board.ledgers[slot].write(LedgerRecord(SlotState.RUNNING, pid=pid, starts=1))

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


@pytest.fixture
def stopped() -> Iterator[int]:
    """Pid of a process that is stopped."""
    with subprocess.Popen(["sleep", "60"]) as process:
        process.send_signal(signal.SIGSTOP)
        until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        yield process.pid
        process.kill()


def test_the_silence_of_a_stopped_worker_is_not_the_models(calls: Calls, stopped: int) -> None:
    """Its call begins anew at each sample and keeps that start after SIGCONT, and the call of a worker that runs counts."""
    calls.employ(0, stopped)
    assert calls.progress() == {F: 100.0}
    calls.suspensions.sample([1, stopped], 900.0)
    assert calls.progress() == {F: 200.0}
    calls.write(1, 200.0, 200.0, Activity.IDLE)
    assert calls.progress() == {F: 900.0}
    os.kill(stopped, signal.SIGCONT)
    until(lambda: psutil.Process(stopped).status() != psutil.STATUS_STOPPED)
    calls.suspensions.sample([1, stopped], 950.0)
    assert calls.progress() == {F: 900.0}
