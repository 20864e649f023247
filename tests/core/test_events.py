"""The monitor's handling of events, read from a real socket, as a worker writes them."""

import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from supervisor.event_log import EventLog
from supervisor.monitor.events import EventReader
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.queue.requests import DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from worker.core.faults import Fault
from worker.ipc.contract import CallOutcome, Event, EventKind, ModelCall, Step
from worker.ipc.scoreboard import Scoreboard

LEASES = {
    "a lease": Event(kind=EventKind.LEASED, job_id=uuid4()),
    "a lease with the end of a job": Event(kind=EventKind.SETTLED, job_id=uuid4(), next_job_id=uuid4()),
}


@pytest.mark.parametrize("lease", LEASES.values(), ids=LEASES.keys())
def test_a_new_lease_ends_the_outage_of_a_worker(lease: Event) -> None:
    """The status shows a lost connection until that worker leases again, by itself or with the end of a job.

    Another one's lease does not end it: at a limit of connections some workers go on and some are refused.
    """
    board, state = Scoreboard(), MonitorState()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    with ExitStack() as sockets:
        for reader, writer in pairs:
            sockets.enter_context(reader).setblocking(False)
            sockets.enter_context(writer)
        admission: Any = SimpleNamespace(job_ended=lambda _: None)
        log = EventLog("ERROR", lambda _: None)
        requests, waker = DatabaseRequests(), Waker(board, [])
        readers = [reader.fileno() for reader, _ in pairs]
        events = EventReader(readers, Metrics(board, state), state, requests, waker, admission, log)
        for _, writer in pairs:
            writer.send(Event(kind=EventKind.CONNECTION_LOST, error_class="DiskFull").encode())
        events.read_all()
        assert {slot: outage for slot, (outage, _) in state.worker_outages.items()} == {0: "DiskFull", 1: "DiskFull"}
        for slot, left in ((0, {1}), (1, set())):
            pairs[slot][1].send(lease.encode())
            events.read_all()
            assert set(state.worker_outages) == left


class Noted:
    """The parts of the admission controller that events reach."""

    def __init__(self) -> None:
        self.notes: list[tuple[object, ...]] = []

    def file_failed(self, *failure: object) -> None:
        self.notes.append(("failed", *failure))

    def file_read(self, job_id: object) -> None:
        self.notes.append(("read", job_id))

    def list_now(self) -> None:
        self.notes.append(("list",))

    def call_suspect(self, step: Step, job_id: object) -> None:
        self.notes.append(("suspect", step, job_id))

    def job_ended(self, job_id: object) -> None:
        self.notes.append(("ended", job_id))

    def call_ended(self, *_: object) -> None:
        """Tested by test_controller."""


JOB = uuid4()


def failed_step(error_class: str, step: Step = Step.VISION, outcome: str = "x") -> Event:
    return Event(kind=EventKind.STEP_FAILED, job_id=JOB, step=step, error_class=error_class, outcome=outcome, seconds=7.0)


def settled(outcome: str) -> Event:
    return Event(kind=EventKind.SETTLED, job_id=JOB, outcome=outcome)


def call(outcome: CallOutcome, step: Step = Step.VISION) -> Event:
    return Event(kind=EventKind.CALL, job_id=JOB, step=step, call=ModelCall(outcome))


NOTES: dict[str, tuple[Event, list[tuple[object, ...]]]] = {
    "a file that the store did not give": (failed_step("StoreFailed"), [("failed", "StoreFailed", JOB)]),
    "a server that is away": (failed_step("ServerUnreachable", Step.FEEDBACK), [("list",)]),
    "a server without an address": (failed_step("NameUnresolved"), [("list",)]),
    "another failure": (failed_step("ServerError"), []),
    "a page that was read": (call(CallOutcome.ANSWERED), [("read", JOB)]),
    "a call that failed, perhaps before the file was read": (call(CallOutcome.FAILED), []),
    "an answer about a text": (call(CallOutcome.ANSWERED, Step.FEEDBACK), []),
    "a suspect": (failed_step("ServerError", Step.FEEDBACK, Fault.SUSPECT.value), [("suspect", Step.FEEDBACK, JOB)]),
    "a job that is held": (settled("released_held"), []),
    "a job that is tried again": (settled("feedback_retrying"), []),
    "a result": (settled("completed"), [("ended", JOB)]),
    "a failed job": (settled("feedback_failed"), [("ended", JOB)]),
}


@pytest.mark.parametrize(("event", "notes"), NOTES.values(), ids=NOTES.keys())
def test_admission_is_notified_of_files_and_connections(event: Event, notes: list[tuple[object, ...]]) -> None:
    """By the class of a failed step, and by an answer about a picture."""
    board, state, admission = Scoreboard(), MonitorState(), Noted()
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reader, writer:
        reader.setblocking(False)
        log, requests = EventLog("ERROR", lambda _: None), DatabaseRequests()
        controller: Any = admission
        events = EventReader([reader.fileno()], Metrics(board, state), state, requests, Waker(board, []), controller, log)
        writer.send(event.encode())
        events.read_all()
    assert admission.notes == notes
