"""Reads a submission's task under the submission's own student and course."""

import psycopg
from psycopg import sql

from worker.core.outcome import Submission
from worker.core.task import NO_TASK, TaskRow
from worker.queue.connection import Connection, has_answered
from worker.queue.platform_probe import MIGRATION_SIGNS, forget, platform_of
from worker.queue.statements import statement

_SUBJECT, _COURSE, _READ = statement("set_subject"), statement("set_course"), statement("read_task")
TRIES = 2  # the second with the names of now
_CONTEXT = ("teacher_context_md", "hints_md")  # the column's name of 2026, and of 2025-12


def read_task(connection: Connection, submission: Submission) -> TaskRow:
    """Return the row, or NO_TASK if it is gone, hidden by row security, or refused by the database: none of these is an error.

    One round trip. If a migration has just renamed a column, the names are read again. Raises psycopg's error without a reply.
    """
    for _ in range(TRIES):
        try:
            return _read(connection, submission)
        except psycopg.Error as error:
            if not has_answered(error):
                raise
            if error.sqlstate not in MIGRATION_SIGNS:
                break
        forget(connection)
    return NO_TASK


def _read(connection: Connection, submission: Submission) -> TaskRow:
    columns = platform_of(connection).context_columns
    if not columns:
        return NO_TASK
    with connection.pipeline():
        connection.execute(_SUBJECT, {"student_sub": submission["student_sub"]})
        connection.execute(_COURSE, {"course_id": submission["course_id"]})
        cursor = connection.execute(_reading(columns), {"task_id": submission["task_id"]})
    row = cursor.fetchone()
    return TaskRow(**row) if row else NO_TASK


def _reading(columns: frozenset[str]) -> sql.Composed:
    context = next((name for name in _CONTEXT if name in columns), "")
    names = {"instruction_md": "instruction_md", "teacher_context_md": context, "model_solution_md": "model_solution_md"}
    return sql.SQL(_READ).format(**{name: _column(column, columns) for name, column in names.items()})


def _column(name: str, columns: frozenset[str]) -> sql.Composable:
    return sql.Identifier(name) if name in columns else sql.SQL("null::text")
