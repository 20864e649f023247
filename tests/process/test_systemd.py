"""Messages to a service manager on a real datagram socket: nothing that is not so, and nothing while the loop is stuck."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.live_fleet import LiveFleet
from testkit.service_manager import ServiceManager, listening
from testkit.site import FEEDBACK_MODEL, Site, Value
from testkit.waiting import until

ADAPTERS = "testkit.adapters."
WATCHDOG_USEC = 1_000_000


@pytest.fixture
def manager(site: Site) -> Iterator[ServiceManager]:
    with listening(site.directory) as taking:
        yield taking


def start_service(site: Site, manager: ServiceManager, **settings: Value) -> LiveFleet:
    notified: dict[str, Value] = {"notify_socket": manager.address, "watchdog_usec": WATCHDOG_USEC}
    return site.start_with(notified | settings)


def test_ready_is_sent_after_the_first_contact_with_the_database(site: Site, manager: ServiceManager) -> None:
    """Without a database it asks for more time and gives the reason. READY comes with the first connection."""
    site.shut_out()
    fleet = start_service(site, manager)
    assert "READY=1" not in manager.until_received("EXTEND_TIMEOUT_USEC=")
    assert "STATUS=Starting: no worker has reached the database yet" in manager.received
    fleet.until_busy("connect")
    assert "READY=1" not in manager.take()
    site.let_in()
    manager.until_received("READY=1")
    assert "STATUS=1 of 1 worker run" in manager.received


def test_only_the_supervisor_notifies_systemd(site: Site, manager: ServiceManager) -> None:
    """Neither a child nor what an adapter starts knows the socket."""
    fleet = start_service(site, manager, worker_concurrency=2, ai_backend="stub", learning_feedback_adapter=ADAPTERS + "fertile")
    manager.until_received("READY=1")
    fleet.until_idle()
    for process in fleet.living():
        if process.pid != fleet.pid:
            assert not any(name in b"".join(environment_of(process.pid)) for name in (b"NOTIFY_SOCKET", b"WATCHDOG_USEC"))
    assert fleet.stop() == 0
    manager.take()
    assert manager.senders == {fleet.pid}


def environment_of(pid: int) -> list[bytes]:
    """Environment of a program after exec. A fork without exec still shows that of its parent."""
    process = Path(f"/proc/{pid}")
    is_program = (process / "comm").read_text().strip() == "sleep"
    return (process / "environ").read_bytes().split(b"\0") if is_program else []


def test_a_stop_is_sent_to_systemd_with_its_timeout(site: Site, manager: ServiceManager) -> None:
    """STOPPING comes at once, with more time as long as a drain takes, however long the unit's own timeout."""
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=2)
    site.enter_text()
    fleet = start_service(site, manager)
    site.until_in_call(fleet, FEEDBACK_MODEL)
    manager.until_received("READY=1")
    fleet.terminate()
    received = manager.until_received("STOPPING=1")
    assert "STATUS=Stopping: 1 worker left" in received
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in received)
    assert fleet.exit_code() == 0


def test_a_reload_has_a_beginning_and_an_end(site: Site, manager: ServiceManager) -> None:
    """RELOADING comes with the time at which it began, READY when the last worker is new. A later reload has a later time."""
    fleet = start_service(site, manager, worker_concurrency=2)
    manager.until_received("READY=1")
    fleet.until_idle()
    before = fleet.worker_pids()
    os.kill(fleet.pid, signal.SIGHUP)
    begun = manager.until_received("RELOADING=1")
    (stamp,) = [int(line.partition("=")[2]) for line in begun if line.startswith("MONOTONIC_USEC=")]
    manager.until_received("READY=1")
    assert not {str(pid) for pid in before} & {str(pid) for pid in fleet.worker_pids()}
    os.kill(fleet.pid, signal.SIGHUP)
    again = manager.until_received("RELOADING=1")
    assert [int(line.partition("=")[2]) for line in again if line.startswith("MONOTONIC_USEC=")] > [stamp]


def test_wrong_settings_are_in_the_status_and_the_service_stays_ready(site: Site, manager: ServiceManager) -> None:
    """The status line names them. No reload began, so none has to end."""
    (site.directory / ".env").write_text("")
    fleet = start_service(site, manager)
    manager.until_received("READY=1")
    fleet.until_idle()
    (site.directory / ".env").write_text("WORKER_POLL_INTERVAL=soon\n")
    os.kill(fleet.pid, signal.SIGHUP)
    received = manager.until_received("STATUS=")
    assert any("not in use: wrong settings, see the log" in line for line in received)
    assert not {"RELOADING=1", "READY=1"} & set(received)


def test_a_service_that_gives_up_was_never_ready(site: Site, manager: ServiceManager) -> None:
    """A fleet without a live worker is never ready, and its last status is that it gave up."""
    (site.directory / "room").write_text("0")
    settings: dict[str, Value] = {
        "ai_backend": "stub",
        "restart_window_seconds": 1,
        "restart_intensity": 2,
        "worker_concurrency": 2,
    }
    fleet = start_service(site, manager, learning_feedback_adapter=ADAPTERS + "crowded", **settings)
    manager.until_received("STATUS=Giving up")  # its socket takes few unread messages
    assert fleet.exit_code() == 69
    manager.take()
    assert "READY=1" not in manager.received
    assert [line for line in manager.received if line.startswith("STATUS=Giving up because workers only crash")]


# The watchdog


def test_a_busy_worker_does_not_stop_the_watchdog_signal(site: Site, manager: ServiceManager) -> None:
    """While a worker does nothing but wait for its model the sign of life comes again and again."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    site.enter_text()
    fleet = start_service(site, manager)
    site.until_in_call(fleet, FEEDBACK_MODEL)
    os.kill(fleet.worker_pids()[0], signal.SIGSTOP)
    manager.take()
    for _ in range(3):
        manager.until_received("WATCHDOG=1")


def test_a_stuck_loop_sends_no_watchdog_signal(site: Site, manager: ServiceManager) -> None:
    """However well the workers work: with the supervisor stopped no sign of life comes, and with it going on it does again."""
    fleet = start_service(site, manager, worker_concurrency=2)
    fleet.until_idle()
    manager.until_received("WATCHDOG=1")
    os.kill(fleet.pid, signal.SIGSTOP)
    manager.take()
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=3)  # three times what the watchdog allows
    site.until_done_once([site.enter_text()])
    assert manager.take() == []
    os.kill(fleet.pid, signal.SIGCONT)
    manager.until_received("WATCHDOG=1")


@pytest.mark.second_tier
def test_without_watchdogsec_no_watchdog_signal_is_sent(site: Site, manager: ServiceManager) -> None:
    """Without WatchdogSec, or if it is for another process, READY is sent and no watchdog signal."""
    fleet = start_service(site, manager, watchdog_pid=1)
    fleet.until_idle()
    fleet.terminate()
    manager.until_received("STOPPING=1")
    assert "WATCHDOG=1" not in manager.received


# The socket


@pytest.mark.second_tier
def test_an_abstract_notification_socket_works(site: Site) -> None:
    """A name that begins with @ is not a path."""
    with listening(site.directory, is_abstract=True) as manager:
        start_service(site, manager)
        manager.until_received("READY=1")


def test_a_blocked_notification_socket_does_not_stop_jobs(site: Site, manager: ServiceManager) -> None:
    """With its socket full or gone the work goes on, and the message that was not taken is sent when there is room."""
    fleet = start_service(site, manager, worker_concurrency=2)
    fleet.until_idle()
    until(lambda: is_full(manager.address))
    site.until_done_once(entered := site.enter_texts(3))
    manager.take()
    manager.until_received("WATCHDOG=1")
    manager.socket.close()
    site.until_done_once([*entered, site.enter_text()])
    assert fleet.stop() == 0


def is_full(address: str) -> bool:
    """Fills the remaining space, because the supervisor itself would take long."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filling:
        try:
            while True:
                filling.sendto(b"X_FILL=1", socket.MSG_DONTWAIT, address)
        except BlockingIOError:
            return True
