"""The world that the loop sees, on a scoreboard of its own."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.signals import SignalInbox
from supervisor.commands import OrderDesk
from supervisor.core.apply import record
from supervisor.core.fleet import MONITOR, Fleet, Slot, Stage
from supervisor.core.policy import Policy
from supervisor.core.rules import decide
from supervisor.event_log import Journal
from supervisor.settings.model import parse
from supervisor.settings.versions import Configurations
from supervisor.system import UnixWorld
from supervisor.systemd import Notifier
from testkit.waiting import eventually
from worker.ipc.contract import Phase
from worker.ipc.scoreboard import Scoreboard, WorkerRecord

SOON_SECONDS = 0.05
SETTINGS = parse({"LEARNING_DATABASE_URL": "postgresql://somebody@localhost/somewhere"})


@pytest.fixture
def scoreboard() -> Scoreboard:
    return Scoreboard()


@pytest.fixture
def world(scoreboard: Scoreboard) -> Iterator[UnixWorld]:
    descriptors, signals = Descriptors(), SignalInbox()
    desk = OrderDesk(Configurations(SETTINGS, lambda: SETTINGS), Journal("ERROR", lambda _line: None))
    yield UnixWorld(scoreboard, descriptors, signals, lambda *_: 0, lambda _: Policy(), desk, Notifier(None))
    ends = (descriptors.lifeline_fd, descriptors.wake_fds[0], descriptors.event_write_fds[0], *signals.fds)
    for fd in (*descriptors.not_for_worker(0), *ends):
        os.close(fd)


def test_who_was_stopped_judges_by_what_he_has_seen(world: UnixWorld, scoreboard: Scoreboard) -> None:
    """A supervisor that stands still between its look and its decision breaks no promise that held at the look."""
    fleet = replace(Fleet.of(1), slots=(Slot(0, Stage.RUNNING, pid=2**22 + 1, incarnation=7), Slot(MONITOR)))
    deadline_seconds = time.monotonic() + SOON_SECONDS
    scoreboard.write_worker(0, WorkerRecord(7, Phase.VISION, deadline_seconds=deadline_seconds))
    (fact,) = world.wait(fleet, time.monotonic())
    eventually(lambda: time.monotonic() > deadline_seconds)
    signalled = [action for action in decide(record(fleet, fact), Policy(), world.now()) if getattr(action, "slot", None) == 0]
    assert signalled == []
