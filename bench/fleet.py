"""A supervisor for a measurement. Each of its workers writes a stamp when it runs its first line."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from testkit.supervisor_process import PROJECT_ROOT, Row, SupervisorProcess
from testkit.waiting import until

__all__ = ["PROJECT_ROOT", "Fleet", "Row", "start_fleet"]

_BUSY = {"vision", "feedback"}


@dataclass(frozen=True, slots=True)
class Fleet(SupervisorProcess):
    """The workers' stamps are read from `stamp_fd`."""

    storage_root: Path = Path()
    stamp_fd: int = -1

    def completed(self) -> int:
        """Return the completed jobs since the start, from the workers' totals."""
        return sum(worker["totals"]["completed"] for worker in self.workers())

    def until_at_rest(self, busy: int = 0) -> list[Row]:
        """Wait until `busy` workers are in a model call, at least one is idle, and no other is running. Return the busy ones."""
        return until(lambda: self._at_rest(busy), what=f"{busy} busy workers, the others idle")[0]

    def pids(self) -> list[int]:
        """Return the pids of the supervisor and all its descendants."""
        return [self.pid, *(child.pid for child in self.children(recursive=True))]

    def _at_rest(self, busy: int) -> list[list[Row]]:
        """Return the busy workers in a list, empty if the fleet is not at rest. A slot that waits for its start is at rest."""
        status = self.status()
        busy_rows = [row for row in status["workers"] if row["activity"] in _BUSY]
        idle = [row for row in status["workers"] if row["activity"] == "idle"]
        other = [row for row in status["workers"] if row["activity"] not in {*_BUSY, "idle"} and row["pid"]]
        is_at_rest = status["queue"]["is_listening"] and len(busy_rows) == busy and idle and not other
        return [busy_rows] if is_at_rest else []


@contextmanager
def start_fleet(workers: int, worker_dsn: str, ollama_url: str = "", **settings: str) -> Iterator[Fleet]:
    """Run a fleet for the length of the block. Without an `ollama_url` the workers invent results."""
    model = {"AI_BACKEND": "local", "OLLAMA_BASE_URL": ollama_url} if ollama_url else {"AI_BACKEND": "stub"}
    with tempfile.TemporaryDirectory(prefix="bench-") as home, _pipe() as (stamp_fd, write_fd):
        environ = {
            "LEARNING_DATABASE_URL": worker_dsn,
            "RUNTIME_DIRECTORY": f"{home}/run",
            "STATUS_ADDR": "127.0.0.1:0",
            "STORAGE_VERIFY_ROOT": home,
        }
        spawned = Fleet.spawn(
            environ | model | settings,
            Path(home),
            program=(sys.executable, "-m", "bench.stamped_supervisor", str(write_fd)),
            arguments=("start", "--procs", str(workers)),
            pass_fds=[write_fd],
        )
        fleet = replace(spawned, storage_root=Path(home), stamp_fd=stamp_fd)
        try:
            yield fleet
        finally:
            fleet.kill()


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    try:
        yield read_fd, write_fd
    finally:
        os.close(read_fd)
        os.close(write_fd)
