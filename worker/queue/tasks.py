"""Reads a submission's task under the submission's own student and course."""

import psycopg
from psycopg import sql

from worker.core.outcome import Submission
from worker.core.task import NO_TASK, TaskRow
from worker.queue.connection import Connection, has_answered
from worker.queue.statements import statement

_SUBJECT, _COURSE, _READ = statement("set_subject"), statement("set_course"), statement("read_task")
_CONTEXT = ("teacher_context_md", "hints_md")  # the column's name of 2026, and of 2025-12


def read_task(connection: Connection, submission: Submission, columns: frozenset[str]) -> TaskRow:
    """Return the row, or NO_TASK if it is gone, hidden by row security, or refused by the database: none of these is an error.

    One round trip. `columns` are those of `unit_tasks` that the role may read. Raises psycopg's error without a reply.
    """
    try:
        with connection.pipeline():
            connection.execute(_SUBJECT, {"student_sub": submission["student_sub"]})
            connection.execute(_COURSE, {"course_id": submission["course_id"]})
            cursor = connection.execute(_reading(columns), {"task_id": submission["task_id"]})
        row = cursor.fetchone()
    except psycopg.Error as error:
        if not has_answered(error):
            raise
        return NO_TASK
    return TaskRow(**row) if row else NO_TASK


def _reading(columns: frozenset[str]) -> sql.Composed:
    context = next((name for name in _CONTEXT if name in columns), None)
    return sql.SQL(_READ).format(
        instruction_md=_column("instruction_md" if "instruction_md" in columns else None),
        teacher_context_md=_column(context),
        model_solution_md=_column("model_solution_md" if "model_solution_md" in columns else None),
    )


def _column(name: str | None) -> sql.Composable:
    return sql.Identifier(name) if name else sql.SQL("null::text")
