"""The environment of fleets in tests: an audited database, the simulator, files, and the fleets that a test starts."""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from testkit.database import Database
from testkit.environment import Environment, Value
from testkit.live_fleet import LiveFleet, start_fleet
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.submissions import Submission, demo_submissions, text_submissions
from testkit.supervisor_process import as_variables
from testkit.waiting import until

__all__ = [
    "FEEDBACK_MODEL",
    "LONGEST_CALL_SECONDS",
    "PARALLEL",
    "VISION_MODEL",
    "Site",
    "Value",
    "everything",
    "open_site",
    "photo",
]

VISION_MODEL, FEEDBACK_MODEL = "qwen2.5vl:3b", "gpt-oss:latest"
PARALLEL = 8
LONGEST_CALL_SECONDS = 300  # of a model: a call that hangs for a test is not to end by its timeout under load
TERMINATE_OTHERS: LiteralString = """
    select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""
IS_LOCK_AWAITED: LiteralString = """
    select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') as it
"""


@dataclass(frozen=True, slots=True)
class Site(Environment):
    """Fleets that are started here end with the site."""

    simulator: SimulatorProcess
    undo: ExitStack

    def start(self, *, stderr: IO[bytes] | int | None = None, wrapper: tuple[str, ...] = (), **settings: Value) -> LiveFleet:
        """Start a supervisor. Settings by field name replace those of the site."""
        return self.start_with(settings, stderr, wrapper)

    def start_with(
        self, settings: Mapping[str, Value], stderr: IO[bytes] | int | None = None, wrapper: tuple[str, ...] = ()
    ) -> LiveFleet:
        environ = as_variables(self.settings() | dict(settings))
        return self.undo.enter_context(start_fleet(environ, self.directory, stderr, wrapper))

    def settings(self) -> dict[str, Value]:
        return {**Environment.settings(self), "ollama_num_parallel": PARALLEL}

    # Submissions

    def enter_texts(self, count: int) -> list[UUID]:
        return self.enter(*text_submissions(count, seed=1))

    def enter_text(self, content: str = "two plus two is four") -> UUID:
        (submission_id,) = self.enter(*(replace(each, content=content) for each in text_submissions(1, seed=1)))
        return submission_id

    def enter_photos(self, count: int = 1) -> list[UUID]:
        """Enter the same photo for several pupils."""
        return self.enter(*(photo() for _ in range(count)))

    def delay(self, submission_id: UUID, seconds: float) -> datetime:
        """Delay its job and notify, as the platform does. Return the time from which it may be leased."""
        query: LiteralString = """
            update learning_submission_jobs set visible_at = clock_timestamp() + make_interval(secs => %s)
            where submission_id = %s returning visible_at, pg_notify('learning_submissions', submission_id::text)
        """
        visible_at: datetime = self.one(query, seconds, submission_id)["visible_at"]
        return visible_at

    # Results

    def jobs(self) -> list[DictRow]:
        return self.all("select * from learning_submission_jobs order by id")

    def leases(self, *submission_ids: UUID) -> list[DictRow]:
        """Return all leases of the submissions' jobs, in order."""
        return self.all("select * from audit_leases where submission_id = any(%s) order by number", list(submission_ids))

    def results(self) -> list[UUID]:
        """Return the submission of every written result. A result that is written twice counts twice."""
        return sorted(row["submission_id"] for row in self.all("select submission_id from audit_results"))

    def until_done(self, submission_ids: list[UUID]) -> None:
        """Wait until each submission is completed or failed and only failed jobs of them are left."""
        until(lambda: self.is_done(submission_ids))

    def until_done_once(self, submission_ids: list[UUID]) -> None:
        """Wait for the end, and check that each submission and no other has exactly one result."""
        self.until_done(submission_ids)
        assert self.results() == sorted(submission_ids)

    def until_in_call(self, fleet: LiveFleet, model: str, workers: int = 1) -> list[int]:
        """Wait until this number of workers has a running call to the model, and return their pids.

        A worker that is killed before its call would leave the simulator's fault to the next worker.
        """
        until(lambda: self.simulator.state()["models"][model]["running"] == workers)
        return fleet.until_busy("vision" if model == VISION_MODEL else "feedback", workers)

    def until_a_statement_waits_for_a_lock(self) -> None:
        """Wait until a statement in this database waits for a lock."""
        until(lambda: self.one(IS_LOCK_AWAITED)["it"])

    def vision_calls(self) -> int:
        return sum(call["has_image"] for call in self.simulator.calls())

    # Outages

    def cut_connections(self) -> None:
        self.owner.execute(TERMINATE_OTHERS)

    def shut_out(self) -> None:
        """End the worker role's connections and allow no new ones, which is an outage for the fleet."""
        self.refuse_logins()
        self.cut_connections()

    def refuse_logins(self) -> None:
        """Allow the worker role no new connections. The open ones stay."""
        self._alter_role("nologin")

    def let_in(self) -> None:
        self._alter_role("login")

    def _alter_role(self, change: LiteralString) -> None:
        role = sql.Identifier(f"{self.database.name}_worker")
        self.owner.execute(sql.SQL("alter role {} " + change).format(role))

    def is_done(self, submission_ids: list[UUID]) -> bool:
        states = self.all("select analysis_status from learning_submissions where id = any(%s)", submission_ids)
        jobs = self.all(
            "select from learning_submission_jobs where submission_id = any(%s) and status <> 'failed'", submission_ids
        )
        return not jobs and {row["analysis_status"] for row in states} <= {"completed", "failed"}


@functools.cache
def everything() -> tuple[Submission, ...]:
    """Return the demo's submissions. Drawing their pages takes a second."""
    return demo_submissions()


def photo() -> Submission:
    return next(each for each in everything() if each.mime_type == "image/png")


@contextmanager
def open_site(database: Database, simulator: SimulatorProcess) -> Iterator[Site]:
    """Open a site. The simulator's faults and its log of calls are cleared."""
    simulator.clear_faults()
    simulator.reset_calls()
    with (
        tempfile.TemporaryDirectory(prefix="site-") as directory,
        psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row) as owner,
        ExitStack() as undo,
    ):
        yield Site(database, owner, simulator.url, Path(directory), simulator, undo)
