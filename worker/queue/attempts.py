"""Ends a job together with its practice attempt: both in one transaction, so that no pupil waits for an attempt without a job."""

import psycopg

from worker.core.outcome import Completed, Failed, Lease
from worker.core.practice import AttemptRefused, Practice
from worker.queue.connection import Connection
from worker.queue.permits import HeldPermit
from worker.queue.settle import settle
from worker.queue.statements import statement
from worker.queue.usage import NO_USAGE, UsageWrite

_SUBJECT = statement("set_subject")


def settle_attempt(
    connection: Connection,
    lease: Lease,
    outcome: Completed | Failed,
    held: HeldPermit | None,
    practice: Practice,
    usage: UsageWrite = NO_USAGE,
) -> bool:
    """Write the outcome as `settle` does, and the attempt's. False if the lease was lost: then nothing was written.

    Raises AttemptRefused if the platform's function refuses the result: then nothing was written either. If the database refuses
    the usage, the transaction begins again without it.
    """
    if usage.is_due:
        try:
            return _settle_both(connection, lease, outcome, held, practice, usage)
        except psycopg.Error:
            if connection.closed or not usage.refused:
                raise
    return _settle_both(connection, lease, outcome, held, practice, NO_USAGE)


def _settle_both(
    connection: Connection,
    lease: Lease,
    outcome: Completed | Failed,
    held: HeldPermit | None,
    practice: Practice,
    usage: UsageWrite,
) -> bool:
    with connection.transaction():
        connection.execute(_SUBJECT, {"student_sub": str(lease.payload.get("student_sub") or "")})
        if not settle(connection, lease, outcome, held, usage):
            return False
        _end_attempt(connection, lease, outcome, practice)
    return True


def _end_attempt(connection: Connection, lease: Lease, outcome: Completed | Failed, practice: Practice) -> None:
    submission_id = str(lease.submission_id)
    if isinstance(outcome, Failed):
        practice.fail(conn=connection, submission_id=submission_id, error_code=outcome.job_error_code)
        return
    result = {"analysis_json": dict(outcome.analysis), "feedback_md": outcome.feedback_md}
    try:
        practice.complete(conn=connection, submission_id=submission_id, **result)
    except psycopg.Error:
        raise  # the database's word, as of every other write
    except Exception as error:
        raise AttemptRefused.of(error) from error
