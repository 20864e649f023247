"""All that a worker works for: a database with submissions as the platform enters them, their files, and a model server."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import DictRow, dict_row

from testkit.database import Database
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.submissions import Submission, enter_all
from testkit.waiting import until
from tests.process.bare_worker import BareWorker, Forker
from worker.ipc.contract import Activity, Counter
from worker.ipc.scoreboard import AdmissionRecord
from worker.queue.connection import Connection
from worker.queue.dead_leases import ReclaimResult, return_lease

VISION_MODEL, FEEDBACK_MODEL = "qwen2.5vl:3b", "gpt-oss:latest"
CONNECTED: LiteralString = "select count(*)::int as n from pg_stat_activity where usename = %s"
HELD, WAITED_FOR = True, False
LOCKS: LiteralString = """
    select granted from pg_locks
     where locktype = 'advisory' and pid <> pg_backend_pid()
       and database = (select oid from pg_database where datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class School:
    """The owner's view of it: sees every row, and an audit of every result, lease and finish."""

    database: Database
    owner: Connection
    forker: Forker
    simulator: SimulatorProcess
    storage_root: Path

    def clear(self) -> None:
        """As on the first day; waits until no worker of an earlier day is connected."""
        until(lambda: self.one(CONNECTED, f"{self.database.name}_worker")["n"] == 0, what="the end of all connections of workers")
        self.owner.execute("truncate learning_submissions, learning_submission_jobs, audit_results, audit_leases, audit_finishes")
        self.simulator.clear_faults()
        self.simulator.reset_calls()

    def enter(self, *submissions: Submission) -> tuple[UUID, ...]:
        """Their ids, in order."""
        with psycopg.connect(self.database.admin_dsn, autocommit=True) as platform:
            return enter_all(platform, submissions, storage_root=self.storage_root)

    @contextmanager
    def worker(self, environ: Mapping[str, str] | None = None, **settings: object) -> Iterator[BareWorker]:
        """A worker on this school's queue. Settings by their field's name; a changed one wins."""
        with self.forker.worker(self._variables(settings), environ or {}) as worker:
            yield worker

    @contextmanager
    def admitted(self, admission: AdmissionRecord, **settings: object) -> Iterator[BareWorker]:
        """The same where the monitor has written before the worker starts."""
        with self.forker.worker(self._variables(settings), {}, admission) as worker:
            yield worker

    def _variables(self, settings: Mapping[str, object]) -> dict[str, str]:
        values = {
            "learning_database_url": self.database.worker_dsn,
            "ai_backend": "local",
            "ollama_base_url": self.simulator.url,
            "storage_verify_root": str(self.storage_root),
            "worker_poll_interval": 0.05,
            "worker_backoff_seconds": 0,
            **settings,
        }
        return {name.upper(): str(value) for name, value in values.items()}

    def row(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submissions where id = %s", submission_id)

    def job(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submission_jobs where submission_id = %s", submission_id)

    def has_job(self, submission_id: UUID) -> bool:
        row = self.one("select exists (select from learning_submission_jobs where submission_id = %s) as it", submission_id)
        return bool(row["it"])

    def change_job(self, change: LiteralString, submission_id: UUID, *values: object) -> None:
        self.owner.execute(
            "update learning_submission_jobs set " + change + " where submission_id = %s", [*values, submission_id]
        )

    def one(self, query: LiteralString, *values: object) -> DictRow:
        row = self.owner.execute(query, values).fetchone()
        assert row is not None
        return row

    def is_final(self, *submission_ids: UUID) -> bool:
        """Whether each submission has its end, and each job with it."""
        states = self.owner.execute("select analysis_status from learning_submissions where id = any(%s)", [list(submission_ids)])
        open_jobs = self.one("select count(*)::int as n from learning_submission_jobs where status <> 'failed'")["n"]
        return {row["analysis_status"] for row in states} <= {"completed", "failed"} and not open_jobs

    def results(self, submission_id: UUID) -> list[str]:
        """The status of every result that was written for it, were it the same one twice."""
        rows = self.owner.execute(
            "select new_status from audit_results where submission_id = %s order by number", [submission_id]
        )
        return [row["new_status"] for row in rows]

    def leases(self, submission_id: UUID) -> list[UUID]:
        """The key of every lease its job has had."""
        rows = self.owner.execute("select lease_key from audit_leases where submission_id = %s order by number", [submission_id])
        return [row["lease_key"] for row in rows]

    def calls(self, model: str) -> int:
        """How often a model was asked."""
        return sum(call["model"] == model for call in self.simulator.calls())

    def is_asked(self, model: str) -> bool:
        """Whether a call is under way."""
        return bool(self.simulator.state()["models"][model]["running"])

    def permits(self) -> list[bool]:
        """What workers hold (HELD) and wait for (WAITED_FOR)."""
        return [row["granted"] for row in self.owner.execute(LOCKS)]

    @contextmanager
    def place_taken(self, model: str, submission: Submission) -> Iterator[BareWorker]:
        """Another worker, busy with a submission of its own, hangs in a model's only place until it is killed."""
        self.simulator.fault("hang", model=model)
        self.enter(submission)
        with self.worker() as holder:
            until(lambda: self.is_asked(model))
            yield holder

    def return_lease(self, worker: BareWorker, max_crashes: int | None = 2) -> ReclaimResult:
        """What the monitor does for a dead worker, from what stands on the scoreboard."""
        return asyncio.run(self._return_lease(worker, max_crashes))

    async def _return_lease(self, worker: BareWorker, max_crashes: int | None) -> ReclaimResult:
        record = worker.record()
        assert record.lease_key is not None
        monitor: Any = await psycopg.AsyncConnection.connect(self.database.worker_dsn, autocommit=True, row_factory=dict_row)
        async with monitor:
            return await return_lease(monitor, record.job_id, record.lease_key, max_crashes=max_crashes)


def counted(worker: BareWorker) -> dict[Counter, int]:
    """The slot's totals that are not zero, without what depends on the speed of the machine."""
    counters = worker.record().counters
    return {counter: counters[counter] for counter in Counter if counters[counter] and counter is not Counter.EVENTS_DROPPED}


def is_idle(worker: BareWorker) -> bool:
    return worker.record().activity == Activity.IDLE


def enter_one(school: School, submission: Submission) -> UUID:
    (entered,) = school.enter(submission)
    return entered


def finish(school: School, submission_id: UUID, **settings: str | float) -> dict[Counter, int]:
    """A worker that brings this one submission to its end, and what it counted."""
    with school.worker(None, **settings) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        return counted(worker)
