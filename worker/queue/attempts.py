"""Ends a job together with its practice attempt: both in one transaction, so that no pupil waits for an attempt without a job."""

from uuid import UUID

import psycopg
from psycopg.errors import InFailedSqlTransaction
from psycopg.pq import TransactionStatus

from worker.core.last_error import code_of
from worker.core.outcome import Completed, Failed, Lease
from worker.core.practice import NOT_COMPLETED, AttemptRefused, Practice
from worker.queue.connection import Connection
from worker.queue.permits import HeldPermit
from worker.queue.settle import settle
from worker.queue.statements import statement
from worker.queue.usage import NO_USAGE, UsageWrite, without_record

_SUBJECT, _FAIL_ATTEMPT, _FAIL_UNLEASED = statement("set_subject"), statement("fail_attempt"), statement("fail_unleased")


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
    with without_record(usage):
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


def fail_unleased(connection: Connection, job_id: UUID, job_error_code: str, practice: Practice | None = None) -> bool:
    """Fail a job that cannot be leased, with its practice attempt. False if it is leased, finished or not due.

    Without the platform's functions an attempt could not be ended, so its job is left as it is.
    """
    codes = {"job_error_code": job_error_code, "last_error": code_of(job_error_code)}
    with connection.transaction():
        row = connection.execute(_FAIL_UNLEASED, {"job_id": job_id, "ends_attempts": practice is not None, **codes}).fetchone()
        if row and practice:
            _fail_attempt(connection, str(row["submission_id"]), job_error_code, practice)
    return row is not None


def _end_attempt(connection: Connection, lease: Lease, outcome: Completed | Failed, practice: Practice) -> None:
    submission_id = str(lease.submission_id)
    if isinstance(outcome, Failed):
        _fail_attempt(connection, submission_id, outcome.job_error_code, practice)
        return
    result = {"analysis_json": dict(outcome.analysis), "feedback_md": outcome.feedback_md}
    try:
        practice.complete(conn=connection, submission_id=submission_id, **result)
    except BaseException as error:
        if _is_of_the_database(connection, error):
            raise  # as of every other write
        raise AttemptRefused.of(error) from error
    if _is_aborted(connection):
        raise AttemptRefused(NOT_COMPLETED, InFailedSqlTransaction.__name__)


def _fail_attempt(connection: Connection, submission_id: str, error_code: str, practice: Practice) -> None:
    """Fail the attempt by the platform's function. If it has a bug, which each lease would meet, call the database."""
    values = {"submission_id": submission_id, "error_code": error_code}
    try:
        practice.fail(conn=connection, **values)
    except BaseException as error:
        if _is_of_the_database(connection, error):
            raise
        connection.execute(_FAIL_ATTEMPT, values)
    if _is_aborted(connection):
        raise InFailedSqlTransaction


def _is_of_the_database(connection: Connection, error: BaseException) -> bool:
    """Report whether the database or its connection has failed. Other errors of psycopg are bugs, such as a commit in here."""
    return isinstance(error, psycopg.Error) and (error.sqlstate is not None or connection.closed)


def _is_aborted(connection: Connection) -> bool:
    """Report whether the function has concealed an error of the database. The commit would then undo everything silently."""
    return connection.info.transaction_status is TransactionStatus.INERROR
