"""Tasks of a schema of 2026, in a section that is open to the student of a submission, and practice attempts at them."""

from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

_SUBMISSION: LiteralString = "select course_id, task_id, section_id, student_sub from learning_submissions where id = %s"
_COURSE: LiteralString = "insert into courses (id) values (%(course_id)s) on conflict do nothing"
_MEMBER: LiteralString = "insert into course_memberships values (%(course_id)s, %(student_sub)s) on conflict do nothing"
_SECTION: LiteralString = """
    insert into course_sections (course_id, section_id, is_released, is_modular)
    values (%(course_id)s, %(section_id)s, not %(is_modular)s, %(is_modular)s) on conflict do nothing
"""
_ATTEMPT: LiteralString = """
    with item as (
        insert into practice_session_items (presentation_number, solution_seen) values (%s, %s) returning id
    )
    insert into practice_attempts (submission_id, item_id, criteria) select %s, id, %s from item returning id
"""


def open_task(owner: psycopg.Connection[Any], submission_id: UUID, *, is_modular: bool = False, **columns: object) -> UUID:
    """Insert the task of a submission, visible to its student, and return its id. Work of two students may have one task.

    A task of a modular unit is visible only while the course is set too.
    """
    row = dict(
        _only(owner, "select course_id, task_id, section_id, student_sub from learning_submissions where id = %s", submission_id)
    )
    for statement in (_COURSE, _MEMBER, _SECTION):
        owner.execute(statement, row | {"is_modular": is_modular})
    task = {"id": row["task_id"], "section_id": row["section_id"], **columns}
    names, values = (sql.SQL(", ").join(map(kind, task)) for kind in (sql.Identifier, sql.Placeholder))
    owner.execute(sql.SQL("insert into unit_tasks ({}) values ({}) on conflict do nothing").format(names, values), task)
    task_id: UUID = row["task_id"]
    return task_id


def begin_attempt(
    owner: psycopg.Connection[Any],
    submission_id: UUID,
    criteria: list[str],
    *,
    presentation_number: int = 1,
    solution_seen: bool = False,
) -> UUID:
    """Insert a practice attempt that waits for the analysis of this submission, and return its id."""
    attempt_id: UUID = _only(owner, _ATTEMPT, presentation_number, solution_seen, submission_id, criteria)["id"]
    return attempt_id


def _only(owner: psycopg.Connection[Any], query: LiteralString, *values: object) -> Any:
    row = owner.cursor(row_factory=psycopg.rows.dict_row).execute(query, values).fetchone()
    assert row is not None
    return row
