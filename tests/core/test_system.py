"""The operating system behind the loop, with a scoreboard of its own."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import UUID

import pytest

from supervisor.adapters.descriptors import Descriptors
from supervisor.adapters.signals import SIGNALS, Effect, SignalInbox
from supervisor.commands import CommandHandler
from supervisor.core.apply import apply
from supervisor.core.facts import Exited, LeaseReclaimed, StopAsked
from supervisor.core.fleet import MONITOR, Fleet, Slot, SlotState
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
FIRST, LAST = UUID(int=1), UUID(int=2)
REPORTING_MONITOR = f"""
import sys
from uuid import UUID
from worker.ipc.channel import LeaseReclaimedReport, send
for number in ({FIRST.int}, {LAST.int}):
    assert send(int(sys.argv[1]), LeaseReclaimedReport(lease_key=UUID(int=number), outcome="reclaimed"))
    sys.stdin.readline()
"""
SETTINGS = parse({"AI_BACKEND": "stub", "LEARNING_DATABASE_URL": "postgresql://somebody@localhost/somewhere"})


@pytest.fixture
def scoreboard() -> Scoreboard:
    return Scoreboard()


@pytest.fixture
def descriptors() -> Descriptors:
    return Descriptors()


@pytest.fixture
def signals() -> SignalInbox:
    return SignalInbox()


@pytest.fixture
def system(scoreboard: Scoreboard, descriptors: Descriptors, signals: SignalInbox) -> Iterator[UnixSystem]:
    handler = CommandHandler(SettingsVersions(SETTINGS, lambda: SETTINGS), EventLog("ERROR", lambda _line: None))
    yield UnixSystem(scoreboard, descriptors, signals, lambda *_: 0, lambda _: Policy(), handler, Notifier(None), lambda: None)
    ends = (descriptors.lifeline_fd, descriptors.wake_fds[0], descriptors.event_write_fds[0], *signals.fds)
    for fd in (*descriptors.not_for_worker(0), *ends):
        os.close(fd)


def test_a_suspended_supervisor_compares_deadlines_with_its_observation(system: UnixSystem, scoreboard: Scoreboard) -> None:
    """After a suspension between observation and decision, no deadline that held at the observation counts as exceeded."""
    fleet = Fleet.of(1).with_slot(Slot(0, SlotState.RUNNING, pid=2**22 + 1, incarnation=7))
    alive_seconds = time.monotonic()
    deadline_seconds = alive_seconds + SOON_SECONDS
    record = WorkerRecord(7, Activity.VISION, deadline_seconds=deadline_seconds, alive_seconds=alive_seconds)
    scoreboard.write_worker(0, record)
    (fact,) = system.wait(fleet, time.monotonic())
    until(lambda: time.monotonic() > deadline_seconds)
    signalled = [action for action in decide(apply(fleet, fact), Policy(), system.now()) if getattr(action, "slot", None) == 0]
    assert signalled == []


def test_the_last_report_of_a_monitor_is_read_before_its_end(system: UnixSystem, descriptors: Descriptors) -> None:
    """A monitor reports a reclaimed lease and ends, after the channel was read in the same turn. The lease counts as reclaimed,
    so a stop leaves none and keeps its exit code.
    """
    descriptors.renew_channel()
    fds = [descriptors.monitor_channel_fd]
    command = [sys.executable, "-c", REPORTING_MONITOR, str(fds[0])]
    with subprocess.Popen(command, pass_fds=fds, stdin=subprocess.PIPE, text=True) as monitor:
        descriptors.drop_monitor_end()
        until(lambda: select.select([descriptors.channel_fd], [], [], 0)[0])
        fleet = Fleet.of(1).with_slot(Slot(MONITOR, SlotState.STOPPING, pid=monitor.pid, incarnation=7))
        facts = system.wait(fleet, time.monotonic())
        assert next(facts) == LeaseReclaimed(FIRST, "reclaimed")
        monitor.stdin.write("report\nend\n")  # type: ignore[union-attr]
        monitor.stdin.close()  # type: ignore[union-attr]
        os.waitid(os.P_PID, monitor.pid, os.WEXITED | os.WNOWAIT)
        last, end = facts
    assert last == LeaseReclaimed(LAST, "reclaimed")
    assert isinstance(end, Exited)


@pytest.fixture
def _timed_stop(monkeypatch: pytest.MonkeyPatch, signals: SignalInbox) -> Iterator[None]:
    """SIGALRM is a request to stop, because a timer of this process can send it at a chosen microsecond."""
    monkeypatch.setitem(SIGNALS, signal.SIGALRM, Effect.STOP)
    before = {number: handler for number in signal.valid_signals() if (handler := signal.getsignal(number)) is not None}
    signals.install()
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.set_wakeup_fd(-1)
    for number in before.keys() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, before[number])


@pytest.mark.usefixtures("_timed_stop")
def test_a_signal_in_the_instant_before_the_wait_ends_it(system: UnixSystem) -> None:
    """A signal between the decision and the system call ends the wait, and each signal is one fact."""
    fleet = Fleet.of(1)
    for round_ in range(5_000):
        signal.setitimer(signal.ITIMER_REAL, (1 + round_ % 1000 / 25) * 1e-6)
        (fact,) = system.wait(fleet, time.monotonic() + SOON_SECONDS)
        assert isinstance(fact, StopAsked)


@pytest.mark.usefixtures("_timed_stop")
def test_a_signal_in_the_instant_of_the_timeout_is_one_fact(system: UnixSystem) -> None:
    """It is taken by the wait in which it comes or by the next one, and counts once."""
    fleet, rounds = Fleet.of(1), 1_000
    for round_ in range(rounds):
        until_seconds = time.monotonic() + 0.0012
        signal.setitimer(signal.ITIMER_REAL, 0.0007 + 0.001 * round_ / rounds)
        facts = list(system.wait(fleet, until_seconds)) or list(system.wait(fleet, time.monotonic() + SOON_SECONDS))
        assert [type(fact) for fact in facts] == [StopAsked]
        assert list(system.wait(fleet, time.monotonic())) == []
