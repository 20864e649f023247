"""Ollama's processes: real ones under its names, told from those that only look like them."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from supervisor.monitor.ollama.processes import SEARCH_SECONDS, Runners
from testkit.parent_death import die_with
from testkit.waiting import until

# A server under that name, which says its port, loads a runner for each line it reads, and says the runner's pid.
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


def test_a_server_and_its_runners_are_weighed_together(undo: ExitStack) -> None:
    """A runner counts from the next look on, its model with it, and is forgotten with its end."""
    server = serve(undo)
    runners = Runners(server.port)
    alone_bytes = runners.size_bytes(0.0)
    runner_pid = server.load()
    both_bytes = runners.size_bytes(1.0)
    assert runners.pids(1.0) == {server.process.pid, runner_pid}
    assert alone_bytes is not None
    assert both_bytes is not None
    assert both_bytes >= alone_bytes + RUNNER_BYTES


def test_only_who_listens_there_is_the_server(undo: ExitStack) -> None:
    """Another Ollama of this host, and a program of another name at the port, are not the one that we ask."""
    ours, _another, stranger = serve(undo), serve(undo), serve(undo, "nginx")
    assert Runners(ours.port).pids(0.0) == {ours.process.pid}
    assert Runners(stranger.port).pids(0.0) == frozenset()
    assert Runners(stranger.port).size_bytes(0.0) is None


def test_a_server_that_has_gone_holds_nothing(undo: ExitStack) -> None:
    """Neither at the next look at what was found, nor when all processes are looked at again."""
    first = serve(undo)
    runners = Runners(first.port)
    assert runners.pids(0.0) == {first.process.pid}
    first.process.kill()
    first.process.wait()
    until(lambda: runners.pids(1.0) == frozenset())
    assert runners.pids(SEARCH_SECONDS) == frozenset()
