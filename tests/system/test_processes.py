"""Ollama's processes among others, with real processes under their names."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from supervisor.monitor.ollama.processes import SEARCH_SECONDS, OllamaProcesses
from testkit.parent_death import die_with
from testkit.waiting import until

# A server under the given name. Prints its port, then starts a runner for each line of input and prints the runner's pid.
SERVER = """
import socket, subprocess, sys
open("/proc/self/comm", "w").write(sys.argv[1])
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
for _ in sys.stdin:
    runner = subprocess.Popen([sys.executable, "-c", sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    runner.stdout.readline()
    print(runner.pid, flush=True)
"""
# A runner that holds some memory, as a model does.
RUNNER_BYTES = 64 * 2**20
RUNNER = f"""
import sys
open("/proc/self/comm", "w").write("llama-server")
model = b"x" * {RUNNER_BYTES}
print(len(model), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Served:
    process: subprocess.Popen[str]
    port: int

    def load(self) -> int:
        """The pid of a further runner."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture
def undo() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def serve(undo: ExitStack, name: str = "ollama") -> Served:
    process = undo.enter_context(
        subprocess.Popen(
            [sys.executable, "-c", SERVER, name, RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  the test run may be killed as well
        )
    )
    undo.callback(process.kill)
    assert process.stdout is not None
    return Served(process, int(process.stdout.readline()))


def test_a_server_and_its_runners_are_measured_together(undo: ExitStack) -> None:
    """A new runner, with its model, counts from the next measurement on."""
    server = serve(undo)
    processes = OllamaProcesses(server.port)
    alone_bytes = processes.size_bytes(0.0)
    runner_pid = server.load()
    both_bytes = processes.size_bytes(1.0)
    assert processes.pids(1.0) == {server.process.pid, runner_pid}
    assert alone_bytes is not None
    assert both_bytes is not None
    assert both_bytes >= alone_bytes + RUNNER_BYTES


def test_only_the_process_that_listens_is_the_server(undo: ExitStack) -> None:
    """Another Ollama on this host does not count, nor does a program of another name on the port."""
    ours, _another, stranger = serve(undo), serve(undo), serve(undo, "nginx")
    assert OllamaProcesses(ours.port).pids(0.0) == {ours.process.pid}
    assert OllamaProcesses(stranger.port).pids(0.0) == frozenset()
    assert OllamaProcesses(stranger.port).size_bytes(0.0) is None


def test_a_server_that_has_exited_is_not_counted(undo: ExitStack) -> None:
    """Neither in the processes found before, nor after the next scan of all processes."""
    first = serve(undo)
    processes = OllamaProcesses(first.port)
    assert processes.pids(0.0) == {first.process.pid}
    first.process.kill()
    first.process.wait()
    until(lambda: processes.pids(1.0) == frozenset())
    assert processes.pids(SEARCH_SECONDS) == frozenset()
