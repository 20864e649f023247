"""Records the usage of models in the transaction of the write that it belongs to. It never costs that write."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import Cursor
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from worker.core.outcome import Lease
from worker.core.usage import UsageEvent
from worker.queue.connection import Connection
from worker.queue.permits import HeldPermit, closed_after_an_error, execute_and_give_back, send_give_back
from worker.queue.sqlstate import Fault, fault_of, sqlstate_of
from worker.queue.statements import statement

_RECORD = statement("record_usage")

T = TypeVar("T")


@dataclass(slots=True)
class UsageWrite:
    """Events for one write and its repetitions. `refused` is the SQLSTATE with which the database has refused to record them.

    `is_possible` reports whether the database of the open connection records usage at all.
    """

    events: tuple[UsageEvent, ...] = ()
    is_possible: Callable[[], bool] = lambda: True
    is_recorded: bool = False
    refused: str = ""

    @property
    def is_due(self) -> bool:
        """Report whether the next try of the write records the events."""
        return bool(self.events) and not self.refused and self.is_possible()


NO_USAGE = UsageWrite()


def execute_with_usage(
    connection: Connection,
    lease: Lease,
    usage: UsageWrite,
    sql: LiteralString,
    values: dict[str, Any],
    held: HeldPermit | None,
) -> int:
    """Run a statement after the record of the usage, give the permit back in the same round trip, and return the row count."""
    if not usage.is_due:
        return execute_and_give_back(connection, sql, values, held)

    def send() -> Cursor[DictRow]:
        cursor = connection.execute(sql, values)
        send_give_back(connection, held)
        return cursor

    return in_transaction(connection, lease, usage, send).rowcount


def in_transaction(connection: Connection, lease: Lease, usage: UsageWrite, send: Callable[[], T]) -> T:
    """Run the statements of `send` in one pipeline, after the record of the usage: one transaction and one round trip.

    If the record is refused, run them again without it. The connection is closed if another statement fails, because those take
    or release locks.
    """
    if usage.is_due:
        record = connection.cursor()
        is_in_transaction = connection.info.transaction_status is not TransactionStatus.IDLE
        try:
            with connection.pipeline():
                _send_record(record, lease, usage)
                sent = send()
        except psycopg.Error as error:
            usage.refused = _refusal(record, error)
            if connection.closed or not usage.refused:
                connection.close()
                raise
            if is_in_transaction:
                raise  # the caller's transaction has failed, and only the caller can begin it again
        else:
            usage.is_recorded = True
            return sent
    with closed_after_an_error(connection), connection.pipeline():
        return send()


def _send_record(record: Cursor[DictRow], lease: Lease, usage: UsageWrite) -> None:
    values: dict[str, Any] = {"job_id": lease.job_id, "lease_key": lease.lease_key}
    record.execute(_RECORD, {**values, "usage": Jsonb([event.as_json() for event in usage.events])})


def _refusal(record: Cursor[DictRow], error: psycopg.Error) -> str:
    """Return the SQLSTATE of a refused record. Empty if the record succeeded or the connection is at fault.

    The server skips all statements after a failed one, so the connection's locks are as before.
    """
    sqlstate = sqlstate_of(error)
    has_succeeded = record.pgresult is not None
    return "" if has_succeeded or sqlstate is None or fault_of(sqlstate) is Fault.SURROUNDINGS else sqlstate
