"""The monitor's handling of events, read from a real socket, as a worker writes them."""

import math
import os
import socket
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
    """The status shows a lost connection until a worker leases again, by itself or with the end of a job."""
    board, state = Scoreboard(), MonitorState()
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reader, writer:
        reader.setblocking(False)
        admission: Any = SimpleNamespace()
        log = EventLog("ERROR", lambda _: None)
        requests, waker = DatabaseRequests(), Waker(board, [])
        events = EventReader([reader.fileno()], Metrics(board, state), state, requests, waker, admission, log)
        os.write(writer.fileno(), Event(kind=EventKind.CONNECTION_LOST, error_class="DiskFull").encode())
        events.read(0)
        assert (state.worker_outage, state.worker_outage_at_seconds > 0) == ("DiskFull", True)
        os.write(writer.fileno(), lease.encode())
        events.read(0)
        assert state.worker_outage_at_seconds == -math.inf
