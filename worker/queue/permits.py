"""Permits: the right to one call to a model, as session advisory locks of PostgreSQL.

They count across instances and hosts, and the death of a worker frees them. Behind a transaction pooler sessions are shared, so a
permit is a socket of the host instead (host_permits.py).
"""

import functools
import hashlib
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, LiteralString

import psycopg
from psycopg import errors

from worker.core.outcome import Lease
from worker.queue import host_permits
from worker.queue.connection import Connection, is_pooled
from worker.queue.statements import statement

_BEGIN = statement("begin_step")
_RELEASE_ALL: LiteralString = "select pg_advisory_unlock_all()"


@dataclass(frozen=True, slots=True)
class Permits:
    """Permits of one model on one server: the first `count` numbers from 1 on under one key that are not `lost`.

    A lost number is held for no job, and the server cannot free it yet.
    """

    key: int
    count: int
    lost: frozenset[int] = frozenset()

    @classmethod
    def of(cls, endpoint: str, model: str, count: int, lost: frozenset[int] = frozenset()) -> "Permits":
        """If two keys collide, two models share their permits, which is harmless."""
        return cls(lock_key("permit", endpoint, model), count, lost)

    @property
    def numbers(self) -> list[int]:
        """The usable numbers, in order."""
        candidates = (number for number in range(1, self.count + len(self.lost) + 1) if number not in self.lost)
        return list(islice(candidates, self.count))

    @property
    def reach(self) -> int:
        """The highest usable number. A statement may try all numbers up to it, because it cannot get a lost one."""
        return max(self.numbers, default=0)


@functools.cache
def lock_key(purpose: str, endpoint: str, model: str) -> int:
    """Return the first number of an advisory lock: a hash of signed 32 bits. Cached, because every job needs the same few."""
    digest = hashlib.sha256(f"learning-supervisor {purpose}\n{endpoint}\n{model}".encode()).digest()
    return int.from_bytes(digest[:4], signed=True)


NO_PERMITS = Permits(0, 0)


@dataclass(frozen=True, slots=True)
class HeldPermit:
    """A permit that is held: by the session with this backend pid, so that a lost connection has lost it, or by a socket."""

    number: int
    backend_pid: int = field(default=0, compare=False)
    sock: socket.socket | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StepStart:
    """`is_ours`: the lease was renewed. `permit`: the permit that was taken, or None if all are in use."""

    is_ours: bool
    permit: HeldPermit | None


def begin_step(connection: Connection, lease: Lease, lease_seconds: float, permits: Permits) -> StepStart:
    """Renew the lease for a step and try to take a permit, in one round trip. With NO_PERMITS none is taken."""
    is_on_host = is_pooled(connection)
    values = {
        "job_id": lease.job_id,
        "lease_key": lease.lease_key,
        "lease_seconds": lease_seconds,
        "permit_key": permits.key,
        "permits": 0 if is_on_host else permits.reach,
    }
    with closed_after_an_error(connection):
        row = connection.execute(_BEGIN, values).fetchone()
    is_ours, number = (row["is_ours"], row["permit"]) if row else (False, None)
    if is_on_host:
        return StepStart(is_ours, _any_on_host(permits) if is_ours else None)
    return StepStart(is_ours, held_permit(connection, number) if number else None)


def wait_for_permit(connection: Connection, permits: Permits, number: int, timeout_seconds: float) -> HeldPermit | None:
    """Sleep in PostgreSQL's lock queue until `number` is free. No polling. None after the timeout."""
    if is_pooled(connection):
        sock = host_permits.wait(permits.key, number, timeout_seconds)
        return HeldPermit(number, sock=sock) if sock else None
    with closed_after_an_error(connection):
        try:
            with connection.pipeline():  # one implicit transaction: the timeout ends with it, the lock does not
                connection.execute("select set_config('lock_timeout', %s, true)", (f"{int(timeout_seconds * 1000)}ms",))
                connection.execute("select pg_advisory_lock(%s::int, %s::int)", (permits.key, number))
        except errors.LockNotAvailable:
            connection.execute(_RELEASE_ALL)  # a timeout in the instant of the grant is reported, and the lock is held
            return None
    return held_permit(connection, number)


def still_held(connection: Connection, held: HeldPermit | None) -> HeldPermit | None:
    """Return the permit, or None if it was lost with the connection on which it was taken."""
    return held if held and (held.sock or held.backend_pid == connection.info.backend_pid) else None


def held_permit(connection: Connection, number: int) -> HeldPermit:
    return HeldPermit(number, connection.info.backend_pid)


def _any_on_host(permits: Permits) -> HeldPermit | None:
    """Take the first free number."""
    for number in permits.numbers:
        if sock := host_permits.take(permits.key, number):
            return HeldPermit(number, sock=sock)
    return None


def execute_and_give_back(connection: Connection, sql: LiteralString, values: Mapping[str, Any], held: HeldPermit | None) -> int:
    """Run a statement, give the permit back in the same round trip, and return the number of rows returned or changed."""
    if is_pooled(connection):
        give_back(connection, held)  # before the statement, which may fail: the call to the model is over
        return connection.execute(sql, values).rowcount
    with closed_after_an_error(connection), connection.pipeline():
        cursor = connection.execute(sql, values)
        give_back(connection, held)
    return cursor.rowcount


def give_back(connection: Connection, held: HeldPermit | None) -> None:
    """Give the permit back, in a round trip of its own outside a pipeline. Otherwise the open connection would keep it.

    All locks of the session are released, also without a known permit, so that no lock outlives the job.
    """
    with closed_after_an_error(connection):
        send_give_back(connection, held)


def send_give_back(connection: Connection, held: HeldPermit | None) -> None:
    """The same in a pipeline. An error of a statement before it may arrive here, so the owner of the pipeline closes."""
    if held is not None and held.sock:
        held.sock.close()
    if not is_pooled(connection):
        connection.execute(_RELEASE_ALL)


@contextmanager
def closed_after_an_error(connection: Connection) -> Iterator[None]:
    """Close the connection if a statement that takes or releases locks fails.

    A session lock outlives a statement that was cancelled after the grant, and the rollback of its transaction. The end of the
    session releases it.
    """
    try:
        yield
    except psycopg.Error:
        connection.close()
        raise
