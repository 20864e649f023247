"""The environment of single workers in tests: an audited database, the simulator and files."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from testkit.bare_worker import BareWorker, Forker
from testkit.environment import Environment, Value
from testkit.filled_queue import CLEAR
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.submissions import Submission
from testkit.supervisor_process import as_variables
from testkit.waiting import until
from worker.ipc.contract import REFUSAL_COUNTERS, Activity, Counter
from worker.ipc.scoreboard import AdmissionRecord
from worker.queue.dead_leases import ReclaimResult, reclaim_lease

VISION_MODEL, FEEDBACK_MODEL = "qwen2.5vl:3b", "gpt-oss:latest"
UNCOUNTED = {
    Counter.EVENTS_DROPPED,
    Counter.CHECKPOINTS,
    Counter.STEPS_BEGUN,
    Counter.SUBMISSIONS_READ,
    Counter.VISION_ANSWERED,
    Counter.FEEDBACK_ANSWERED,
    Counter.VISION_DIED,
    Counter.FEEDBACK_DIED,
    Counter.USAGE_RECORDED,  # only where the database records it
    Counter.HELD,  # RELEASED counts them too
    *REFUSAL_COUNTERS.values(),  # FAILED_INPUT_… count them too
}
CONNECTED: LiteralString = "select count(*)::int as n from pg_stat_activity where usename = %s"
HELD, WAITED_FOR = True, False
LOCKS: LiteralString = """
    select granted from pg_locks
     where locktype = 'advisory' and pid <> pg_backend_pid()
       and database = (select oid from pg_database where datname = current_database())
"""


@dataclass(frozen=True, slots=True)
class School(Environment):
    """The database has an audit of every result, lease and finish."""

    simulator: SimulatorProcess
    forker: Forker

    def clear(self) -> None:
        """Delete everything, after the workers of the test before have disconnected."""
        until(lambda: self.one(CONNECTED, f"{self.database.name}_worker")["n"] == 0, what="the end of all workers' connections")
        self.owner.execute(CLEAR)
        self.simulator.clear_faults()
        self.simulator.reset_calls()

    @contextmanager
    def worker(self, environ: Mapping[str, str] | None = None, **settings: object) -> Iterator[BareWorker]:
        """Run a worker on this queue. Settings by field name replace those of the school."""
        with self.forker.worker(as_variables({**self.settings(), **settings}), environ or {}) as worker:
            yield worker

    @contextmanager
    def admitted(
        self, admission: AdmissionRecord, environ: Mapping[str, str] | None = None, **settings: object
    ) -> Iterator[BareWorker]:
        """Run a worker for which the monitor's admission record exists before its start."""
        with self.forker.worker(as_variables({**self.settings(), **settings}), environ or {}, admission) as worker:
            yield worker

    def settings(self) -> dict[str, Value]:
        return {**Environment.settings(self), "worker_poll_interval": 0.05, "worker_backoff_seconds": 0}

    def has_job(self, submission_id: UUID) -> bool:
        row = self.one("select exists (select from learning_submission_jobs where submission_id = %s) as it", submission_id)
        return bool(row["it"])

    def is_final(self, *submission_ids: UUID) -> bool:
        """Return True if each submission is completed or failed and only failed jobs are left."""
        states = self.owner.execute("select analysis_status from learning_submissions where id = any(%s)", [list(submission_ids)])
        open_jobs = self.one("select count(*)::int as n from learning_submission_jobs where status <> 'failed'")["n"]
        return {row["analysis_status"] for row in states} <= {"completed", "failed"} and not open_jobs

    def results(self, submission_id: UUID) -> list[str]:
        """Return the status of every result that was written for it."""
        rows = self.owner.execute(
            "select new_status from audit_results where submission_id = %s order by number", [submission_id]
        )
        return [row["new_status"] for row in rows]

    def leases(self, submission_id: UUID) -> list[UUID]:
        """Return the keys of all leases of its job."""
        rows = self.owner.execute("select lease_key from audit_leases where submission_id = %s order by number", [submission_id])
        return [row["lease_key"] for row in rows]

    def calls(self, model: str) -> int:
        """Count the calls to a model."""
        return sum(call["model"] == model for call in self.simulator.calls())

    def is_called(self, model: str) -> bool:
        """Return True while a call to the model is running."""
        return bool(self.simulator.state()["models"][model]["running"])

    def permits(self) -> list[bool]:
        """Return the permits that workers hold (HELD) or wait for (WAITED_FOR)."""
        return [row["granted"] for row in self.owner.execute(LOCKS)]

    @contextmanager
    def place_taken(self, model: str, submission: Submission) -> Iterator[BareWorker]:
        """Let another worker hang in a model's only slot, with a submission of its own, until it is killed."""
        self.simulator.fault("hang", model=model)
        self.enter(submission)
        with self.worker() as holder:
            until(lambda: self.is_called(model))
            yield holder

    def reclaim_lease(self, worker: BareWorker, max_crashes: int | None = 2) -> ReclaimResult:
        """Reclaim the lease of a dead worker from its scoreboard record, as the monitor does."""
        return asyncio.run(self._reclaim_lease(worker, max_crashes))

    async def _reclaim_lease(self, worker: BareWorker, max_crashes: int | None) -> ReclaimResult:
        record = worker.record()
        assert record.lease_key is not None
        monitor: Any = await psycopg.AsyncConnection.connect(self.database.worker_dsn, autocommit=True, row_factory=dict_row)
        async with monitor:
            return await reclaim_lease(monitor, record.job_id, record.lease_key, max_crashes=max_crashes)


def counted(worker: BareWorker) -> dict[Counter, int]:
    """Return the slot's totals that are not zero, without those that are evidence or depend on the machine's speed."""
    counters = worker.record().counters
    return {counter: counters[counter] for counter in Counter if counters[counter] and counter not in UNCOUNTED}


def is_idle(worker: BareWorker) -> bool:
    return worker.record().activity == Activity.IDLE


def enter_one(school: School, submission: Submission) -> UUID:
    (entered,) = school.enter(submission)
    return entered


def finish(school: School, submission_id: UUID, **settings: str | float) -> dict[Counter, int]:
    """Run a worker until this submission is final, and return the worker's totals."""
    with school.worker(None, **settings) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        return counted(worker)
