"""A supervisor for one test, with waits for its states.

At the end of a test the supervisor is killed. A process that outlives it is killed too, and the test fails.
"""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import IO

import psutil

from testkit.supervisor_process import PROGRAM, PROJECT_ROOT, Row, SupervisorProcess
from testkit.waiting import until

__all__ = ["PROGRAM", "PROJECT_ROOT", "LiveFleet", "Row", "kill_all", "start_fleet"]


@dataclass(frozen=True, slots=True)
class LiveFleet(SupervisorProcess):
    def until_idle(self) -> None:
        """Wait until every worker waits for a job and the monitor listens for notifications."""
        until(self._is_idle)

    def until_state(self, state: str) -> None:
        """Wait for the state ok, degraded, draining or down."""
        until(lambda: self.status()["state"] == state, what=f"state {state}")

    def until_busy(self, activity: str, workers: int = 1) -> list[int]:
        """Wait for this number of workers in the activity, and return their pids."""
        return until(lambda: found if len(found := self._pids_in(activity)) == workers else [], what=f"{workers} in {activity}")

    def until_logged(self, kind: str, times: int = 1) -> list[dict[str, str]]:
        """Wait for this number of log lines of a kind, and return them."""
        return until(lambda: found if len(found := self.logged(kind)) >= times else [], what=f"{times} log lines {kind}")

    def until_replaced(self, dead_pids: list[int]) -> None:
        """Wait until all slots have a running worker that is none of these."""
        until(lambda: all(w["state"] == "running" and w["pid"] not in dead_pids for w in self.workers()))

    def terminate(self, times: int = 1) -> None:
        """Send SIGTERM several times, each after the log confirms the one before, because equal signals are merged."""
        for number in range(1, times + 1):
            self.process.terminate()
            self.until_logged("stop_asked", number)

    def _is_idle(self) -> bool:
        status = self.status()
        return status["queue"]["is_listening"] and {worker["activity"] for worker in status["workers"]} == {"idle"}

    def _pids_in(self, activity: str) -> list[int]:
        return [worker["pid"] for worker in self.workers() if worker["activity"] == activity]


@contextmanager
def start_fleet(
    environ: Mapping[str, str], directory: Path, stderr: IO[bytes] | int | None = None, wrapper: tuple[str, ...] = ()
) -> Iterator[LiveFleet]:
    """Run `learning-supervisor start` for the length of the block. `wrapper` is a command that runs it.

    `stderr` replaces the log.
    """
    log_path = directory / f"{token_hex(8)}.log"
    fleet = LiveFleet.spawn(environ, directory, program=(*wrapper, PROGRAM), log_path=log_path, stderr=stderr)
    try:
        yield fleet
    finally:
        sys.stdout.write(log_path.read_text())  # pytest shows it if the test fails
        fleet.kill()
        _end_all(fleet)


def kill_all(pids: list[int], number: signal.Signals = signal.SIGKILL) -> None:
    """Send the signal to all without a pause."""
    for pid in pids:
        os.kill(pid, number)


def _end_all(fleet: LiveFleet) -> None:
    """Fail if a process is still running after the limit."""
    with suppress(TimeoutError):
        until(lambda: not fleet.living())
    outlived = fleet.living()
    for process in outlived:
        with suppress(psutil.Error):
            process.kill()
    assert not outlived, f"outlived the supervisor: {outlived}"
