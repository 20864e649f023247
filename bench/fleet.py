"""A supervisor as a child process, and what a measurement sees of it: its status, its processes, their stamps."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import psutil

from supervisor.adapters.instance import live_sockets
from testkit.parent_death import die_with
from testkit.waiting import until

PROJECT_ROOT = Path(__file__).resolve().parents[1]

Row = dict[str, Any]
_AT_REST = {"idle": "idle", "vision": "busy", "feedback": "busy"}  # by activity


@dataclass(frozen=True, slots=True)
class Fleet:
    """`stamp_fd` is where each worker says that it runs its first line."""

    process: subprocess.Popen[bytes]
    storage_root: Path
    stamp_fd: int

    @property
    def pid(self) -> int:
        return self.process.pid

    def status(self) -> Row:
        """The document on the control socket, as soon as there is a monitor that answers."""
        return until(self._answered_status)

    def workers(self) -> list[Row]:
        workers: list[Row] = self.status()["workers"]
        return workers

    def completed(self) -> int:
        """Jobs in its life, as the workers count them."""
        return sum(worker["totals"]["completed"] for worker in self.workers())

    def until_at_rest(self, busy: int = 0) -> list[Row]:
        """So many workers ask a model, at least one waits for a job, and none is on its way; the rows of the busy ones."""
        return until(lambda: self._at_rest(busy))[0]

    def worker_pids(self) -> list[int]:
        return [row["pid"] for row in self.workers() if row["pid"]]

    def pids(self) -> list[int]:
        """The supervisor and everything below it."""
        return [self.pid, *(child.pid for child in self.children())]

    def children(self) -> list[psutil.Process]:
        """Everything below it, zombies included."""
        return psutil.Process(self.pid).children(recursive=True)

    def ask(self, method: str, path: str, body: object = None) -> Row:
        """Of its control socket. Raises httpx.HTTPError or StopIteration while nobody answers."""
        transport = httpx.HTTPTransport(uds=str(next(iter(live_sockets(self.storage_root / "run")))), verify=False)
        with httpx.Client(transport=transport, trust_env=False) as client:  # no look at certificates, which costs 30 ms
            answer: Row = client.request(method, f"http://instance{path}", json=body).raise_for_status().json()
            return answer

    def _answered_status(self) -> Row:
        if self.process.poll() is not None:
            raise RuntimeError(f"the supervisor ended with {self.process.returncode}")
        with suppress(httpx.HTTPError, StopIteration):
            return self.ask("GET", "/status")
        return {}

    def _at_rest(self, busy: int) -> list[list[Row]]:
        """The answer in a list, as an empty one is an answer too. A slot that waits for its next start is at rest."""
        status = self.status()
        by_phase: dict[str | None, list[Row]] = {}
        for row in status["workers"]:
            by_phase.setdefault(_AT_REST.get(row["activity"]), []).append(row)
        found, idle = by_phase.get("busy", []), by_phase.get("idle", [])
        on_their_way = [row for row in by_phase.get(None, []) if row["pid"]]
        is_at_rest = status["queue"]["is_listening"] and len(found) == busy and idle and not on_their_way
        return [found] if is_at_rest else []


@contextmanager
def start_fleet(
    workers: int, worker_dsn: str, ollama_url: str = "", what: Literal["works", "exits"] = "works", **settings: str
) -> Iterator[Fleet]:
    """Without an `ollama_url` results are invented. At the end it and its workers are gone."""
    model = {"AI_BACKEND": "local", "OLLAMA_BASE_URL": ollama_url} if ollama_url else {}
    with tempfile.TemporaryDirectory(prefix="bench-") as home, _pipe() as (stamp_fd, write_fd):
        environment = {
            "PYTHONPATH": str(PROJECT_ROOT),
            "LEARNING_DATABASE_URL": worker_dsn,
            "RUNTIME_DIRECTORY": f"{home}/run",
            "STATUS_ADDR": "127.0.0.1:0",
            "STORAGE_VERIFY_ROOT": home,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.stamped_supervisor", str(write_fd), what, "start", "--procs", str(workers)],
            cwd=home,  # where there is no .env
            env=environment | model | settings,
            stderr=subprocess.DEVNULL,
            pass_fds=[write_fd],
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  the measurement may be killed as well
        )
        try:
            yield Fleet(process, Path(home), stamp_fd)
        finally:
            process.kill()
            process.wait()


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    read_fd, write_fd = os.pipe()
    try:
        yield read_fd, write_fd
    finally:
        os.close(read_fd)
        os.close(write_fd)
