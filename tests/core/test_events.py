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
from worker.ipc.contract import Event, EventKind
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
        admission: Any = SimpleNamespace()
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
