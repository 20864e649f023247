"""The simulator as a process: its command line, its end, its tie to the parent."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import psutil
import pytest

from testkit.ollama_simulator.process import PROJECT_ROOT, start_simulator
from testkit.waiting import LIMIT_SECONDS, until
from tests.ollama.client import pending_chat

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


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_script(end: signal.Signals) -> None:
    """The script says where it listens in one line, answers there, and ends with status 0 on SIGTERM and SIGINT."""
    command: Sequence[str] = [str(SCRIPT), "--port", "0", "--num-parallel", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd="/") as process, killed_at_the_end(process):
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        names = [model["name"] for model in httpx.get(f"{url}/api/tags", trust_env=False).json()["models"]]
        process.send_signal(end)
        process.wait(LIMIT_SECONDS)
        rest = process.stdout.read()
    assert names == ["qwen2.5vl:3b", "gpt-oss:latest"]
    assert (process.returncode, rest) == (0, "")


def test_ends_while_a_request_hangs() -> None:
    """A request that hangs does not hold up the end: SIGTERM suffices."""
    with start_simulator(model=["chain"], load_seconds=0) as simulator:
        simulator.fault("hang")
        with pending_chat(simulator, "chain"):
            until(lambda: simulator.state()["models"]["chain:latest"]["running"] == 1)
            os.kill(simulator.pid, signal.SIGTERM)
            until(lambda: is_gone(simulator.pid))


def test_a_client_that_leaves_is_not_worth_a_word(capfd: pytest.CaptureFixture[str]) -> None:
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


@pytest.mark.parametrize(
    "option",
    [
        ("--num-parallel", "0"),
        ("--port", "65536"),
        ("--tokens-per-second", "0"),
        ("--load-seconds", "nan"),
        ("--memory", "much"),
        ("--model", "a:size=b"),
        ("--fault-rate", "2"),
    ],
)
def test_option_refused(option: tuple[str, str]) -> None:
    """A number out of range is refused before anything listens."""
    assert run(*option).returncode == 2


def test_as_documented() -> None:
    """The command of the documentation starts, and names on stderr the model that this machine could never hold."""
    options = ["--memory", "8GiB", "--tokens-per-second", "40", "--load-seconds", "5"]
    command: Sequence[str] = [str(SCRIPT), "--port", "0", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd="/") as process, killed_at_the_end(process):
        assert process.stdout is not None
        assert process.stderr is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        memory = httpx.get(f"{url}/_simulator/state", trust_env=False).json()["memory"]
        process.terminate()
        warning = process.stderr.read()
    assert memory["total_bytes"] == memory["free_bytes"] == 8 * 2**30
    assert "gpt-oss:latest needs" in warning
    assert "qwen2.5vl" not in warning


def test_port_taken() -> None:
    """A port that somebody else has is an error that names it."""
    with start_simulator() as simulator:
        port = str(httpx.URL(simulator.url).port)
        result = run("--port", port)
    assert result.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in result.stderr


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


def test_start_failure() -> None:
    """A simulator that does not start is an error with its exit status, not a wait."""
    with pytest.raises(RuntimeError, match="did not start"), start_simulator(host="0.0.0.0"):
        pass


def test_dies_with_its_parent() -> None:
    """When the parent is killed, the simulator goes too."""
    parent = subprocess.run([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, check=False, cwd=PROJECT_ROOT)
    assert parent.returncode == -signal.SIGKILL
    until(lambda: is_gone(int(parent.stdout)))


def test_parent_gone_before() -> None:
    """A parent that died before the tie was made is noticed too."""
    result = run("--port", "0", "--die-with-parent", str(2**22 + 1))
    assert result.returncode == 1
    assert "the parent has already ended" in result.stderr
