"""Connections on which no wait is without end: the server's bounds, and our own for a server that has fallen silent."""

import logging
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import _WaitTimeout
from psycopg.pq.abc import PGconn
from psycopg.rows import DictRow

STATEMENT_TIMEOUT_MS = 10_000
WORKER_BOUNDS = {"statement_timeout_ms": STATEMENT_TIMEOUT_MS, "lock_timeout_ms": 5_000}
MONITOR_BOUNDS = {"statement_timeout_ms": STATEMENT_TIMEOUT_MS, "lock_timeout_ms": 1_000}  # one locked row must not blind it
ANSWER_TIMEOUT_SECONDS = 12.0  # beyond the server's own bound, below the deadline that the supervisor kills for (20 s)
_LOOK_SECONDS = 0.1  # psycopg's own: how soon a signal is noticed

logging.getLogger("psycopg").disabled = True  # it would quote the server on stderr; what happened is told by its class

Answer = TypeVar("Answer")


class StatementTimeout(psycopg.OperationalError):
    """The server, or a pooler before it, holds the connection and says nothing: TCP is content, and no timeout of theirs ran."""


class BoundedConnection(psycopg.Connection[DictRow]):
    """Every answer comes in time, or the connection is closed and StatementTimeout raised."""

    def wait(self, gen: PQGen[Answer], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> Answer:
        if timeout is not None:  # who names a time waits for what may not come: a notification
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, ANSWER_TIMEOUT_SECONDS)
        except _WaitTimeout as silence:
            raise _given_up(self.pgconn) from silence


class BoundedAsyncConnection(psycopg.AsyncConnection[DictRow]):
    """The same for the monitor's one loop."""

    async def wait(self, gen: PQGen[Answer], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> Answer:
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, ANSWER_TIMEOUT_SECONDS)
        except _WaitTimeout as silence:
            raise _given_up(self.pgconn) from silence


def _given_up(pgconn: PGconn) -> StatementTimeout:
    """Closed, so that a late answer is not taken for that of the next statement."""
    pgconn.finish()
    return StatementTimeout(f"no answer within {ANSWER_TIMEOUT_SECONDS:g} s")
