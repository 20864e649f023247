"""A queue for tests. The owner fills it and sees everything. The worker has a worker's rights."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import DictRow, dict_row

from testkit.database import Database
from worker.queue.connection import Connection, connect

STUDENT = "student-1"
INSERT_SUBMISSION: LiteralString = """
    insert into learning_submissions (course_id, task_id, student_sub, kind, text_body, storage_key, mime_type, size_bytes,
        sha256, attempt_nr, analysis_status)
    values (gen_random_uuid(), gen_random_uuid(), %(student_sub)s, %(kind)s, %(text_body)s, %(storage_key)s, %(mime_type)s,
        %(size_bytes)s, %(sha256)s, 1, %(analysis_status)s)
    returning id
"""
INSERT_JOB: LiteralString = """
    insert into learning_submission_jobs (submission_id, payload, status, retry_count, visible_at, lease_key, leased_until)
    values (%(submission_id)s, %(payload)s::jsonb, %(status)s, %(retry_count)s,
        now() + make_interval(secs => %(visible_in_seconds)s), %(lease_key)s,
        now() + make_interval(secs => %(leased_for_seconds)s))
    returning id
"""
EVERYTHING: LiteralString = """
    select to_jsonb(job) as row from learning_submission_jobs job
    union all select to_jsonb(submission) from learning_submissions submission
    order by row
"""
# `cascade` empties the tables of 2026 that name a submission
CLEAR: LiteralString = """
    truncate learning_submissions, learning_submission_jobs, audit_results, audit_leases, audit_finishes cascade
"""


@dataclass(frozen=True, slots=True)
class Entered:
    """Ids of a submission and its job, and the key of the job's lease if it has one."""

    job_id: UUID
    submission_id: UUID
    lease_key: UUID | None


@dataclass(frozen=True, slots=True)
class FilledQueue:
    """Connections of the owner and of a worker to an audited database, which records every result, a second one too."""

    database: Database
    owner: Connection
    worker: Connection

    def enter(
        self,
        *,
        kind: str = "text",
        analysis_status: str = "pending",
        payload: Mapping[str, object] | str | None = None,
        status: str = "queued",
        retry_count: int = 0,
        visible_in_seconds: float = 0.0,
        leased_for_seconds: float | None = None,
    ) -> Entered:
        """Insert a submission with its job. `payload` adds to the platform's keys, a str replaces them. Seconds can be < 0."""
        row = {"student_sub": STUDENT, "kind": kind, "analysis_status": analysis_status, **_content(kind)}
        submission_id: UUID = self.one(INSERT_SUBMISSION, row)["id"]
        lease_key = None if leased_for_seconds is None else uuid4()
        job = {
            "submission_id": submission_id,
            "payload": payload if isinstance(payload, str) else _payload(submission_id, kind, payload or {}),
            "status": status if leased_for_seconds is None else "leased",
            "retry_count": retry_count,
            "visible_in_seconds": visible_in_seconds,
            "lease_key": lease_key,
            "leased_for_seconds": leased_for_seconds,
        }
        return Entered(self.one(INSERT_JOB, job)["id"], submission_id, lease_key)

    def one(self, query: LiteralString, values: Any = None) -> DictRow:
        row = self.owner.execute(query, values).fetchone()
        assert row is not None
        return row

    def job(self, job_id: UUID) -> DictRow:
        return self.one("select *, leased_until - now() as leased_for from learning_submission_jobs where id = %s", [job_id])

    def job_ids(self) -> set[UUID]:
        return {row["id"] for row in self.owner.execute("select id from learning_submission_jobs")}

    def submission(self, submission_id: UUID) -> DictRow:
        return self.one("select * from learning_submissions where id = %s", [submission_id])

    def everything(self) -> list[DictRow]:
        """Return all columns of all rows, for a test that nothing was changed."""
        return self.owner.execute(EVERYTHING).fetchall()

    def results(self) -> list[tuple[UUID, str]]:
        """Return (submission id, status) of every result that was written, in order, with repetitions."""
        rows = self.owner.execute("select submission_id, new_status from audit_results order by number")
        return [(row["submission_id"], row["new_status"]) for row in rows]


@contextmanager
def open_queue(database: Database) -> Iterator[FilledQueue]:
    """Open an emptied queue, so that tests can share a database, which takes longer to create than to empty."""
    with owner_connection(database) as owner, worker_connection(database) as worker:
        owner.execute(CLEAR)
        yield FilledQueue(database, owner, worker)


def owner_connection(database: Database) -> Connection:
    return psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row)


def worker_connection(database: Database) -> Connection:
    return connect(database.worker_dsn, "test")


def _content(kind: str) -> dict[str, object]:
    if kind == "text":
        return {"text_body": "two plus two is four", **dict.fromkeys(("storage_key", "mime_type", "size_bytes", "sha256"))}
    mime_type = "image/png" if kind == "image" else "application/pdf"
    return {"text_body": None, "storage_key": "key", "mime_type": mime_type, "size_bytes": 1, "sha256": "0" * 64}


def _payload(submission_id: UUID, kind: str, more: Mapping[str, object]) -> str:
    platform = {"submission_id": str(submission_id), "student_sub": STUDENT, "kind": kind, "criteria": []}
    return json.dumps({**platform, **more})
