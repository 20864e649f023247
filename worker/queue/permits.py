"""Permits: the right to one call to a model, as session advisory locks. Held across instances and hosts, freed by death.

Behind a transaction pooler no session is ours: there a permit is one of the host's.
"""

import functools
import hashlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

from psycopg import errors

from worker.core.outcome import Lease
from worker.queue import host_permits
from worker.queue.connection import Connection, is_pooled
from worker.queue.statements import statement

_BEGIN = statement("begin_step")


@dataclass(frozen=True, slots=True)
class Permits:
    """The permits of one model on one server: `count` numbers under one key."""

    key: int
    count: int

    @classmethod
    def of(cls, endpoint: str, model: str, count: int) -> "Permits":
        """A collision of keys would only make two models share their permits."""
        return cls(lock_key("permit", endpoint, model), count)


@functools.cache
def lock_key(purpose: str, endpoint: str, model: str) -> int:
    """The first number of an advisory lock: a hash of signed 32 bits. A process asks for the same few with every job."""
    digest = hashlib.sha256(f"learning-supervisor {purpose}\n{endpoint}\n{model}".encode()).digest()
    return int.from_bytes(digest[:4], signed=True)


NO_PERMITS = Permits(0, 0)


@dataclass(frozen=True, slots=True)
class HeldPermit:
    """One number that the session of this backend holds; another connection holds it no more. Or a sock on this host."""

    key: int
    number: int
    backend_pid: int = field(default=0, compare=False)
    sock: socket.socket | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StepStart:
    """`is_ours`: the lease was renewed. `permit`: the one taken, None if there was none to take."""

    is_ours: bool
    permit: HeldPermit | None


def begin_step(connection: Connection, lease: Lease, lease_seconds: float, permits: Permits) -> StepStart:
    """Renews the lease for a step and tries for a permit. One round trip. With no permits to take, `permit` is None."""
    is_on_host = is_pooled(connection)
    row = connection.execute(
        _BEGIN,
        {
            "job_id": lease.job_id,
            "lease_key": lease.lease_key,
            "lease_seconds": lease_seconds,
            "permit_key": permits.key,
            "permits": 0 if is_on_host else permits.count,
        },
    ).fetchone()
    if is_on_host:
        is_ours = bool(row and row["is_ours"])
        return StepStart(is_ours, _any_on_host(permits) if is_ours else None)
    number = row["permit"] if row else None
    return StepStart(bool(row and row["is_ours"]), held_permit(connection, permits, number) if number else None)


def wait_for_permit(connection: Connection, permits: Permits, number: int, timeout_seconds: float) -> HeldPermit | None:
    """Sleeps in PostgreSQL's own lock queue until `number` is free: no polling. None after the timeout."""
    if is_pooled(connection):
        return _on_host(permits, number, host_permits.wait(permits.key, number, timeout_seconds))
    try:
        with connection.pipeline():  # one implicit transaction, in which the timeout holds; the lock outlives it
            connection.execute("select set_config('lock_timeout', %s, true)", (f"{int(timeout_seconds * 1000)}ms",))
            connection.execute("select pg_advisory_lock(%s::int, %s::int)", (permits.key, number))
    except errors.LockNotAvailable:
        return None
    return held_permit(connection, permits, number)


def still_held(connection: Connection, held: HeldPermit | None) -> HeldPermit | None:
    """The permit, unless it went with the connection it was taken on."""
    return held if held and (held.sock or held.backend_pid == connection.info.backend_pid) else None


def held_permit(connection: Connection, permits: Permits, number: int) -> HeldPermit:
    return HeldPermit(permits.key, number, connection.info.backend_pid)


def _any_on_host(permits: Permits) -> HeldPermit | None:
    """The first number that is free."""
    taken = (_on_host(permits, number, host_permits.take(permits.key, number)) for number in range(1, permits.count + 1))
    return next((held for held in taken if held), None)


def _on_host(permits: Permits, number: int, sock: socket.socket | None) -> HeldPermit | None:
    return HeldPermit(permits.key, number, sock=sock) if sock else None


def execute(connection: Connection, sql: LiteralString, values: Mapping[str, Any], held: HeldPermit | None) -> int:
    """Runs one statement and gives a permit back in the same round trip. The number of rows it returned or changed."""
    if held is None or held.sock:
        give_back(connection, held)  # the call is over, whatever becomes of the statement
        return connection.execute(sql, values).rowcount
    with connection.pipeline():
        cursor = connection.execute(sql, values)
        give_back(connection, held)
    return cursor.rowcount


def give_back(connection: Connection, held: HeldPermit | None) -> None:
    """By itself where a job ends without a statement. A connection that stays open would keep the permit for ever."""
    if held is not None and held.sock:
        held.sock.close()
    elif held is not None:
        connection.execute("select pg_advisory_unlock(%s::int, %s::int)", (held.key, held.number))
