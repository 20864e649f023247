"""Signals that are no request: at every moment of a process, from its first imports to its exit code."""

import itertools
import os
import signal
from pathlib import Path

import psutil
import pytest

from testkit.live_fleet import LiveFleet
from testkit.site import FEEDBACK_MODEL, Site
from testkit.waiting import until
from worker.ipc.signals import HARMLESS_SIGNALS, STOP_SIGNALS, TERMINAL_SIGNALS

REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *TERMINAL_SIGNALS)
MEANINGLESS = (*HARMLESS_SIGNALS, *STOP_SIGNALS)
ADAPTERS = "testkit.adapters."


def signal_set(pid: int, name: str) -> int:
    """Return a set of signals from /proc/PID/status, such as SigBlk or SigIgn. Signal N is bit N - 1."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")), 16)


def send_all(pids: list[int], numbers: tuple[signal.Signals, ...]) -> None:
    for pid, number in itertools.product(pids, numbers):
        os.kill(pid, number)


def end_under_signals(site: Site) -> int:
    """Stop a fleet, and send it every signal from its line `finished` until it has ended. Return its exit code."""
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd, "rb") as log, os.fdopen(write_fd, "wb") as log_end:
        fleet = site.start(stderr=log_end)
        log_end.close()
        fleet.until_idle()
        fleet.process.terminate()
        next(line for line in log if b" finished " in line)
        while fleet.process.poll() is None:
            send_all([fleet.pid], (*REQUESTS, *MEANINGLESS))
        return fleet.exit_code()


def test_no_signal_changes_the_exit_code_after_the_last_line(site: Site) -> None:
    """From the line `finished` to the end of the process every signal is sent again and again, and the code stays 0."""
    assert [end_under_signals(site) for _ in range(3)] == [0, 0, 0]


@pytest.mark.second_tier
def test_no_signal_changes_any_of_many_exit_codes(site: Site) -> None:
    """The same twenty times, because the instants between the last line and the exit are not all hit by a few ends."""
    assert {end_under_signals(site) for _ in range(20)} == {0}


def test_meaningless_signals_change_nothing(site: Site) -> None:
    """Supervisor, monitor and a busy worker get each of them, Ctrl-Z among them. All go on, and the job is done once."""
    site.simulator.fault("slow", FEEDBACK_MODEL, seconds=1)
    text = site.enter_text()
    fleet = site.start()
    (worker,) = site.until_in_call(fleet, FEEDBACK_MODEL)
    monitor = fleet.monitor_pid()
    send_all([fleet.pid, monitor, worker], MEANINGLESS)
    send_all([monitor, worker], TERMINAL_SIGNALS)
    site.until_done_once([text])
    assert (fleet.worker_pids(), fleet.monitor_pid()) == ([worker], monitor)
    assert fleet.logged("exited") == []
    assert fleet.stop() == 0


@pytest.mark.second_tier
def test_meaningless_signals_during_boot_change_nothing(site: Site) -> None:
    """The children get them again and again from their fork until the worker has booted. None of them ends."""
    fleet = site.start(ai_backend="stub", learning_feedback_adapter=ADAPTERS + "late")
    while not fleet.logged("booted"):
        for child in fleet.children():
            send_all([child.pid], (*MEANINGLESS, *TERMINAL_SIGNALS))
    fleet.until_idle()
    assert fleet.logged("exited") == []
    assert {each.status() for each in fleet.children()} <= {psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING}


@pytest.mark.second_tier
def test_programs_of_adapters_have_the_default_actions(site: Site) -> None:
    """A program that an adapter executes ends by its own alarm: the signals are not ignored there."""
    fleet = site.start(ai_backend="stub", learning_feedback_adapter=ADAPTERS + "fertile")
    fleet.until_idle()
    (program,) = [process for process in fleet.living() if process.name() == "sleep"]
    assert signal_set(program.pid, "SigIgn") & bits(HARMLESS_SIGNALS) == 0
    assert signal_set(program.pid, "SigBlk") == 0
    program.send_signal(signal.SIGALRM)
    until(lambda: not program.is_running() or program.status() == psutil.STATUS_ZOMBIE)


def bits(numbers: tuple[signal.Signals, ...]) -> int:
    return sum(1 << (number - 1) for number in numbers)


def start_in_the_imports(site: Site) -> LiveFleet:
    """Start a supervisor, and return as soon as it holds its signals back, long before it has handlers."""
    fleet = site.start()
    until(lambda: signal_set(fleet.pid, "SigBlk") & bits(REQUESTS) == bits(REQUESTS))
    assert fleet.log() == []
    return fleet


def test_requests_during_the_imports_are_not_lost(site: Site) -> None:
    """A reload and one worker more are requested before the supervisor has handlers. It carries out both and never stops."""
    fleet = start_in_the_imports(site)
    send_all([fleet.pid], (signal.SIGHUP, signal.SIGTTIN, *MEANINGLESS))
    assert psutil.Process(fleet.pid).status() != psutil.STATUS_STOPPED
    fleet.until_logged("reloaded")
    assert fleet.logged("scaled")[0]["workers"] == "2"
    fleet.until_idle()


@pytest.mark.second_tier
def test_a_stop_during_the_imports_is_a_stop(site: Site) -> None:
    """SIGTERM before the supervisor has handlers leads to a normal end with code 0."""
    fleet = start_in_the_imports(site)
    fleet.process.terminate()
    assert fleet.exit_code() == 0
    assert len(fleet.logged("finished")) == 1
