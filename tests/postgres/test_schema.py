"""The standalone schema keeps the queue contract: what exists, who may do what, what the functions do."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from testkit.database import Database, DatabaseRefused, adopt_database, create_database, drop_database, temporary_database
from testkit.postgres import Cluster, memory_parent

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
COLUMNS = """
    select attname || ' ' || format_type(atttypid, atttypmod) || case when attnotnull then ' not null' else '' end
      from pg_attribute
     where attrelid = %s::regclass and attnum > 0 and not attisdropped
     order by attnum
"""
RIGHTS_ON_TABLES = """
    select relname, privilege_type
      from pg_class, aclexplode(relacl) as acl
     where relnamespace = 'public'::regnamespace and grantee in (0, 'learning_worker'::regrole)
"""
CALLABLE_FUNCTIONS = """
    select proname
      from pg_proc
     where pronamespace = 'public'::regnamespace and has_function_privilege(current_user, oid, 'execute')
"""

STUDENT = "student-1"
STORED = {"text_body": None, "storage_key": "submissions/a", "size_bytes": 10_485_760, "sha256": "0" * 64}
PHOTO = STORED | {"kind": "image", "mime_type": "image/jpeg"}
PDF = STORED | {"kind": "file", "mime_type": "application/pdf"}
ATTEMPTED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FORBIDDEN = psycopg.errors.InsufficientPrivilege
COMPLETE: LiteralString = "select learning_worker_update_completed(%s, 'what it says', 'well done', %s)"
FAIL: LiteralString = "select learning_worker_update_failed(%s, %s, %s)"
RETRY: LiteralString = "select learning_worker_mark_retry(%s, %s, %s, %s)"
SEE: LiteralString = "select set_config('app.current_sub', %s, true)"

Connection = psycopg.Connection[DictRow]


def connect(dsn: str) -> Connection:
    return psycopg.connect(dsn, autocommit=True, row_factory=dict_row)


@pytest.fixture
def owner(plain_database: Database) -> Iterator[Connection]:
    with connect(plain_database.admin_dsn) as connection:
        yield connection


@pytest.fixture
def worker(plain_database: Database) -> Iterator[Connection]:
    with connect(plain_database.worker_dsn) as connection:
        yield connection


@pytest.fixture
def submission_id(owner: Connection) -> uuid.UUID:
    return hand_in(owner)


def hand_in(owner: Connection, **columns: object) -> uuid.UUID:
    """One text submission with its job, in one transaction as the platform does it: the submission's id."""
    row = {"kind": "text", "text_body": "two plus two is four", "student_sub": STUDENT, "attempt_nr": 1}
    row |= {"course_id": uuid.uuid4(), "task_id": uuid.uuid4()} | columns
    names = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, row))
    values = psycopg.sql.SQL(", ").join(map(psycopg.sql.Placeholder, row))
    insert = psycopg.sql.SQL("insert into learning_submissions ({}) values ({}) returning id").format(names, values)
    with owner.transaction():
        submission_id: uuid.UUID = one(owner, insert, row)["id"]
        enqueue = "insert into learning_submission_jobs (submission_id, payload) values (%s, %s)"
        owner.execute(enqueue, [submission_id, Jsonb({"student_sub": STUDENT})])
    return submission_id


def one(connection: Connection, query: LiteralString | psycopg.sql.Composed, parameters: Any = None) -> DictRow:
    row = connection.execute(query, parameters).fetchone()
    assert row is not None
    return row


def submission(owner: Connection, submission_id: uuid.UUID) -> DictRow:
    return one(owner, "select * from learning_submissions where id = %s", [submission_id])


def visible_submissions(worker: Connection) -> int:
    count: int = one(worker, "select count(*) from learning_submissions")["count"]
    return count


# What exists


@pytest.mark.parametrize("table", CONTRACT_COLUMNS)
def test_tables_have_the_contracts_columns(owner: Connection, table: str) -> None:
    """Both tables have exactly the contract's columns, with its types and its not-nulls."""
    rows = psycopg.Cursor(owner, row_factory=psycopg.rows.scalar_row).execute(COLUMNS, [table])
    assert list(rows) == [" ".join(column.split()) for column in CONTRACT_COLUMNS[table].split(",")]


def test_the_queue_is_indexed_by_visibility(owner: Connection) -> None:
    """Besides its primary key the queue has the index on (status, visible_at) and no other that could flatter a plan."""
    query = "select pg_get_indexdef(indexrelid) from pg_index where not indisprimary and indrelid = %s::regclass"
    (index,) = owner.execute(query, ["learning_submission_jobs"])
    assert index["pg_get_indexdef"].endswith("USING btree (status, visible_at)")


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
def test_a_submission_against_the_rules_is_refused(owner: Connection, constraint: str, columns: dict[str, object]) -> None:
    """A submission of an unknown kind, status or error code, or with content that does not fit its kind, is refused."""
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        hand_in(owner, **columns)


@pytest.mark.parametrize("stored", [{"mime_type": "image/jpeg"}, {"mime_type": "image/png", "size_bytes": 1}, PDF])
def test_photos_and_pdfs_are_accepted(owner: Connection, stored: dict[str, object]) -> None:
    """A submission may be a JPEG, a PNG or a PDF of 1 to 10485760 bytes, with its key and hash."""
    hand_in(owner, **PHOTO | stored)


def test_a_student_has_each_attempt_once(owner: Connection, submission_id: uuid.UUID) -> None:
    """The same attempt of the same student at the same task cannot be handed in twice."""
    row = submission(owner, submission_id)
    with pytest.raises(psycopg.errors.UniqueViolation):
        hand_in(owner, course_id=row["course_id"], task_id=row["task_id"])


def test_a_deleted_submission_takes_its_job_along(owner: Connection, submission_id: uuid.UUID) -> None:
    """No job is left without its submission."""
    owner.execute("delete from learning_submissions where id = %s", [submission_id])
    assert one(owner, "select count(*) from learning_submission_jobs")["count"] == 0


# Who may do what


def test_workers_have_exactly_the_contracts_rights(owner: Connection) -> None:
    """A worker's group has the four rights of the contract on tables, and the public has none."""
    rights = {(row["relname"], row["privilege_type"]) for row in owner.execute(RIGHTS_ON_TABLES)}
    assert rights == {
        ("learning_submissions", "SELECT"),
        ("learning_submission_jobs", "SELECT"),
        ("learning_submission_jobs", "UPDATE"),
        ("learning_submission_jobs", "DELETE"),
    }


def test_workers_call_exactly_the_contracts_functions(worker: Connection) -> None:
    """A worker may call the four functions, one of them in two overloads, and neither the guard nor a trigger's function."""
    assert sorted(row["proname"] for row in worker.execute(CALLABLE_FUNCTIONS)) == [
        "learning_worker_health_probe",
        "learning_worker_mark_retry",
        "learning_worker_update_completed",
        "learning_worker_update_completed",
        "learning_worker_update_failed",
    ]


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
    """A worker can neither add jobs, nor write submissions itself, nor make anything of its own."""
    with pytest.raises(FORBIDDEN):
        worker.execute(statement)


def test_a_worker_takes_and_finishes_jobs(worker: Connection, submission_id: uuid.UUID) -> None:
    """A worker can lease and delete a job with the rights it has."""
    lease = "update learning_submission_jobs set status = 'leased', lease_key = gen_random_uuid() where submission_id = %s"
    assert worker.execute(lease, [submission_id]).rowcount == 1
    assert worker.execute("delete from learning_submission_jobs where status = 'leased'").rowcount == 1


@pytest.mark.usefixtures("submission_id")
@pytest.mark.parametrize("subject", [None, "", "student-2"])
def test_a_submission_needs_its_students_subject(worker: Connection, subject: str | None) -> None:
    """Without a subject, with an empty or another student's, no submission is visible."""
    with worker.transaction():
        if subject is not None:
            worker.execute(SEE, [subject])
        assert visible_submissions(worker) == 0


def test_an_empty_subject_is_nobodys(owner: Connection, worker: Connection) -> None:
    """A submission whose subject is empty is not what a worker sees that set no subject."""
    hand_in(owner, student_sub="")
    with worker.transaction():
        worker.execute(SEE, [""])
        assert visible_submissions(worker) == 0


@pytest.mark.usefixtures("submission_id")
def test_the_subject_ends_with_its_transaction(worker: Connection) -> None:
    """The student's own subject shows the submission, and the next transaction sees nothing again."""
    with worker.transaction():
        worker.execute(SEE, [STUDENT])
        assert visible_submissions(worker) == 1
    assert visible_submissions(worker) == 0


# What the functions do


def test_completing_writes_the_result_and_clears_the_errors(
    owner: Connection, worker: Connection, submission_id: uuid.UUID
) -> None:
    """A completed submission carries text, feedback and analysis, one more vision attempt, and no error of before."""
    for phase in ("feedback", "vision"):
        worker.execute(RETRY, [submission_id, phase, "busy", ATTEMPTED_AT])
    worker.execute(COMPLETE, [submission_id, Jsonb({"score": 5})])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["text_body"], row["feedback_md"]) == ("completed", "what it says", "well done")
    assert (row["analysis_json"], row["vision_attempts"]) == ({"score": 5}, 2)
    assert (row["error_code"], row["vision_last_error"], row["feedback_last_error"]) == (None, None, None)
    assert row["completed_at"] is not None


def test_an_extracted_submission_can_be_completed(owner: Connection, worker: Connection) -> None:
    """A submission whose pages the web side has rendered is as open as a pending one."""
    submission_id = hand_in(owner, analysis_status="extracted")
    worker.execute(COMPLETE, [submission_id, Jsonb({})])
    assert submission(owner, submission_id)["analysis_status"] == "completed"


def test_a_second_result_is_silently_dropped(owner: Connection, worker: Connection, submission_id: uuid.UUID) -> None:
    """Once completed, a submission is neither completed again nor failed, and no error says so."""
    worker.execute(COMPLETE, [submission_id, Jsonb({"score": 5})])
    before = submission(owner, submission_id)
    worker.execute(COMPLETE, [submission_id, Jsonb({"score": 0})])
    worker.execute(FAIL, [submission_id, "vision_failed", "too late"])
    assert submission(owner, submission_id) == before


def test_an_analysis_without_its_type_is_ambiguous(worker: Connection, submission_id: uuid.UUID) -> None:
    """A call that does not say jsonb is refused, as on the platform, which has both overloads."""
    with pytest.raises(psycopg.errors.AmbiguousFunction):
        worker.execute(COMPLETE, [submission_id, json.dumps({})])


def test_the_json_overload_completes_too(owner: Connection, worker: Connection, submission_id: uuid.UUID) -> None:
    """The overload that the platform's own worker calls has the same effect."""
    worker.execute("select learning_worker_update_completed(%s, 'a', 'b', '{\"score\": 1}'::json)", [submission_id])
    assert submission(owner, submission_id)["analysis_json"] == {"score": 1}


@pytest.mark.parametrize(
    ("error_code", "column"),
    [
        ("vision_failed", "vision_last_error"),
        ("feedback_failed", "feedback_last_error"),
        ("input_corrupt", "vision_last_error"),
        ("input_unsupported", "vision_last_error"),
        ("input_too_large", "vision_last_error"),
    ],
)
def test_failing_keeps_a_bounded_error(
    owner: Connection, worker: Connection, submission_id: uuid.UUID, error_code: str, column: str
) -> None:
    """A failed submission carries its code, an error of at most 1024 characters, and no analysis."""
    owner.execute("update learning_submissions set analysis_json = '{}'")
    worker.execute(FAIL, [submission_id, error_code, "x" * 1025])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["error_code"], row["analysis_json"]) == ("failed", error_code, None)
    assert row[column] == "x" * 1024


@pytest.mark.parametrize("error_code", ["vision_retrying", "feedback_retrying", "worker_crashed", "", None])
def test_failing_needs_a_code_of_the_contract(worker: Connection, submission_id: uuid.UUID, error_code: str | None) -> None:
    """Only the five final codes fail a submission; any other raises."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="unknown error code"):
        worker.execute(FAIL, [submission_id, error_code, "why"])


@pytest.mark.parametrize(("phase", "vision_attempts"), [("vision", 1), ("feedback", 0)])
def test_only_vision_counts_an_attempt(
    owner: Connection, worker: Connection, submission_id: uuid.UUID, phase: str, vision_attempts: int
) -> None:
    """A retry leaves the submission pending, notes phase, time and error, and counts vision attempts alone."""
    worker.execute(RETRY, [submission_id, phase, "busy", ATTEMPTED_AT])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["error_code"]) == ("pending", f"{phase}_retrying")
    assert (row["vision_attempts"], row[f"{phase}_last_error"]) == (vision_attempts, "busy")
    assert row[f"{phase}_last_attempt_at"] == ATTEMPTED_AT


@pytest.mark.parametrize("phase", ["ocr", None])
def test_a_retry_needs_a_known_phase(worker: Connection, submission_id: uuid.UUID, phase: str | None) -> None:
    """Any phase but vision and feedback raises."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="unknown phase"):
        worker.execute(RETRY, [submission_id, phase, "busy", ATTEMPTED_AT])


def test_a_retry_has_no_guard(owner: Connection, worker: Connection, submission_id: uuid.UUID) -> None:
    """Marking a retry stamps even a completed submission: this is why a worker has to fence it."""
    worker.execute(COMPLETE, [submission_id, Jsonb({})])
    worker.execute(RETRY, [submission_id, "vision", "late", ATTEMPTED_AT])
    row = submission(owner, submission_id)
    assert (row["analysis_status"], row["error_code"]) == ("completed", "vision_retrying")


@pytest.mark.usefixtures("submission_id")
def test_the_probe_counts_visible_jobs(owner: Connection, worker: Connection) -> None:
    """The health probe finds the role and counts the jobs that are due, not those of later."""
    hand_in(owner)
    owner.execute(
        "update learning_submission_jobs set visible_at = now() + interval '1 hour' where submission_id = %s", [hand_in(owner)]
    )
    rows = worker.execute("select * from learning_worker_health_probe()").fetchall()
    assert [tuple(row.values()) for row in rows] == [
        ("worker_role", "ok", "learning_worker"),
        ("visible_jobs", "ok", "2"),
    ]


# What listeners hear


def test_a_new_submission_is_announced_with_its_job(owner: Connection, worker: Connection) -> None:
    """Nothing is heard before the commit; after it the id is heard and the job is there."""
    worker.execute("listen learning_submissions")
    with owner.transaction():
        submission_id = hand_in(owner)
        assert list(worker.notifies(timeout=0)) == []
    assert [note.payload for note in worker.notifies(timeout=10, stop_after=1)] == [str(submission_id)]
    query = "select count(*) from learning_submission_jobs where submission_id = %s"
    assert one(worker, query, [submission_id])["count"] == 1


def test_a_change_of_status_is_announced(worker: Connection, submission_id: uuid.UUID) -> None:
    """A result is heard; a retry, which leaves the status alone, is not."""
    worker.execute("listen learning_submissions")
    worker.execute(RETRY, [submission_id, "vision", "busy", ATTEMPTED_AT])
    assert list(worker.notifies(timeout=0)) == []
    worker.execute(COMPLETE, [submission_id, Jsonb({})])
    assert [note.payload for note in worker.notifies(timeout=10, stop_after=1)] == [str(submission_id)]


# What the audit sees


def test_the_audit_sees_a_double_result(database: Database) -> None:
    """Where the guard would hide it, a second result is a second row, with the names of both writers."""
    with connect(database.admin_dsn) as owner, connect(database.worker_dsn) as worker:
        submission_id = hand_in(owner)
        worker.execute("set application_name = 'first'")
        worker.execute(COMPLETE, [submission_id, Jsonb({})])
        worker.execute("set application_name = 'second'")
        worker.execute(FAIL, [submission_id, "vision_failed", "late"])
        rows = owner.execute("select * from audit_results order by number").fetchall()
        writer = (submission_id, worker.info.backend_pid)
    seen = [(row["old_status"], row["new_status"], row["application_name"]) for row in rows]
    assert seen == [("pending", "completed", "first"), ("completed", "failed", "second")]
    assert {(row["submission_id"], row["backend_pid"]) for row in rows} == {writer}


def test_the_audit_sees_each_lease_once(database: Database) -> None:
    """A new lease key is a row; renewing a lease or giving it up is none."""
    keys = [uuid.uuid4(), uuid.uuid4()]
    with connect(database.admin_dsn) as owner, connect(database.worker_dsn) as worker:
        submission_id = hand_in(owner)
        for key in (keys[0], keys[0], None, keys[1]):
            worker.execute("update learning_submission_jobs set lease_key = %s, leased_until = clock_timestamp()", [key])
        rows = owner.execute("select * from audit_leases order by number").fetchall()
    assert [row["lease_key"] for row in rows] == keys
    assert {row["submission_id"] for row in rows} == {submission_id}


def test_the_audit_sees_a_finished_job(database: Database) -> None:
    """A deleted job leaves a row with the lease under which it was deleted."""
    key = uuid.uuid4()
    with connect(database.admin_dsn) as owner, connect(database.worker_dsn) as worker:
        submission_id = hand_in(owner)
        worker.execute("update learning_submission_jobs set lease_key = %s", [key])
        worker.execute("delete from learning_submission_jobs")
        row = one(owner, "select * from audit_finishes")
    assert (row["submission_id"], row["lease_key"]) == (submission_id, key)


@pytest.mark.parametrize("table", ["audit_results", "audit_leases", "audit_finishes"])
def test_a_worker_cannot_touch_the_audit(database: Database, table: str) -> None:
    """A worker can neither read nor write the tables that witness what it does."""
    name = psycopg.sql.Identifier(table)
    with connect(database.worker_dsn) as worker:
        for statement in ("select from {}", "delete from {}", "insert into {} default values"):
            with pytest.raises(FORBIDDEN):
                worker.execute(psycopg.sql.SQL(statement).format(name))


# Databases


def test_databases_are_apart(database: Database, plain_database: Database) -> None:
    """The worker of one database cannot enter another."""
    elsewhere = database.worker_dsn.replace(f"/{database.name}?", f"/{plain_database.name}?")
    assert elsewhere != database.worker_dsn
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(elsewhere)


def test_a_dropped_database_leaves_nothing(cluster_dsn: str) -> None:
    """Dropping a database also ends its connections and takes its login role away."""
    dropped = create_database(cluster_dsn)
    with connect(dropped.worker_dsn) as worker, connect(cluster_dsn) as admin:
        drop_database(cluster_dsn, dropped)
        with pytest.raises(psycopg.OperationalError):
            worker.execute("select")
        left = """
            select rolname from pg_roles where starts_with(rolname, %(name)s)
            union all
            select datname from pg_database where starts_with(datname, %(name)s)
        """
        assert admin.execute(left, {"name": dropped.name}).fetchall() == []


def test_databases_can_be_created_at_once() -> None:
    """Processes that start together on a new server build its template once and do not disturb each other."""
    with Cluster.start(memory_parent()) as cluster, ThreadPoolExecutor(4) as pool:
        databases = list(pool.map(lambda _: create_database(cluster.admin_dsn), range(4)))
        with connect(cluster.admin_dsn) as admin:
            templates = one(admin, "select count(*) from pg_database where datname like 'learning_template%'")["count"]
    assert (len({database.name for database in databases}), templates) == (4, 1)


@pytest.fixture
def bare_dsn(cluster_dsn: str) -> Iterator[str]:
    """The owner's URL of a database without the schema."""
    with temporary_database(cluster_dsn, audited=False) as fresh:
        with connect(fresh.admin_dsn) as owner:
            owner.execute("drop schema public cascade")
            owner.execute("create schema public")
        yield fresh.admin_dsn


def test_an_adopted_database_has_the_schema(bare_dsn: str) -> None:
    """A user's own empty database gets the schema and a restricted worker."""
    adopted = adopt_database(bare_dsn)
    with connect(adopted.admin_dsn) as owner, connect(adopted.worker_dsn) as worker:
        submission_id = hand_in(owner)
        with pytest.raises(FORBIDDEN):
            worker.execute("delete from learning_submissions")
        worker.execute(COMPLETE, [submission_id, Jsonb({})])
        assert submission(owner, submission_id)["analysis_status"] == "completed"


@pytest.mark.parametrize("audited", [False, True])
def test_an_adopted_database_keeps_its_rows(bare_dsn: str, *, audited: bool) -> None:
    """Adopting again, with the audit or without, reuses what the first time made, submissions included."""
    with connect(adopt_database(bare_dsn, audited=audited).admin_dsn) as owner:
        submission_id = hand_in(owner)
    with connect(adopt_database(bare_dsn, audited=audited).admin_dsn) as owner:
        assert submission(owner, submission_id)["id"] == submission_id


@pytest.mark.parametrize("table", ["learning_submissions", "learning_submission_jobs"])
def test_a_foreign_table_is_not_adopted(bare_dsn: str, table: str) -> None:
    """A database where a table of that name is not ours, as on the platform, is refused and left as it is."""
    with connect(bare_dsn) as owner:
        owner.execute(psycopg.sql.SQL("create table {} (id uuid)").format(psycopg.sql.Identifier(table)))
        with pytest.raises(DatabaseRefused, match=rf"table {table} .* name an empty database on another server"):
            adopt_database(bare_dsn)
        tables = owner.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert [row["tablename"] for row in tables] == [table]


def test_adopting_takes_a_user_who_may_create(plain_database: Database) -> None:
    """A user without the right to create the schema is refused with what is missing."""
    with pytest.raises(DatabaseRefused, match="CREATEROLE"):
        adopt_database(plain_database.worker_dsn)
