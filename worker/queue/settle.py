"""Ends a job: each Outcome is one fenced statement. The next job is leased in the same round trip."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, assert_never

from psycopg import Cursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from worker.core.evidence import HeldFailure
from worker.core.last_error import code_of
from worker.core.outcome import AlreadyFinal, Completed, Failed, Lease, Lost, Outcome, Released, Retried, Settled
from worker.queue.connection import Connection
from worker.queue.leases import LeaseRequest, SentRequest, send_request
from worker.queue.permits import HeldPermit, give_back, send_give_back
from worker.queue.sqlstate import is_refusal
from worker.queue.statements import statement
from worker.queue.usage import NO_USAGE, UsageWrite, execute_with_usage, in_transaction

_SETTLE, _FAIL, _RETRY = statement("settle"), statement("fail"), statement("retry")
_RELEASE, _HOLD, _DELETE = statement("release"), statement("hold"), statement("delete_job")
_LEAVE = statement("leave")
_PARK, _MARK = statement("park"), statement("mark_refused")


@dataclass(frozen=True, slots=True)
class Settlement:
    """`is_written`: the lease was still valid. `next_lease` and `next_permit`: the next job, if one was requested and found.

    `instead`: the outcome that was written for another one.
    """

    is_written: bool
    next_lease: Lease | None = None
    next_permit: HeldPermit | None = None
    instead: Failed | None = None


def settle(
    connection: Connection, lease: Lease, outcome: Outcome, held: HeldPermit | None = None, usage: UsageWrite = NO_USAGE
) -> bool:
    """Write the outcome and give the permit back in one round trip. False if the lease was lost: then nothing was written.

    Repeating the call after a lost connection is safe. Outcome Lost writes nothing and only gives the permit back.
    """
    if isinstance(outcome, Lost):
        give_back(connection, held)
        return False
    sql, values = _fenced(lease, outcome)
    return execute_with_usage(connection, lease, usage, sql, values, held) == 1


def settle_and_lease(
    connection: Connection,
    lease: Lease,
    outcome: Settled,
    held: HeldPermit | None,
    request: LeaseRequest,
    usage: UsageWrite = NO_USAGE,
) -> Settlement:
    """Settle one job and lease the next in one transaction and one round trip, so that both are committed or neither is."""
    sql, values = _fenced(lease, outcome)

    def send() -> tuple[Cursor[DictRow], SentRequest]:
        written = connection.execute(sql, values)
        send_give_back(connection, held)
        return written, send_request(connection, request)

    written, sent = in_transaction(connection, lease, usage, send)
    return Settlement(written.rowcount == 1, *sent.result())


def _fenced(lease: Lease, outcome: Settled) -> tuple[LiteralString, dict[str, Any]]:
    sql, fields = _statement_of(outcome)
    return sql, {"job_id": lease.job_id, "lease_key": lease.lease_key, **fields}


def park(connection: Connection, lease: Lease, job_error_code: str) -> bool:
    """Put a job aside whose end the database refuses. False if the lease was lost."""
    return _write_reason(connection, _PARK, lease, {"job_error_code": job_error_code})


def mark_refused(connection: Connection, lease: Lease, job_error_code: str, kept: Released | None = None) -> bool:
    """Leave the reason, with answer and evidence, to the next worker if the job cannot be put aside. Its lease ends by itself."""
    values = _kept(kept.held_failure, kept.answer) if kept else _kept(None, None)
    return _write_reason(connection, _MARK, lease, {"job_error_code": job_error_code, **values})


def _write_reason(connection: Connection, sql: LiteralString, lease: Lease, values: Mapping[str, Any]) -> bool:
    return connection.execute(sql, {"job_id": lease.job_id, "lease_key": lease.lease_key, **values}).rowcount == 1


def _statement_of(outcome: Settled) -> tuple[LiteralString, dict[str, Any]]:
    match outcome:
        case Completed(text_md, feedback_md, analysis, _):
            return _SETTLE, {"text_md": text_md, "feedback_md": feedback_md, "analysis": Jsonb(dict(analysis))}
        case Failed(error_code, job_error_code, error_class, _):
            return _FAIL, {
                "error_code": error_code,
                "job_error_code": job_error_code,
                "last_error": code_of(error_class or job_error_code),
            }
        case Retried(step, error_class, delay_seconds, _):
            return _RETRY, {
                "step": step,
                "error_class": error_class,
                "last_error": code_of(error_class),
                "job_error_code": error_class if is_refusal(error_class) else None,
                "delay_seconds": delay_seconds,
            }
        case Released("held" | "refused", delay_seconds, error_class, held_failure, answer):
            values = {"delay_seconds": delay_seconds, "error_class": error_class}
            return _HOLD, {**values, **_kept(held_failure, answer)}
        case Released("unable", needs=needs):
            return _LEAVE, {"needs": Jsonb(needs.as_json() if needs else {})}
        case Released():
            return _RELEASE, {}
        case AlreadyFinal():
            return _DELETE, {}
        case _:
            assert_never(outcome)


def _kept(held_failure: HeldFailure | None, answer: Completed | None) -> dict[str, Jsonb | None]:
    """Return the values that a held job keeps in its payload."""
    return {
        "held_failure": Jsonb(held_failure.as_json()) if held_failure else None,
        "answer": Jsonb(answer.as_json()) if answer else None,
    }
