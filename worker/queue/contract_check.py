"""Compares a database and the rights of the worker's role with the queue contract, for `check`. Only reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from psycopg.rows import DictRow

from worker.queue.abilities import Abilities, ability_values
from worker.queue.connection import Connection
from worker.queue.polls import COUNT_BOUND, STUCK_BOUND, LeftQueued, left_in
from worker.queue.statements import statement
from worker.queue.submissions import read_submission

_STUCK, _AHEAD, _WAITING_FILES = statement("stuck_jobs"), statement("jobs_ahead"), statement("waiting_files")
_LEFT = statement("left_queued")

_COLUMNS = {
    "learning_submissions": (
        "id course_id task_id student_sub kind text_body storage_key mime_type size_bytes sha256 attempt_nr "
        "analysis_status analysis_json feedback_md completed_at error_code vision_attempts internal_metadata created_at"
    ),
    "learning_submission_jobs": (
        "id submission_id payload status retry_count visible_at lease_key leased_until error_code created_at updated_at"
    ),
}
_FUNCTIONS = (
    "public.learning_worker_update_completed(uuid, text, text, jsonb)",
    "public.learning_worker_update_failed(uuid, text, text)",
    "public.learning_worker_mark_retry(uuid, text, text, timestamptz)",
)
_RIGHTS = (
    ("learning_submission_jobs", "SELECT"),
    ("learning_submission_jobs", "UPDATE"),
    ("learning_submission_jobs", "DELETE"),
    ("learning_submissions", "SELECT"),
)


@dataclass(frozen=True, slots=True)
class ContractPoint:
    """One point that was checked. `remedy` describes the fault and what to do about it, and is empty if there is none."""

    subject: str
    remedy: str = ""


def inspect(connection: Connection, connections_needed: int) -> Iterator[ContractPoint]:
    """Check every point of the contract that is visible to a restricted role."""
    for check in (_schema, _tables):
        points = list(check(connection))
        yield from points
        if any(point.remedy for point in points):
            return  # the later checks would fail for the same reason
    yield from _rights(connection)
    yield _row_security(connection)
    yield _index(connection)
    yield _free_connections(connection, connections_needed)


def _schema(connection: Connection) -> Iterator[ContractPoint]:
    """Check the schema first: without this right PostgreSQL does not even resolve a table's name."""
    row = connection.execute("select has_schema_privilege(to_regnamespace('public'), 'usage') as is_granted").fetchone()
    is_granted = bool(row and row["is_granted"])
    yield ContractPoint("right USAGE on schema public", "" if is_granted else "grant usage on schema public to the worker's role")


def _tables(connection: Connection) -> Iterator[ContractPoint]:
    for table, wanted in _COLUMNS.items():
        rows = connection.execute(
            "select attname from pg_attribute where attrelid = to_regclass('public.' || %s) and attnum > 0 and not attisdropped",
            (table,),
        ).fetchall()
        missing = sorted(set(wanted.split()) - {row["attname"] for row in rows})
        yield ContractPoint(f"table {table}", _table_remedy(missing, exists=bool(rows)))


def _table_remedy(missing: list[str], *, exists: bool) -> str:
    if not exists:
        return "does not exist: correct the database in LEARNING_DATABASE_URL, or apply the platform's migrations"
    return f"columns missing: {', '.join(missing)}: apply the platform's migrations" if missing else ""


def _rights(connection: Connection) -> Iterator[ContractPoint]:
    for table, right in _RIGHTS:
        row = connection.execute(
            "select has_table_privilege(to_regclass('public.' || %s), %s) as is_granted", (table, right)
        ).fetchone()
        is_granted = bool(row and row["is_granted"])
        yield ContractPoint(
            f"right {right} on {table}", "" if is_granted else f"grant {right.lower()} on {table} to the worker's role"
        )
    for function in _FUNCTIONS:
        row = connection.execute(
            "select has_function_privilege(to_regprocedure(%s), 'execute') as is_granted", (function,)
        ).fetchone()
        is_granted = bool(row and row["is_granted"])
        name = function.removeprefix("public.").partition("(")[0]
        yield ContractPoint(
            f"function {name}", "" if is_granted else f"create it, or grant execute on {function} to the worker's role"
        )


def _row_security(connection: Connection) -> ContractPoint:
    row = connection.execute(
        "select row_security_active(to_regclass('public.learning_submissions')) as is_active "
        "where to_regclass('public.learning_submissions') is not null"
    ).fetchone()
    remedy = "row security does not apply to this role, so a worker could read the work of every pupil: use the restricted role"
    return ContractPoint("row security on learning_submissions", "" if row and row["is_active"] else remedy)


def _index(connection: Connection) -> ContractPoint:
    row = connection.execute(
        "select 1 as found from pg_index where indrelid = to_regclass('public.learning_submission_jobs') "
        "and pg_get_indexdef(indexrelid) like %s",
        ("%(status, visible_at%",),
    ).fetchone()
    return ContractPoint(
        "index (status, visible_at) on the queue",
        "" if row else "create it: without it every worker reads the whole queue to find its next job",
    )


def waiting_files(connection: Connection) -> list[DictRow]:
    """Return some submissions whose file a worker will read next. The contract must be in order."""
    jobs = connection.execute(_WAITING_FILES).fetchall()
    rows = (read_submission(connection, job["submission_id"], job["student_sub"]) for job in jobs)
    return [row for row in rows if row and row["storage_key"]]


def stuck_rows(connection: Connection) -> ContractPoint | None:
    """Find jobs that no worker can ever take. None if there are none. The contract must be in order."""
    rows = connection.execute(_STUCK, {"bound": STUCK_BOUND}).fetchall()
    if not rows:
        return None
    faults = ", ".join(sorted({row["fault"] for row in rows}))
    ids = ", ".join(str(row["id"]) for row in rows[:3])
    remedy = "set status = 'queued', visible_at = now(), lease_key = null, leased_until = null for them, or delete them"
    return ContractPoint(f"jobs that can never be taken: {len(rows)} ({faults}), such as {ids}", remedy)


def jobs_ahead(connection: Connection) -> ContractPoint | None:
    """Find jobs that wait because the clock of the database was ahead. None if there are none. The contract must be in order."""
    rows = connection.execute(_AHEAD, {"bound": STUCK_BOUND}).fetchall()
    if not rows:
        return None
    subject = f"jobs that were written while the clock of the database was ahead: {len(rows)}, such as {rows[0]['id']}"
    minutes = int(rows[0]["due_in_seconds"] // 60)
    return ContractPoint(subject, f"they start in {minutes} min and later. To start them now, set visible_at = now() for them")


def left_queued(connection: Connection, abilities: Abilities) -> tuple[LeftQueued, ...]:
    """Return the jobs that stay queued, the most of them first. The contract must be in order."""
    values = {"bound": COUNT_BOUND, "refused_job_ids": [], **ability_values(abilities)}
    return left_in(connection.execute(_LEFT, values))


def _free_connections(connection: Connection, needed: int) -> ContractPoint:
    """Count the sessions of all roles: a restricted role sees that they exist, but not their details."""
    row = connection.execute(
        "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as limit_all, "
        "(select count(*)::int from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()) as used"
    ).fetchone()
    free = row["limit_all"] - row["used"] if row else 0
    subject = f"connections: {needed} needed, {free} free"
    return ContractPoint(subject, "" if free >= needed else "raise max_connections, or lower WORKER_CONCURRENCY")
