"""Reads a submission under its own student's subject."""

from uuid import UUID

from psycopg.rows import DictRow

from worker.queue.connection import Connection
from worker.queue.statements import statement

_SUBJECT, _READ = statement("set_subject"), statement("read_submission")


def read_submission(connection: Connection, submission_id: UUID, student_sub: str) -> DictRow | None:
    """Return the row, or None if row security hides it.

    This takes one round trip: the statements of a pipeline are one implicit transaction, and the subject ends with it. An
    explicit transaction would take three more.
    """
    with connection.pipeline():
        connection.execute(_SUBJECT, {"student_sub": student_sub})
        cursor = connection.execute(_READ, {"submission_id": submission_id})
    return cursor.fetchone()
