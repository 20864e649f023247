"""The standalone schema keeps the queue contract: tables, rights, functions, notifications, and databases that may be adopted.

Both years are tested: the schema as of 2025-12 and as of 2026. test_schema_2026.py has what is new.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from testkit.database import YEARS, Database, DatabaseRefused, Year, adopt_database, temporary_database

pytestmark = pytest.mark.postgres

CONTRACT_COLUMNS = {
    "learning_submissions": """
        id uuid not null, course_id uuid not null, task_id uuid not null, student_sub text not null, kind text not null,
        text_body text, storage_key text, mime_type text, size_bytes integer, sha256 text, attempt_nr integer not null,
        analysis_status text not null, analysis_json jsonb, feedback_md text, completed_at timestamp with time zone,
        error_code text, vision_attempts integer not null, vision_last_error text,
        vision_last_attempt_at timestamp with time zone, feedback_last_error text,
        feedback_last_attempt_at timestamp with time zone, internal_metadata jsonb not null, idempotency_key text,
        created_at timestamp with time zone not null
    """,
    "learning_submission_jobs": """
        id uuid not null, submission_id uuid not null, payload jsonb not null, status text not null,
        retry_count integer not null, visible_at timestamp with time zone not null, lease_key uuid,
        leased_until timestamp with time zone, error_code text, created_at timestamp with time zone not null,
        updated_at timestamp with time zone not null
    """,
}
COLUMNS_OF_2026 = {
    "learning_submissions": """,
        intent text not null, section_id uuid not null, score_raw integer, score_max integer, dialog_session_id uuid
    """,
    "learning_submission_jobs": "",
}
FUNCTIONS = {
    2025: ["health_probe", "mark_retry", "update_completed", "update_completed", "update_failed"],
    2026: [
        "complete_practice_attempt",
        "fail_practice_attempt",
        "get_practice_attempt_context",
        "health_probe",
        "mark_retry",
        "record_ai_usage",
        "update_completed",
        "update_completed",
        "update_failed",
    ],
}
COLUMNS = """
    select attname || ' ' || format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end as written
      from pg_attribute where attrelid = %s::regclass and attnum > 0 and not attisdropped order by attnum
"""
RIGHTS_ON_TABLES = """
    select relname || ' ' || privilege_type as written from pg_class, aclexplode(relacl) as acl
     where relnamespace = 'public'::regnamespace and grantee in (0, 'learning_worker'::regrole) order by written
"""
CALLABLE_FUNCTIONS = """
    select proname as written from pg_proc
     where pronamespace = 'public'::regnamespace and has_function_privilege(current_user, oid, 'execute') order by proname
"""
STORED = {"text_body": None, "storage_key": "submissions/a", "size_bytes": 10_485_760, "sha256": "0" * 64}
PHOTO = STORED | {"kind": "image", "mime_type": "image/jpeg"}
PDF = STORED | {"kind": "file", "mime_type": "application/pdf"}
ATTEMPTED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMPLETE: LiteralString = "select learning_worker_update_completed(%s, 'its text', 'well done', %s)"
COMPLETE_WITH_JSON: LiteralString = "select learning_worker_update_completed(%s, 'its text', 'well done', '{\"score\": 5}'::json)"
FAIL: LiteralString = "select learning_worker_update_failed(%s, %s, %s)"
RETRY: LiteralString = "select learning_worker_mark_retry(%s, %s, %s, %s)"

Connection = psycopg.Connection[DictRow]


def connect(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, row_factory=dict_row)


@pytest.fixture(params=YEARS)
def year(request: pytest.FixtureRequest) -> Year:
    chosen: Year = request.param
    return chosen


@pytest.fixture
def plain_database(cluster_dsn: str, year: Year) -> Iterator[Database]:
    """A database of each year, with the platform's guards."""
    with temporary_database(cluster_dsn, audited=False, year=year) as fresh:
        yield fresh


@pytest.fixture
def owner(plain_database: Database) -> Iterator[Connection]:
    with connect(plain_database.admin_dsn) as connection:
        yield connection


@pytest.fixture
def worker(plain_database: Database) -> Iterator[Connection]:
    with connect(plain_database.worker_dsn) as connection:
        yield connection


def hand_in(owner: Connection, **columns: object) -> uuid.UUID:
    """Insert one text submission with its job in one transaction, as the platform does, and return the submission's id."""
    row = {"kind": "text", "text_body": "two plus two is four", "student_sub": "student-1", "attempt_nr": 1}
    row |= {"course_id": uuid.uuid4(), "task_id": uuid.uuid4()} | columns
    names, values = (psycopg.sql.SQL(", ").join(map(kind, row)) for kind in (psycopg.sql.Identifier, psycopg.sql.Placeholder))
    insert = psycopg.sql.SQL("insert into learning_submissions ({}) values ({}) returning id").format(names, values)
    with owner.transaction():
        submission_id: uuid.UUID = one(owner, insert, row)["id"]
        owner.execute("insert into learning_submission_jobs (submission_id, payload) values (%s, '{}')", [submission_id])
    return submission_id


@pytest.fixture
def submission_id(owner: Connection) -> uuid.UUID:
    return hand_in(owner)


def one(connection: Connection, query: LiteralString | psycopg.sql.Composed, parameters: Any = None) -> DictRow:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row


def submission(owner: Connection, submission_id: uuid.UUID) -> DictRow:
    return one(owner, "select * from learning_submissions where id = %s", [submission_id])


def written(connection: Connection, query: LiteralString, parameters: Any = None) -> list[str]:
    return [row["written"] for row in connection.execute(query, parameters)]


# Tables


@pytest.mark.parametrize("table", CONTRACT_COLUMNS)
def test_tables_have_the_contracts_columns(owner: Connection, year: Year, table: str) -> None:
    """Both tables have exactly the contract's columns of the year, with its types and its not-nulls."""
    columns = CONTRACT_COLUMNS[table] + (COLUMNS_OF_2026[table] if year == 2026 else "")
    assert written(owner, COLUMNS, [table]) == [" ".join(column.split()) for column in columns.split(",")]


def test_the_queue_is_indexed_by_visibility(owner: Connection) -> None:
    """Besides its primary key the queue has the index on (status, visible_at), and no other one that could improve a plan."""
    query = "select pg_get_indexdef(indexrelid) as written from pg_index where not indisprimary and indrelid = %s::regclass"
    (index,) = written(owner, query, ["learning_submission_jobs"])
    assert index.endswith("USING btree (status, visible_at)")


@pytest.mark.parametrize(
    ("constraint", "columns"),
    [
        ("known_kind", {"kind": "video"}),
        ("known_analysis_status", {"analysis_status": "done"}),
        ("known_error_code", {"error_code": "unknown"}),
        ("sha256_is_lower_case_hex", PHOTO | {"sha256": "A" * 64}),
        ("size_within_upload_limit", PHOTO | {"size_bytes": 0}),
        ("size_within_upload_limit", PHOTO | {"size_bytes": 10_485_761}),
        ("content_matches_kind", {"text_body": None}),
        ("content_matches_kind", {"mime_type": "image/png"}),
        ("content_matches_kind", PHOTO | {"storage_key": None}),
        ("content_matches_kind", PHOTO | {"mime_type": "application/pdf"}),
        ("content_matches_kind", PDF | {"sha256": None}),
        ("content_matches_kind", PDF | {"mime_type": "image/png"}),
    ],
)
def test_an_invalid_submission_is_rejected(owner: Connection, constraint: str, columns: dict[str, object]) -> None:
    """A submission of an unknown kind, status or error code, or with content that does not fit its kind, is rejected."""
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        hand_in(owner, **columns)


@pytest.mark.parametrize("stored", [{"mime_type": "image/jpeg"}, {"mime_type": "image/png", "size_bytes": 1}, PDF])
def test_photos_and_pdfs_are_accepted(owner: Connection, stored: dict[str, object]) -> None:
    """A submission may be a JPEG, a PNG or a PDF of 1 to 10485760 bytes, with its key and hash."""
    hand_in(owner, **PHOTO | stored)


def test_an_attempt_is_unique_and_deleted_with_its_job(owner: Connection, submission_id: uuid.UUID) -> None:
    """A student cannot hand in the same attempt at a task twice, and no job is left without its submission."""
    row = submission(owner, submission_id)
    with pytest.raises(psycopg.errors.UniqueViolation):
        hand_in(owner, course_id=row["course_id"], task_id=row["task_id"])
    owner.execute("delete from learning_submissions where id = %s", [submission_id])
    assert one(owner, "select count(*) from learning_submission_jobs")["count"] == 0


# Rights


def test_workers_have_exactly_the_contracts_rights(owner: Connection, worker: Connection, year: Year) -> None:
    """A worker's group has the contract's rights on tables, the public has none. It can call the contract's functions only."""
    queue_rights = [f"learning_submission_jobs {right}" for right in ("DELETE", "SELECT", "UPDATE")]
    tasks = ["unit_tasks SELECT"] if year == 2026 else []
    assert written(owner, RIGHTS_ON_TABLES) == [*queue_rights, "learning_submissions SELECT", *tasks]
    names = [f"learning_worker_{name}" for name in FUNCTIONS[year]]
    assert written(worker, CALLABLE_FUNCTIONS) == (names if year == 2025 else [*names, "student_can_access_section"])


@pytest.mark.parametrize(
    "statement",
    [
        "insert into learning_submission_jobs (submission_id, payload) values (gen_random_uuid(), '{}')",
        "update learning_submissions set feedback_md = 'mine'",
        "delete from learning_submissions",
        "create table mine (id int)",
        "create temporary table mine (id int)",
        "alter role current_user createdb",
        "set role postgres",
    ],
)
def test_a_worker_cannot_go_beyond_its_rights(worker: Connection, statement: LiteralString) -> None:
    """A worker can neither add jobs, nor write submissions itself, nor create any object."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        worker.execute(statement)


@pytest.mark.parametrize("subject", ["", "student-2"])
def test_an_empty_subject_shows_no_submission(owner: Connection, worker: Connection, subject: str) -> None:
    """Not even a submission whose student is empty is visible under an empty subject or another student's."""
    for student in ("", "student-1"):
        hand_in(owner, student_sub=student)
    with worker.transaction():
        worker.execute("select set_config('app.current_sub', %s, true)", [subject])
        assert one(worker, "select count(*) from learning_submissions")["count"] == 0


# Functions


@pytest.mark.parametrize("status", ["pending", "extracted"])
@pytest.mark.parametrize("query", [COMPLETE, COMPLETE_WITH_JSON], ids=["jsonb", "json"])
def test_completing_writes_the_result_once(owner: Connection, worker: Connection, status: str, query: LiteralString) -> None:
    """It writes the result, clears errors and counts a vision attempt. A second result is dropped without an error."""
    submission_id = hand_in(owner, analysis_status=status)
    for phase in ("feedback", "vision"):
        worker.execute(RETRY, [submission_id, phase, "busy", ATTEMPTED_AT])
    worker.execute(query, [submission_id, Jsonb({"score": 5})][: query.count("%s")])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["text_body"], row["feedback_md"]) == ("completed", "its text", "well done")
    assert (row["analysis_json"], row["vision_attempts"]) == ({"score": 5}, 2)
    assert (row["error_code"], row["vision_last_error"], row["feedback_last_error"]) == (None, None, None)
    assert row["completed_at"] is not None
    worker.execute(COMPLETE, [submission_id, Jsonb({"score": 0})])
    worker.execute(FAIL, [submission_id, "vision_failed", "too late"])
    assert submission(owner, submission_id) == row


def test_an_analysis_without_its_type_is_ambiguous(worker: Connection, submission_id: uuid.UUID) -> None:
    """A call without a cast to jsonb raises, as on the platform, because both overloads fit."""
    with pytest.raises(psycopg.errors.AmbiguousFunction):
        worker.execute(COMPLETE, [submission_id, "{}"])


@pytest.mark.parametrize(
    ("code", "column"), [("vision_failed", "vision"), ("feedback_failed", "feedback"), ("input_corrupt", "vision")]
)
def test_failing_keeps_a_bounded_error(
    owner: Connection, worker: Connection, submission_id: uuid.UUID, year: Year, code: str, column: str
) -> None:
    """A failed submission has its code and an error of at most 1024 characters. The analysis is removed in 2025 only."""
    owner.execute("update learning_submissions set analysis_json = '{}'")
    worker.execute(FAIL, [submission_id, code, "x" * 1025])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["error_code"], row["analysis_json"]) == ("failed", code, None if year == 2025 else {})
    assert row[f"{column}_last_error"] == "x" * 1024


@pytest.mark.parametrize("code", ["vision_retrying", "feedback_retrying", "worker_crashed", "", None])
def test_unknown_codes_and_steps_raise(worker: Connection, submission_id: uuid.UUID, code: str | None) -> None:
    """Only the contract's five final codes fail a submission, and a retry needs the phase vision or feedback."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="unknown error code"):
        worker.execute(FAIL, [submission_id, code, "why"])
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="unknown phase"):
        worker.execute(RETRY, [submission_id, code, "busy", ATTEMPTED_AT])


@pytest.mark.parametrize(("phase", "vision_attempts"), [("vision", 1), ("feedback", 0)])
def test_a_retry_counts_vision_attempts_and_has_the_guard(
    owner: Connection, worker: Connection, submission_id: uuid.UUID, phase: str, vision_attempts: int
) -> None:
    """It keeps the status and writes phase, time and error. A completed submission is not changed."""
    worker.execute(RETRY, [submission_id, phase, "busy", ATTEMPTED_AT])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["error_code"]) == ("pending", f"{phase}_retrying")
    assert (row["vision_attempts"], row[f"{phase}_last_error"]) == (vision_attempts, "busy")
    assert row[f"{phase}_last_attempt_at"] == ATTEMPTED_AT
    worker.execute(COMPLETE, [submission_id, Jsonb({})])
    worker.execute(RETRY, [submission_id, phase, "late", ATTEMPTED_AT])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["error_code"], row[f"{phase}_last_error"]) == ("completed", None, None)


def test_the_probe_counts_visible_jobs(owner: Connection, worker: Connection, year: Year) -> None:
    """The health probe finds the role and counts the jobs that are due now, with the words of the year."""
    for _ in range(3):
        later = hand_in(owner)
    owner.execute("update learning_submission_jobs set visible_at = now() + interval '1 hour' where submission_id = %s", [later])
    rows = worker.execute("select * from learning_worker_health_probe()").fetchall()
    assert [tuple(row.values()) for row in rows] == (
        [("worker_role", "ok", "learning_worker"), ("visible_jobs", "ok", "2")]
        if year == 2025
        else [("queue_visibility", "ok", "visible_jobs=2"), ("lifecycle_commands", "ok", worker.info.user)]
    )


def test_new_submissions_and_results_are_notified(owner: Connection, worker: Connection) -> None:
    """A submission is notified after the commit, with its job. A result is notified, a retry is not."""
    worker.execute("listen learning_submissions")
    with owner.transaction():
        submission_id = hand_in(owner)
        assert list(worker.notifies(timeout=0)) == []
    assert [note.payload for note in worker.notifies(timeout=10, stop_after=1)] == [str(submission_id)]
    query = "select count(*) from learning_submission_jobs where submission_id = %s"
    assert one(worker, query, [submission_id])["count"] == 1
    worker.execute(RETRY, [submission_id, "vision", "busy", ATTEMPTED_AT])
    assert list(worker.notifies(timeout=0)) == []
    worker.execute(COMPLETE, [submission_id, Jsonb({})])
    assert [note.payload for note in worker.notifies(timeout=10, stop_after=1)] == [str(submission_id)]


def test_the_audit_records_every_result_lease_and_deletion(database: Database) -> None:
    """Two results, two lease keys (a renewal is none) and one deletion are recorded. A worker can change none of it."""
    keys = [uuid.uuid4(), uuid.uuid4()]
    with connect(database.admin_dsn) as owner, connect(database.worker_dsn) as worker:
        submission_id = hand_in(owner)
        for key in (keys[0], keys[0], None, keys[1]):
            worker.execute("update learning_submission_jobs set lease_key = %s, leased_until = clock_timestamp()", [key])
        worker.execute(COMPLETE, [submission_id, Jsonb({})])
        worker.execute("set application_name = 'second'")
        worker.execute(FAIL, [submission_id, "vision_failed", "late"])
        worker.execute("delete from learning_submission_jobs")
        results, leases, finishes = (
            owner.execute(psycopg.sql.SQL("select * from audit_{} order by number").format(psycopg.sql.SQL(name))).fetchall()
            for name in ("results", "leases", "finishes")
        )
        for table in ("audit_results", "audit_leases", "audit_finishes"):
            for statement in ("select from {}", "delete from {}", "insert into {} default values"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    worker.execute(psycopg.sql.SQL(statement).format(psycopg.sql.Identifier(table)))
        backend_pid = worker.info.backend_pid
    assert [(row["old_status"], row["new_status"]) for row in results] == [("pending", "completed"), ("completed", "failed")]
    assert (results[1]["application_name"], results[1]["backend_pid"]) == ("second", backend_pid)
    assert [row["lease_key"] for row in leases] == keys
    assert [(row["submission_id"], row["lease_key"]) for row in finishes] == [(submission_id, keys[1])]


# Databases


@pytest.fixture
def bare_dsn(cluster_dsn: str) -> Iterator[str]:
    """The owner's URL of a database without the schema."""
    with temporary_database(cluster_dsn, audited=False) as fresh:
        with connect(fresh.admin_dsn) as owner:
            owner.execute("drop schema public cascade")
            owner.execute("create schema public")
        yield fresh.admin_dsn


@pytest.mark.parametrize("audited", [False, True])
def test_an_adopted_database_gets_the_schema_and_keeps_its_rows(bare_dsn: str, year: Year, *, audited: bool) -> None:
    """A user's own empty database gets the schema and a restricted worker. Adopting it again keeps submissions and year."""
    adopted = adopt_database(bare_dsn, audited=audited, year=year)
    with connect(adopted.admin_dsn) as owner, connect(adopted.worker_dsn) as worker:
        submission_id = hand_in(owner)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worker.execute("delete from learning_submissions")
        worker.execute(COMPLETE, [submission_id, Jsonb({})])
    again = adopt_database(bare_dsn, audited=audited)
    assert bool(again.limited_dsn) == (year == 2026)
    with connect(again.admin_dsn) as owner, connect(again.worker_dsn) as worker:
        assert submission(owner, submission_id)["analysis_status"] == "completed"
        assert len([name for name in written(worker, CALLABLE_FUNCTIONS) if "worker" in name]) == len(FUNCTIONS[year])


@pytest.mark.parametrize("table", ["learning_submissions", "learning_submission_jobs"])
def test_a_foreign_table_is_not_adopted(bare_dsn: str, table: str) -> None:
    """A database with a foreign table of that name, such as the platform's, is rejected and not changed."""
    with connect(bare_dsn) as owner:
        owner.execute(psycopg.sql.SQL("create table {} (id uuid)").format(psycopg.sql.Identifier(table)))
        with pytest.raises(DatabaseRefused, match=rf"table {table} .* name an empty database on another server"):
            adopt_database(bare_dsn)
        assert written(owner, "select tablename as written from pg_tables where schemaname = 'public'") == [table]


def test_adopting_needs_the_right_to_create(plain_database: Database) -> None:
    """A user without the right to create the schema gets an error that names the missing right."""
    with pytest.raises(DatabaseRefused, match="CREATEROLE"):
        adopt_database(plain_database.worker_dsn)
