"""Messages to the service manager: each line follows from the fleet, and is sent once or periodically."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.core.fleet import MONITOR, ExitCause, Fleet, ReloadProblem, Slot, SlotState
from supervisor.notification import EXTEND_EVERY_SECONDS, SentState, ServiceState, notification, state_of, summary
from supervisor.settings.model import ServiceManager, take_service_manager
from supervisor.systemd import Notifier

NOW = 1000.25
MORE_TIME = "EXTEND_TIMEOUT_USEC=30000000"


def fleet(*slots: Slot) -> Fleet:
    return Fleet(slots, Slot(MONITOR), len(slots))


def running(number: int, generation: int = 0) -> Slot:
    return Slot(number, SlotState.RUNNING, generation=generation)


BOOTING = fleet(Slot(0, SlotState.STARTING))
READY = replace(fleet(running(0), running(1)), is_ready=True)
RELOADING = replace(READY, generation=1)
STOPPING = replace(READY, stop_asked_at_seconds=(NOW,))


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (BOOTING, ServiceState.BOOTING),
        (replace(BOOTING, generation=1), ServiceState.BOOTING),
        (READY, ServiceState.READY),
        (RELOADING, ServiceState.RELOADING),
        (STOPPING, ServiceState.STOPPING),
        (replace(RELOADING, stop_asked_at_seconds=(NOW,)), ServiceState.STOPPING),
    ],
)
def test_a_fleet_is_in_one_state(shown: Fleet, state: ServiceState) -> None:
    """A stop takes precedence over a reload, and the service is ready once a worker has reached the database."""
    assert state_of(shown) is state


@pytest.mark.parametrize(
    ("shown", "sent", "lines"),
    [
        (BOOTING, ServiceState.BOOTING, {MORE_TIME}),
        (READY, ServiceState.BOOTING, {"READY=1"}),
        (READY, ServiceState.READY, set()),
        (RELOADING, ServiceState.READY, {"RELOADING=1", "MONOTONIC_USEC=1000250000", MORE_TIME}),
        (RELOADING, ServiceState.RELOADING, {MORE_TIME}),
        (READY, ServiceState.RELOADING, {"READY=1"}),
        (STOPPING, ServiceState.READY, {"STOPPING=1", MORE_TIME}),
        (STOPPING, ServiceState.STOPPING, {MORE_TIME}),
    ],
)
def test_each_change_is_sent(shown: Fleet, sent: ServiceState, lines: set[str]) -> None:
    """The lines beside the status, if this state was sent before."""
    found, known = notification(shown, SentState(sent), NOW, None)
    assert {line for line in found if not line.startswith("STATUS=")} == lines
    assert known.state is state_of(shown)


@pytest.mark.parametrize("under_way", [BOOTING, RELOADING, STOPPING])
def test_nothing_is_sent_twice(under_way: Fleet) -> None:
    """After all lines are sent, only the extension of the timeout is sent again, periodically."""
    _, known = notification(under_way, SentState(), NOW, None)
    for now in (NOW, NOW + EXTEND_EVERY_SECONDS):
        assert notification(under_way, known, now + 0.5 * EXTEND_EVERY_SECONDS, None)[0] == ()
        lines, known = notification(under_way, known, now + EXTEND_EVERY_SECONDS, None)
        assert lines == (MORE_TIME,)


def test_the_watchdog_is_notified_in_time() -> None:
    """The sign of life is sent at least twice in the watchdog's time, even by a late loop, and never without a watchdog."""
    first, known = notification(READY, SentState(ServiceState.READY, summary(READY)), NOW, 4.0)
    assert first == ("WATCHDOG=1",)
    assert notification(READY, known, NOW + 0.9, 4.0)[0] == ()
    assert notification(READY, known, NOW + 1.0, 4.0)[0] == ("WATCHDOG=1",)
    assert notification(READY, known, NOW + 1000, None)[0] == ()


def test_a_message_that_was_not_accepted_is_sent_again(tmp_path: Path) -> None:
    """A service manager whose socket appears late, or was full, gets everything that still holds."""
    address = tmp_path / "notify"
    notifier = Notifier(ServiceManager(str(address), None))
    notifier.notify(READY, NOW)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        notifier.notify(READY, NOW)
        notifier.notify(READY, NOW)
        manager.setblocking(False)
        assert manager.recv(4096).decode().splitlines() == ["READY=1", "STATUS=2 of 2 workers run"]
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


@pytest.mark.parametrize(
    ("variables", "manager"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "1000000"}, None),
        ({"NOTIFY_SOCKET": "/run/n"}, ServiceManager("/run/n", None)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "1500000"}, ServiceManager("@n", 1.5)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, ServiceManager("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "soon"}, ServiceManager("/run/n", None)),
        ({"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "0"}, ServiceManager("/run/n", None)),
    ],
)
def test_the_service_manager_is_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], manager: ServiceManager | None
) -> None:
    """Three variables are read and removed, and a watchdog for another process is ignored."""
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert take_service_manager() == manager
    assert take_service_manager() is None


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (BOOTING, "Starting: no worker has reached the database yet"),
        (READY, "2 of 2 workers run"),
        (
            replace(fleet(running(0), Slot(1, starts=3, last_cause=ExitCause.EXIT_CODE)), is_ready=True),
            "1 of 2 workers run; waiting to start again: worker 1 (exit code)",
        ),
        (
            replace(READY, reload_problem=ReloadProblem.WRONG_SETTINGS),
            "2 of 2 workers run; the settings that were read last are not in use: wrong settings, see the log",
        ),
        (
            replace(fleet(running(0, 1), running(1, 0)), is_ready=True, generation=1),
            "Reloading: 1 of 2 workers run with the new settings",
        ),
        (STOPPING, "Stopping: 2 workers left"),
        (replace(STOPPING, gave_up=True), "Giving up because workers only crash: 2 workers left"),
    ],
)
def test_the_status_is_one_line(shown: Fleet, words: str) -> None:
    """The line is what `systemctl status` shows."""
    assert summary(shown) == words
    assert f"STATUS={words}" in notification(shown, SentState(), NOW, None)[0]
