"""The operating system behind the loop, with a scoreboard of its own."""

import os
import time
from collections.abc import Iterator

import pytest

from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.signals import SignalInbox
from supervisor.commands import CommandHandler
from supervisor.core.apply import apply
from supervisor.core.fleet import Fleet, Slot, SlotState
from supervisor.core.policy import Policy
from supervisor.core.rules import decide
from supervisor.event_log import EventLog
from supervisor.settings.model import parse
from supervisor.settings.versions import SettingsVersions
from supervisor.system import UnixSystem
from supervisor.systemd import Notifier
from testkit.waiting import until
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import Scoreboard, WorkerRecord

SOON_SECONDS = 0.05
SETTINGS = parse({"LEARNING_DATABASE_URL": "postgresql://somebody@localhost/somewhere"})


@pytest.fixture
def scoreboard() -> Scoreboard:
    return Scoreboard()


@pytest.fixture
def system(scoreboard: Scoreboard) -> Iterator[UnixSystem]:
    descriptors, signals = Descriptors(), SignalInbox()
    handler = CommandHandler(SettingsVersions(SETTINGS, lambda: SETTINGS), EventLog("ERROR", lambda _line: None))
    yield UnixSystem(scoreboard, descriptors, signals, lambda *_: 0, lambda _: Policy(), handler, Notifier(None), lambda: None)
    ends = (descriptors.lifeline_fd, descriptors.wake_fds[0], descriptors.event_write_fds[0], *signals.fds)
    for fd in (*descriptors.not_for_worker(0), *ends):
        os.close(fd)


def test_a_suspended_supervisor_compares_deadlines_with_its_observation(system: UnixSystem, scoreboard: Scoreboard) -> None:
    """After a suspension between observation and decision, no deadline that held at the observation counts as exceeded."""
    fleet = Fleet.of(1).with_slot(Slot(0, SlotState.RUNNING, pid=2**22 + 1, incarnation=7))
    deadline_seconds = time.monotonic() + SOON_SECONDS
    scoreboard.write_worker(0, WorkerRecord(7, Activity.VISION, deadline_seconds=deadline_seconds))
    (fact,) = system.wait(fleet, time.monotonic())
    until(lambda: time.monotonic() > deadline_seconds)
    signalled = [action for action in decide(apply(fleet, fact), Policy(), system.now()) if getattr(action, "slot", None) == 0]
    assert signalled == []
