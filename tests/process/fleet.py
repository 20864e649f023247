"""A real supervisor as a child process: started with its settings, watched from outside, and gone with its test.

Every process of a fleet carries the fleet's mark in its environment, also what an adapter leaves behind: at the end they
are looked for by this mark. Nobody may have outlived the supervisor; who has is killed, and the test fails.
"""

import os
import secrets
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from testkit.parent_death import die_with
from testkit.waiting import LIMIT_SECONDS, until

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("learning-supervisor")
MARK = "FLEET_OF_A_TEST"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LiveFleet:
    """The supervisor and its children as anybody sees them: status, metrics, log, processes."""

    process: subprocess.Popen[bytes]
    runtime_directory: Path
    log_path: Path
    mark: str

    @property
    def pid(self) -> int:
        return self.process.pid

    # What it says

    def status(self) -> Row:
        """The document on the control socket, as soon as there is a monitor that answers."""
        return until(self._answered_status)

    def workers(self) -> list[Row]:
        workers: list[Row] = self.status()["workers"]
        return workers

    def worker_pids(self) -> list[int]:
        """Those of the occupied slots, in the order of the slots."""
        return [worker["pid"] for worker in self.workers() if worker["pid"]]

    def monitor_pid(self) -> int:
        """That of the monitor that answers."""
        pid: int = self.status()["monitor"]["pid"]
        return pid

    def metrics(self) -> dict[str, float]:
        """Value by name and labels, of everything at /metrics."""
        lines = [line.rpartition(" ") for line in self.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def get(self, path: str) -> httpx.Response:
        """Of the server at STATUS_ADDR, as soon as it listens."""
        address = until(lambda: self.status()["metrics_address"])
        return httpx.get(f"http://{address}{path}", trust_env=False, verify=False)

    def order(self, path: str, **body: object) -> httpx.Response:
        """Over the control socket, as soon as there is a monitor that answers."""
        self.status()
        with self._control() as client:
            return client.post(f"http://instance{path}", json=body)

    def log(self) -> list[str]:
        return self.log_path.read_text().splitlines()

    def told(self, what: str) -> list[dict[str, str]]:
        """The details of each log line of this kind, with its time and level."""
        return [_details(line) for line in self.log() if f" {what} " in f"{line} "]

    def instance(self) -> int:
        """The number in the name of the file that the supervisor holds locked."""
        files = [Path(file.path) for file in psutil.Process(self.pid).open_files()]
        return next(int(file.stem, 16) for file in files if file.suffix == ".instance")

    # What is expected of it

    def until_idle(self) -> None:
        """Every worker waits for a job, and the monitor listens for one."""
        until(self._is_idle)

    def until_state(self, state: str) -> None:
        """Ok, degraded, draining or down, as the status has it."""
        until(lambda: self.status()["state"] == state)

    def until_busy(self, activity: str, workers: int = 1) -> list[int]:
        """The pids of the workers in this activity, as soon as there are so many."""
        return until(lambda: found if len(found := self._pids_in(activity)) == workers else [])

    def until_told(self, what: str, times: int = 1) -> list[dict[str, str]]:
        return until(lambda: found if len(found := self.told(what)) >= times else [])

    def until_replaced(self, dead_pids: list[int]) -> None:
        """All slots have a running worker, and none of them is one of these."""
        until(lambda: self._is_full_without(dead_pids))

    def exit_code(self, within_seconds: float = LIMIT_SECONDS) -> int:
        return self.process.wait(within_seconds)

    # What is done to it

    def terminate(self, times: int = 1) -> None:
        """Requests to stop, each only when the one before was heard: signals of one kind do not queue."""
        for number in range(1, times + 1):
            self.process.terminate()
            self.until_told("stop_asked", number)

    def stop(self) -> int:
        """The exit code after one request to stop."""
        self.process.terminate()
        return self.exit_code()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    # Its processes

    def living(self) -> list[psutil.Process]:
        """Everybody with this fleet's mark who is no zombie."""
        return [process for process in psutil.process_iter() if _mark_of(process) == self.mark]

    def children(self) -> list[psutil.Process]:
        """The supervisor's own, zombies included."""
        return psutil.Process(self.pid).children()

    def _answered_status(self) -> Row:
        """Empty while nobody answers."""
        assert self.process.poll() is None, f"the supervisor ended with {self.process.poll()}"
        with suppress(httpx.TransportError, StopIteration), self._control() as client:
            answer: Row = client.get("http://instance/status").json()
            return answer
        return {}

    def _control(self) -> httpx.Client:
        socket = self.runtime_directory / f"{self.instance():08x}.sock"
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(socket), verify=False), trust_env=False)

    def _is_idle(self) -> bool:
        status = self.status()
        return status["queue"]["is_listening"] and {worker["activity"] for worker in status["workers"]} == {"idle"}

    def _is_full_without(self, pids: list[int]) -> bool:
        return all(w["state"] == "running" and w["pid"] not in pids for w in self.workers())

    def _pids_in(self, activity: str) -> list[int]:
        return [worker["pid"] for worker in self.workers() if worker["activity"] == activity]


@contextmanager
def start_fleet(
    environ: Mapping[str, str], directory: Path, stderr: IO[bytes] | int | None = None, wrapper: tuple[str, ...] = ()
) -> Iterator[LiveFleet]:
    """`learning-supervisor start` in `directory`, where there is no .env; at the end it and all of its processes are gone.

    `stderr` takes the log's place where a test wants to read it itself, or not to; `wrapper` is a command that runs ours.
    """
    mark = secrets.token_hex(8)
    log_path = directory / f"{mark}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [*wrapper, PROGRAM, "start"],
            cwd=directory,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT_ROOT), MARK: mark, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log if stderr is None else stderr,
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  the test run may be killed as well
        )
    fleet = LiveFleet(process, Path(environ["RUNTIME_DIRECTORY"]), log_path, mark)
    try:
        yield fleet
    finally:
        sys.stdout.write(log_path.read_text())  # shown where the test fails
        fleet.kill()
        _end_all(fleet)


def kill_all(pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
    """Back to back, as one event."""
    for pid in pids:
        os.kill(pid, number)


def _end_all(fleet: LiveFleet) -> None:
    """The supervisor is dead: whoever is still there after a moment should not be."""
    with suppress(TimeoutError):
        until(lambda: not fleet.living())
    outlived = fleet.living()
    for process in outlived:
        with suppress(psutil.Error):
            process.kill()
    assert not outlived, f"outlived the supervisor: {outlived}"


def _mark_of(process: psutil.Process) -> str | None:
    with suppress(psutil.Error, OSError):
        return process.environ().get(MARK)
    return None


def _details(line: str) -> dict[str, str]:
    at, level, _, *pairs = shlex.split(line)
    return {"at": at, "level": level, **{key: value for key, _, value in (pair.partition("=") for pair in pairs)}}
