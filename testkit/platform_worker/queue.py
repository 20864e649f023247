"""Statements of the platform's worker on the queue and the submissions. None checks the lease key."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow

EARLY_SECONDS: Final = 30
LEASE: Final[LiteralString] = """
    update learning_submission_jobs
       set status = 'leased', lease_key = gen_random_uuid(), leased_until = now() + make_interval(secs => %(lease_seconds)s)
     where id = (
        select id from learning_submission_jobs
         where (status = 'queued' and visible_at <= now() + make_interval(secs => %(early_seconds)s)
                or status = 'leased' and leased_until <= now())
           and coalesce(payload ->> '_gustav_test_run_id' = %(run_id)s, %(run_id)s is null)
         order by visible_at limit 1 for update skip locked)
    returning *
"""
COMPLETE: Final[LiteralString] = "select learning_worker_update_completed(%s, %s::text, %s::text, %s::jsonb)"
RECORD: Final[LiteralString] = """
    select learning_worker_record_ai_usage(%(submission_id)s, %(event_key)s::uuid, %(model)s, %(stage)s, %(modality)s,
        %(call_kind)s, %(usage_known)s, %(input_tokens)s, %(output_tokens)s, %(total_tokens)s, %(unknown_reason)s)
"""
RETRY: Final[LiteralString] = """
    update learning_submission_jobs
       set status = 'queued', retry_count = retry_count + 1, lease_key = null, leased_until = null, error_code = null,
           visible_at = now() + make_interval(secs => %s * 2 ^ retry_count)
     where id = %s
"""
FAIL: Final[LiteralString] = """
    update learning_submission_jobs set status = 'failed', error_code = %s, lease_key = null, leased_until = null where id = %s
"""


def lease(connection: Connection[DictRow], lease_seconds: float, run_id: str | None) -> DictRow | None:
    """Lease the oldest job, with a test run's id one of that run only."""
    values = {"lease_seconds": lease_seconds, "early_seconds": EARLY_SECONDS, "run_id": run_id}
    return connection.execute(LEASE, values).fetchone()


def read(connection: Connection[DictRow], job: DictRow) -> DictRow | None:
    """Return the job's submission, None if the row is hidden or its result has been written."""
    with connection.transaction():
        set_subject(connection, job)
        return connection.execute(
            "select * from learning_submissions where id = %s and analysis_status in ('pending', 'extracted')",
            [job["submission_id"]],
        ).fetchone()


def set_subject(connection: Connection[DictRow], job: DictRow) -> None:
    connection.execute("select set_config('app.current_sub', %s, true)", [job["payload"]["student_sub"]])


def record(connection: Connection[DictRow], submission_id: UUID, events: Iterable[Any]) -> None:
    for event in events:
        connection.execute(RECORD, {**_fields(event), "submission_id": submission_id})


def delete(connection: Connection[DictRow], job: DictRow) -> None:
    connection.execute("delete from learning_submission_jobs where id = %s", [job["id"]])


def retry(connection: Connection[DictRow], job: DictRow, step: str, message: str, backoff_seconds: float) -> None:
    connection.execute("select learning_worker_mark_retry(%s, %s, %s, now())", [job["submission_id"], step, message])
    connection.execute(RETRY, [backoff_seconds, job["id"]])


def fail(connection: Connection[DictRow], job: DictRow, code: str, message: str) -> None:
    connection.execute("select learning_worker_update_failed(%s, %s, %s)", [job["submission_id"], code, message])
    connection.execute(FAIL, [code, job["id"]])


def _fields(event: Any) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = vars(event)
    return fields
