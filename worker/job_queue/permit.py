"""Permits: the right to one call to a model, as session advisory locks. Held across instances and hosts, freed by death."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import errors

from worker.core.job import Lease
from worker.job_queue.connection import Connection
from worker.job_queue.statements import statement

_BEGIN = statement("begin_step")


@dataclass(frozen=True, slots=True)
class Permits:
    """The permits of one model on one server: `count` numbers under one key."""

    key: int
    count: int

    @classmethod
    def of(cls, endpoint: str, model: str, count: int) -> "Permits":
        """The key is a signed 32-bit hash: a collision would only make two models share their permits."""
        digest = hashlib.sha256(f"learning-supervisor permit\n{endpoint}\n{model}".encode()).digest()
        return cls(int.from_bytes(digest[:4], signed=True), count)


NO_PERMITS = Permits(0, 0)


@dataclass(frozen=True, slots=True)
class HeldPermit:
    """One number that the session of this backend holds; another connection holds it no more."""

    key: int
    number: int
    backend_pid: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class StepStart:
    """`is_ours`: the lease was renewed. `permit`: the one taken, None if there was none to take."""

    is_ours: bool
    permit: HeldPermit | None


def begin_step(connection: Connection, lease: Lease, lease_seconds: float, permits: Permits) -> StepStart:
    """Renews the lease for a step and tries for a permit. One round trip. With no permits to take, `permit` is None."""
    row = connection.execute(
        _BEGIN,
        {
            "job_id": lease.job_id,
            "lease_key": lease.lease_key,
            "lease_seconds": lease_seconds,
            "permit_key": permits.key,
            "permits": permits.count,
        },
    ).fetchone()
    number = row["permit"] if row else None
    return StepStart(bool(row and row["is_ours"]), _held(connection, permits, number) if number else None)


def wait_for_permit(connection: Connection, permits: Permits, number: int, timeout_seconds: float) -> HeldPermit | None:
    """Sleeps in PostgreSQL's own lock queue until `number` is free: no polling. None after the timeout."""
    try:
        with connection.pipeline():  # one implicit transaction, in which the timeout holds; the lock outlives it
            connection.execute("select set_config('lock_timeout', %s, true)", (f"{int(timeout_seconds * 1000)}ms",))
            connection.execute("select pg_advisory_lock(%s::int, %s::int)", (permits.key, number))
    except errors.LockNotAvailable:
        return None
    return _held(connection, permits, number)


def still_held(connection: Connection, held: HeldPermit | None) -> HeldPermit | None:
    """The permit, unless it went with the connection it was taken on."""
    return held if held and held.backend_pid == connection.info.backend_pid else None


def _held(connection: Connection, permits: Permits, number: int) -> HeldPermit:
    return HeldPermit(permits.key, number, connection.info.backend_pid)


def execute(connection: Connection, sql: LiteralString, values: Mapping[str, Any], held: HeldPermit | None) -> int:
    """Runs one statement and gives a permit back in the same round trip. The number of rows it returned or changed."""
    if held is None:
        return connection.execute(sql, values).rowcount
    with connection.pipeline():
        cursor = connection.execute(sql, values)
        give_back(connection, held)
    return cursor.rowcount


def give_back(connection: Connection, held: HeldPermit | None) -> None:
    """By itself where a job ends without a statement. A connection that stays open would keep the permit for ever."""
    if held is not None:
        connection.execute("select pg_advisory_unlock(%s::int, %s::int)", (held.key, held.number))
