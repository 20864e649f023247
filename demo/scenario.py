"""The demo: enter submissions, start a supervisor, kill a worker during a vision call, wait for the results, drain."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.live import Live

from demo import view
from demo.environment import DemoEnvironment, set_up
from testkit.database import Year
from testkit.readers import faults_of_results
from testkit.results import SubmissionResult, read_results, summary
from testkit.submissions import Submission, demo_submissions
from testkit.supervisor_process import SupervisorProcess

SIMULATED_SECONDS, REAL_SECONDS = 60.0, 1800.0
PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Victim:
    """The killed worker and the pid of its replacement."""

    slot: int = -1
    pid: int = 0
    replaced_by: int = 0

    def kill_worker(self, workers: list[dict[str, Any]]) -> None:
        """Send SIGKILL to the first worker in a vision call. Later, note the pid of its replacement."""
        for worker in workers:
            if not self.pid and worker["activity"] == "vision" and worker["job_id"] and worker["pid"]:
                self.slot, self.pid = worker["slot"], worker["pid"]
                os.kill(self.pid, signal.SIGKILL)  # a child of the demo's own supervisor
            elif worker["slot"] == self.slot and worker["pid"] not in {self.pid, None} and worker["state"] == "running":
                self.replaced_by = worker["pid"]


@dataclass(slots=True)
class DemoRun:
    environment: DemoEnvironment
    supervisor: SupervisorProcess
    submissions: tuple[Submission, ...]
    ids: list[UUID]
    victim: Victim = field(default_factory=Victim)
    status: dict[str, Any] = field(default_factory=dict)
    results: list[SubmissionResult] = field(default_factory=list)

    def update(self) -> None:
        """Read status and results, and kill the worker as soon as possible."""
        self.status = self.supervisor.current_status()
        self.victim.kill_worker(self.status.get("workers", []))
        self.update_results()

    def drain(self) -> int:
        """Drain the supervisor, read the results, and return the exit code."""
        exit_code = self.supervisor.drain()
        self.update_results()
        return exit_code

    def update_results(self) -> None:
        self.results = read_results(self.environment.owner, self.ids)

    @property
    def unreadable(self) -> list[str]:
        """Faults of the demo's results, by the rules of the platform's readers."""
        return [fault for submission_id, fault in faults_of_results(self.environment.owner) if submission_id in self.ids]

    @property
    def is_over(self) -> bool:
        return bool(self.results) and all(result.is_final for result in self.results) and bool(self.victim.replaced_by)

    @property
    def is_as_expected(self) -> bool:
        """Each submission has exactly one result, with the expected status and error code, that readers can show."""
        return not self.unreadable and all(
            (result.status, result.error_code, result.times_written)
            == (submission.expected_status, submission.expected_error_code, 1)
            for submission, result in zip(self.submissions, self.results, strict=True)
        )


def run(console: Console, *, keeps: bool, year: Year) -> int:
    """Return 0 only if all results are as expected and the killed worker was replaced."""
    began_at_seconds = time.monotonic()
    with _started(console, year) as demo_run:
        _watch(demo_run, console)
        if keeps:
            _keep(demo_run, console)
        exit_code = demo_run.drain()
        replaced = int(bool(demo_run.victim.pid and demo_run.victim.replaced_by))
        console.print(view.results_table(demo_run.submissions, demo_run.results, demo_run.victim.pid))
        console.print(view.one_feedback(demo_run.submissions, demo_run.results))
        is_right = exit_code == 0 and bool(replaced) and demo_run.is_as_expected
        for fault in demo_run.unreadable:
            console.print(f"a result that the platform's readers show wrongly: {fault}", style="bold red")
        if not is_right:
            console.print(view.failure(demo_run.supervisor.log(), exit_code))
        console.print(f"drained with exit code {exit_code}, {time.monotonic() - began_at_seconds:.1f} s in all", style="dim")
        console.print(summary(demo_run.results, killed_and_replaced=replaced), soft_wrap=True, highlight=False)
    return 0 if is_right else 1


@contextmanager
def _started(console: Console, year: Year) -> Iterator[DemoRun]:
    with console.status("starting a database and a model server"), set_up(year) as environment:
        submissions = demo_submissions()
        ids = environment.enter(*submissions)
        with environment.supervisor() as supervisor:
            yield DemoRun(environment, supervisor, submissions, ids)


def _watch(demo_run: DemoRun, console: Console) -> None:
    """Show the progress until all results are there, the supervisor ends or the time is over."""
    deadline = time.monotonic() + (SIMULATED_SECONDS if demo_run.environment.is_simulated else REAL_SECONDS)
    with Live(console=console, refresh_per_second=8) as live:
        while not demo_run.is_over and demo_run.supervisor.process.poll() is None and time.monotonic() < deadline:
            demo_run.update()
            live.update(view.progress(demo_run.submissions, demo_run.results, demo_run.status, demo_run.victim.pid))
            time.sleep(PAUSE_SECONDS)


def _keep(demo_run: DemoRun, console: Console) -> None:
    """Keep everything running until Ctrl-C."""
    addresses = view.addresses(demo_run.environment, demo_run.supervisor, demo_run.status)
    console.print(addresses, soft_wrap=True, markup=False)
    try:
        demo_run.supervisor.process.wait()
    except KeyboardInterrupt:
        console.print("stopping")
