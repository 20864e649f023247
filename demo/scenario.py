"""The demo_run itself: hand in, start, kill a worker in the middle of reading a page, watch, drain, account."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from rich.console import Console
from rich.live import Live

from demo import view
from supervisor.cli.status import documents
from testkit.environment import DemoEnvironment, drain, set_up, supervisor
from testkit.results import SubmissionResult, read_results, summary
from testkit.submissions import Submission, demo_submissions, enter_all

SIMULATED_SECONDS, REAL_SECONDS = 60.0, 1800.0
LOOK_AGAIN_SECONDS = 0.05


@dataclass(slots=True)
class Victim:
    """The worker that is killed: its pid, and the pid of who came in its place."""

    slot: int = -1
    pid: int = 0
    replaced_by: int = 0

    def kill_worker(self, workers: list[dict[str, Any]]) -> None:
        """SIGKILL to the first worker that is seen with a page before the model; afterwards looks for its replacement."""
        for worker in workers:
            if not self.pid and worker["activity"] == "vision" and worker["job_id"] and worker["pid"]:
                self.slot, self.pid = worker["slot"], worker["pid"]
                os.kill(self.pid, signal.SIGKILL)  # a process that this demo's own supervisor started
            elif worker["slot"] == self.slot and worker["pid"] not in {self.pid, None} and worker["state"] == "running":
                self.replaced_by = worker["pid"]


@dataclass(slots=True)
class DemoRun:
    """What is known while it runs."""

    environment: DemoEnvironment
    connection: psycopg.Connection[Any]
    submissions: tuple[Submission, ...]
    ids: tuple[UUID, ...]
    victim: Victim = field(default_factory=Victim)
    status: dict[str, Any] = field(default_factory=dict)
    results: list[SubmissionResult] = field(default_factory=list)

    def look(self) -> None:
        found = documents(self.environment.runtime_directory)
        self.status = found[0] if found else {}
        self.victim.kill_worker(self.status.get("workers", []))
        self.results = read_results(self.connection, self.ids)

    @property
    def is_over(self) -> bool:
        return bool(self.results) and all(result.is_final for result in self.results) and bool(self.victim.replaced_by)


def run(console: Console, *, keeps: bool) -> int:
    """0 only if every submission ended as it must and the killed worker was replaced."""
    began_at_seconds = time.monotonic()
    with _prepared(console) as demo_run, supervisor(demo_run.environment) as process:
        _watch(demo_run, process, console)
        if keeps:
            _keep(demo_run, process, console)
        exit_code = drain(process)
        demo_run.results = read_results(demo_run.connection, demo_run.ids)
        replaced = int(bool(demo_run.victim.pid and demo_run.victim.replaced_by))
        console.print(view.account_table(demo_run.submissions, demo_run.results, demo_run.victim.pid))
        console.print(view.one_feedback(demo_run.submissions, demo_run.results))
        is_right = exit_code == 0 and bool(replaced) and _ended_as_expected(demo_run)
        if not is_right:
            console.print(view.failure(demo_run.environment.log, exit_code))
        console.print(f"drained with exit code {exit_code}; {time.monotonic() - began_at_seconds:.1f} s in all", style="dim")
        console.print(summary(demo_run.results, killed_and_replaced=replaced), soft_wrap=True, highlight=False)
    return 0 if is_right else 1


@contextmanager
def _prepared(console: Console) -> Iterator[DemoRun]:
    with console.status("starting a database and a model server"), set_up() as environment:
        submissions = demo_submissions()
        with psycopg.connect(environment.database.admin_dsn, autocommit=True) as connection:
            ids = enter_all(connection, submissions, storage_root=environment.storage_root)
            yield DemoRun(environment, connection, submissions, ids)


def _watch(demo_run: DemoRun, process: subprocess.Popen[bytes], console: Console) -> None:
    until_seconds = time.monotonic() + (SIMULATED_SECONDS if demo_run.environment.is_simulated else REAL_SECONDS)
    with Live(console=console, refresh_per_second=8) as live:
        while not demo_run.is_over and process.poll() is None and time.monotonic() < until_seconds:
            demo_run.look()
            live.update(view.progress(demo_run.submissions, demo_run.results, demo_run.status, demo_run.victim.pid))
            time.sleep(LOOK_AGAIN_SECONDS)


def _keep(demo_run: DemoRun, process: subprocess.Popen[bytes], console: Console) -> None:
    """Everything goes on until Ctrl-C."""
    console.print(view.where_to_look(demo_run.environment, process.pid, demo_run.status), soft_wrap=True, markup=False)
    try:
        process.wait()
    except KeyboardInterrupt:
        console.print("stopping")


def _ended_as_expected(demo_run: DemoRun) -> bool:
    return all(
        result.status == submission.expected_status
        and result.error_code == submission.expected_error_code
        and result.times_written == 1
        for submission, result in zip(demo_run.submissions, demo_run.results, strict=True)
    )
