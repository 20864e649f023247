"""What the monitor makes of an event: read from a real socket, as a worker writes it."""

import math
import os
import socket
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from supervisor.event_log import EventLog
from supervisor.monitor.events import Events
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from worker.ipc.contract import Event, EventKind
from worker.ipc.scoreboard import Scoreboard

ANSWERS = {
    "a lease": Event(kind=EventKind.LEASED, job_id=uuid4()),
    "a lease with the end of a job": Event(kind=EventKind.SETTLED, job_id=uuid4(), next_job_id=uuid4()),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_who_leases_again_has_its_connection_back(answer: Event) -> None:
    """The status tells of a lost connection until a worker has leased since, by itself or with the end of a job."""
    board, sight = Scoreboard(), MonitorState()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        watch: Any = SimpleNamespace(sight=sight)
        events = Events([ours.fileno()], Metrics(board, sight), Waker(board, []), watch, watch, EventLog("ERROR", lambda _: None))
        os.write(theirs.fileno(), Event(kind=EventKind.CONNECTION_LOST, error_class="DiskFull").encode())
        events.take(0)
        assert (sight.loss, sight.lost_at_seconds > 0) == ("DiskFull", True)
        os.write(theirs.fileno(), answer.encode())
        events.take(0)
        assert sight.lost_at_seconds == -math.inf
