"""The simulator as a process: its command line, its end, its tie to the parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from testkit.ollama_simulator.process import PROJECT_ROOT, start_simulator
from testkit.pending_call import pending_chat
from testkit.waiting import LIMIT_SECONDS, until

SCRIPT = PROJECT_ROOT / "scripts" / "ollama_simulator"
LEAVERS = 30  # most of them are noticed in the middle of a write
PARENT = """
import os
from testkit.ollama_simulator.process import start_simulator
with start_simulator() as simulator:
    print(simulator.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False, cwd="/")


@contextmanager
def killed_at_the_end(process: subprocess.Popen[str]) -> Iterator[None]:
    """A test that fails leaves nothing behind, and does not wait for it."""
    try:
        yield
    finally:
        process.kill()


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_client_that_disconnects_causes_no_log_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Clients that hang up while lines are being written to them leave nothing on stderr, and are on record as gone."""
    with start_simulator(model=["chain"], tokens_per_second=100_000, load_seconds=0) as simulator:
        simulator.fault("endless", times=LEAVERS)
        for _ in range(LEAVERS):
            with pending_chat(simulator, "chain", stream=True) as call:
                call.first_line()
        until(lambda: [call["outcome"] for call in simulator.calls()] == ["disconnected"] * LEAVERS)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example"])
def test_loopback_only(host: str) -> None:
    """An address that others can reach is refused with a reason."""
    result = run("--port", "0", "--host", host)
    assert result.returncode == 2
    assert f"{host} is not a loopback address" in result.stderr


def test_ends_with_the_block() -> None:
    """The process is gone when the block is left."""
    with start_simulator() as simulator:
        assert not is_gone(simulator.pid)
    assert is_gone(simulator.pid)


def test_same_port_again() -> None:
    """A simulator that was killed can come back at its old address at once."""
    with start_simulator() as first:
        port = int(first.url.rpartition(":")[2])
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: is_gone(first.pid))
        with start_simulator(port=port) as second:
            assert second.url == first.url
            assert second.calls() == []


def test_dies_with_its_parent() -> None:
    """The simulator dies with its parent."""
    parent = subprocess.run([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, check=False, cwd=PROJECT_ROOT)
    assert parent.returncode == -signal.SIGKILL
    until(lambda: is_gone(int(parent.stdout)))
