"""Where fleets work: a database that sees every write, files, a model server, and submissions as the platform enters them."""

import functools
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from testkit.database import Database
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.submissions import Submission, demo_submissions, enter_all, text_submissions
from testkit.waiting import until
from tests.process.fleet import LiveFleet, start_fleet

VISION_MODEL, FEEDBACK_MODEL = "qwen2.5vl:3b", "gpt-oss:latest"
PARALLEL = 8
Value = str | float | Path
TERMINATE_OTHERS: LiteralString = """
    select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
"""


@dataclass(frozen=True, slots=True)
class Site:
    """The owner's view of it. Fleets started here end with it."""

    database: Database
    owner: psycopg.Connection[DictRow]
    simulator: SimulatorProcess
    directory: Path
    undo: ExitStack

    def start(self, *, stderr: IO[bytes] | int | None = None, wrapper: tuple[str, ...] = (), **settings: Value) -> LiveFleet:
        """A supervisor whose settings are given by their field's name, in place of those that lead to this site."""
        return self.start_with(settings, stderr, wrapper)

    def start_with(
        self, settings: Mapping[str, Value], stderr: IO[bytes] | int | None = None, wrapper: tuple[str, ...] = ()
    ) -> LiveFleet:
        """The same with settings that a test has put together."""
        values = self.settings() | dict(settings)
        environ = {name.upper(): str(value) for name, value in values.items()}
        return self.undo.enter_context(start_fleet(environ, self.directory, stderr, wrapper))

    def settings(self) -> dict[str, Value]:
        return {
            "learning_database_url": self.database.worker_dsn,
            "ai_backend": "local",
            "ollama_base_url": self.simulator.url,
            "ollama_num_parallel": PARALLEL,
            "storage_verify_root": self.directory,
            "runtime_directory": self.directory / "run",
            "status_addr": "127.0.0.1:0",
        }

    # What comes in

    def enter(self, *submissions: Submission) -> list[UUID]:
        """Their ids, in order."""
        with psycopg.connect(self.database.admin_dsn, autocommit=True) as platform:
            return list(enter_all(platform, submissions, storage_root=self.directory))

    def enter_texts(self, count: int) -> list[UUID]:
        return self.enter(*text_submissions(count, seed=1))

    def enter_text(self, content: str = "two plus two is four") -> UUID:
        (submission_id,) = self.enter(*(replace(each, content=content) for each in text_submissions(1, seed=1)))
        return submission_id

    def enter_photos(self, count: int = 1) -> list[UUID]:
        """One and the same photo, handed in by so many pupils."""
        return self.enter(*(photo() for _ in range(count)))

    def delay(self, submission_id: UUID, seconds: float) -> datetime:
        """Its job is not to be taken before the time that is returned; the platform tells of it as of any change."""
        query: LiteralString = """
            update learning_submission_jobs set visible_at = clock_timestamp() + make_interval(secs => %s)
            where submission_id = %s returning visible_at, pg_notify('learning_submissions', submission_id::text)
        """
        visible_at: datetime = self.one(query, seconds, submission_id)["visible_at"]
        return visible_at

    # What became of it

    def submission(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submissions where id = %s", submission_id)

    def job(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submission_jobs where submission_id = %s", submission_id)

    def jobs(self) -> list[DictRow]:
        return self.all("select * from learning_submission_jobs order by id")

    def leases(self, *submission_ids: UUID) -> list[DictRow]:
        """Every lease that the submissions' jobs have had, in order."""
        return self.all("select * from audit_leases where submission_id = any(%s) order by number", list(submission_ids))

    def results(self) -> list[UUID]:
        """The submission of every result that was written, were it the same one twice."""
        return sorted(row["submission_id"] for row in self.all("select submission_id from audit_results"))

    def until_done(self, submission_ids: list[UUID]) -> None:
        """Each is completed or failed, and none of their jobs is left but as failed."""
        until(lambda: self._is_done(submission_ids))

    def until_done_once(self, submission_ids: list[UUID]) -> None:
        """And one result was written for each, and for no other."""
        self.until_done(submission_ids)
        assert self.results() == sorted(submission_ids)

    def until_in_call(self, fleet: LiveFleet, model: str, workers: int = 1) -> list[int]:
        """The pids of the workers to whose calls the model is about to answer, as soon as there are so many.

        A worker that is killed before would leave the ordered fault to the next one.
        """
        until(lambda: self.simulator.state()["models"][model]["running"] == workers)
        return fleet.until_busy("vision" if model == VISION_MODEL else "feedback", workers)

    def until_somebody_waits_for_a_lock(self) -> None:
        """A statement has arrived in this database, and a lock keeps it there."""
        query: LiteralString = """
            select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') as it
        """
        until(lambda: self.one(query)["it"])

    def vision_calls(self) -> int:
        return sum(call["has_image"] for call in self.simulator.calls())

    # What happens to it

    def cut_connections(self) -> None:
        self.owner.execute(TERMINATE_OTHERS)

    def shut_out(self) -> None:
        """The worker's role loses its connections and gets no other, which is an outage to all that use it."""
        self._alter_role("nologin")
        self.cut_connections()

    def let_in(self) -> None:
        self._alter_role("login")

    def all(self, query: LiteralString, *values: Any) -> list[DictRow]:
        return self.owner.execute(query, values).fetchall()

    def one(self, query: LiteralString, *values: Any) -> DictRow:
        (row,) = self.all(query, *values)
        return row

    def _alter_role(self, change: LiteralString) -> None:
        role = sql.Identifier(f"{self.database.name}_worker")
        self.owner.execute(sql.SQL("alter role {} " + change).format(role))

    def _is_done(self, submission_ids: list[UUID]) -> bool:
        states = self.all("select analysis_status from learning_submissions where id = any(%s)", submission_ids)
        jobs = self.all(
            "select from learning_submission_jobs where submission_id = any(%s) and status <> 'failed'", submission_ids
        )
        return not jobs and {row["analysis_status"] for row in states} <= {"completed", "failed"}


@functools.cache
def everything() -> tuple[Submission, ...]:
    """The demo's class; drawing its pages takes a second."""
    return demo_submissions()


def photo() -> Submission:
    return next(each for each in everything() if each.mime_type == "image/png")


@contextmanager
def open_site(database: Database, simulator: SimulatorProcess) -> Iterator[Site]:
    """With no fault ordered at the simulator and no call on record. The directory's name is short: sockets lie in there."""
    simulator.clear_faults()
    simulator.reset_calls()
    with (
        tempfile.TemporaryDirectory(prefix="site-") as directory,
        psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row) as owner,
        ExitStack() as undo,
    ):
        yield Site(database, owner, simulator, Path(directory), undo)
