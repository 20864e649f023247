"""Submissions are entered as the platform does it: rows, jobs and files that satisfy the queue contract."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from testkit.database import Database
from testkit.submissions import Submission, demo_submissions, enter_all, enter_submission, text_submissions

pytestmark = pytest.mark.postgres

COURSE, TASK = uuid4(), uuid4()
ROWS: LiteralString = "select * from public.learning_submissions"
JOBS: LiteralString = "select * from public.learning_submission_jobs"
UUID_PATTERN = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def submissions() -> tuple[Submission, ...]:
    return demo_submissions()


def read(connection: psycopg.Connection[Any], query: LiteralString, key: str) -> dict[UUID, dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return {row[key]: row for row in cursor.execute(query)}


def enter(connection: psycopg.Connection[Any], submission: Submission, root: Path) -> UUID:
    return enter_submission(connection, submission, storage_root=root, course_id=COURSE, task_id=TASK, student_sub="schueler-a")


def test_all_fourteen_become_rows_and_jobs(
    connection: psycopg.Connection[Any], submissions: tuple[Submission, ...], tmp_path: Path
) -> None:
    """Every submission passes the schema's checks and gets one job that is visible at once."""
    ids = enter_all(connection, submissions, storage_root=tmp_path)
    rows, jobs = read(connection, ROWS, "id"), read(connection, JOBS, "submission_id")
    assert len(set(ids)) == 14
    assert rows.keys() == jobs.keys() == set(ids)
    assert {(row["analysis_status"], row["error_code"], row["attempt_nr"]) for row in rows.values()} == {("pending", None, 1)}
    assert {(job["status"], job["retry_count"], job["lease_key"]) for job in jobs.values()} == {("queued", 0, None)}


def test_the_payload_is_the_platforms(
    connection: psycopg.Connection[Any], submissions: tuple[Submission, ...], tmp_path: Path
) -> None:
    """Each job has exactly the nine keys of the contract, with the values of its row and submission."""
    ids = enter_all(connection, submissions, storage_root=tmp_path)
    rows, jobs = read(connection, ROWS, "id"), read(connection, JOBS, "submission_id")
    for submission_id, submission in zip(ids, submissions, strict=True):
        row = rows[submission_id]
        assert jobs[submission_id]["payload"] == {
            "submission_id": str(submission_id),
            "course_id": str(row["course_id"]),
            "task_id": str(row["task_id"]),
            "student_sub": row["student_sub"],
            "kind": submission.kind,
            "attempt_nr": row["attempt_nr"],
            "criteria": list(submission.criteria),
            "instruction_md": submission.instruction_md,
            "hints_md": submission.hints_md,
        }


def test_files_are_stored_as_the_rows_describe(
    connection: psycopg.Connection[Any], submissions: tuple[Submission, ...], tmp_path: Path
) -> None:
    """Each row's storage key has the row's content, size and sha256, and there is no other file."""
    ids = enter_all(connection, submissions, storage_root=tmp_path)
    rows = read(connection, ROWS, "id")
    uploads = {rows[entered]["storage_key"]: submission for entered, submission in zip(ids, submissions, strict=True)}
    del uploads[None]
    by_key = {row["storage_key"]: row for row in rows.values()}
    files = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {key: submission.content for key, submission in uploads.items()}
    assert len(files) == 7
    for key, content in files.items():
        assert (by_key[key]["size_bytes"], by_key[key]["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert by_key[key]["mime_type"] == uploads[key].mime_type


def test_the_storage_key_has_the_platforms_layout(
    connection: psycopg.Connection[Any], submissions: tuple[Submission, ...], tmp_path: Path
) -> None:
    """Bucket, course, task, student, `orig` and a name without a hint of the pupil."""
    uploaded = next(each for each in submissions if each.mime_type == "image/png")
    entered = enter(connection, uploaded, tmp_path)
    row = read(connection, ROWS, "id")[entered]
    assert re.fullmatch(f"submissions/{COURSE}/{TASK}/schueler-a/orig/{UUID_PATTERN}.png", row["storage_key"])


def test_typed_text_is_only_in_the_row(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    """Typed text is stored without a change, with no file, and not in the job, which stays after a failure."""
    (submission,) = text_submissions(1, seed=1)
    entered = enter(connection, submission, tmp_path)
    assert read(connection, ROWS, "id")[entered]["text_body"] == submission.content
    assert str(submission.content) not in str(read(connection, JOBS, "submission_id")[entered]["payload"])
    assert not list(tmp_path.iterdir())


def test_a_row_is_never_without_its_job(connection: psycopg.Connection[Any], tmp_path: Path) -> None:
    """If the job cannot be written the submission is not either, because both are one transaction."""
    connection.execute("alter table public.learning_submission_jobs add constraint closed check (false)")
    (submission,) = text_submissions(1, seed=1)
    with pytest.raises(psycopg.errors.CheckViolation):
        enter(connection, submission, tmp_path)
    assert read(connection, ROWS, "id") == {}
