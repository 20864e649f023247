"""Connections on which no wait is without end.

The server gets timeouts for statements and locks. A timeout in the client covers a server or pooler that stops replying.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import psycopg
from psycopg import AsyncPipeline, Pipeline
from psycopg.abc import PQGen
from psycopg.pq.abc import PGconn
from psycopg.rows import DictRow

from worker.vendor_internals import WaitTimeout

STATEMENT_TIMEOUT_MS = 10_000
WORKER_BOUNDS = {"statement_timeout_ms": STATEMENT_TIMEOUT_MS, "lock_timeout_ms": 5_000}
MONITOR_BOUNDS = {"statement_timeout_ms": STATEMENT_TIMEOUT_MS, "lock_timeout_ms": 1_000}  # its one loop also serves /metrics
REPLY_TIMEOUT_SECONDS = 12.0  # above the server's own timeout, below the deadline at which the supervisor kills (20 s)
_SIGNAL_CHECK_SECONDS = 0.1  # psycopg's default: how soon a waiting process handles a signal

logging.getLogger("psycopg").disabled = True  # it would write the server's messages to stderr, and they may quote pupils' texts

Reply = TypeVar("Reply")


class StatementTimeout(psycopg.OperationalError):
    """The connection is open, no reply came, and no server-side timeout fired."""


class ConnectionBroken(psycopg.OperationalError):
    """The server ended the connection in the instant after its last reply."""


class BoundedConnection(psycopg.Connection[DictRow]):
    """A connection that is closed, with StatementTimeout, when a reply takes longer than REPLY_TIMEOUT_SECONDS.

    A caller that passes a timeout of its own is waiting for a notification, which may never come.
    """

    def wait(self, gen: PQGen[Reply], interval: float = _SIGNAL_CHECK_SECONDS, timeout: float | None = None) -> Reply:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        with _closed_without_reply(self.pgconn):
            return super().wait(gen, interval, REPLY_TIMEOUT_SECONDS)

    @contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        with _named_errors(self.pgconn), super().pipeline() as pipeline:
            yield pipeline


class BoundedAsyncConnection(psycopg.AsyncConnection[DictRow]):
    """The same for the monitor's event loop."""

    async def wait(self, gen: PQGen[Reply], interval: float = _SIGNAL_CHECK_SECONDS, timeout: float | None = None) -> Reply:
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        with _closed_without_reply(self.pgconn):
            return await super().wait(gen, interval, REPLY_TIMEOUT_SECONDS)

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        with _named_errors(self.pgconn):
            async with super().pipeline() as pipeline:
                yield pipeline


@contextmanager
def _closed_without_reply(pgconn: PGconn) -> Iterator[None]:
    """Close the connection on a timeout, because a late reply would be read as the reply to the next statement."""
    try:
        yield
    except WaitTimeout as timeout:
        pgconn.finish()
        raise StatementTimeout(f"no reply within {REPLY_TIMEOUT_SECONDS:g} s") from timeout


@contextmanager
def _named_errors(pgconn: PGconn) -> Iterator[None]:
    """Raise the server's error where psycopg 3.3 raises another one at the end of a pipeline, and close the connection.

    - IndexError: the end of the session (57P01) arrives after the last expected result.
    - OperationalError without an SQLSTATE: the commit failed, and the pipeline cannot be left. The server's error is its context.

    A StatementTimeout has a context too, and stays what it is.
    """
    try:
        yield
    except StatementTimeout:
        raise
    except IndexError as surplus:
        pgconn.finish()
        raise ConnectionBroken from surplus
    except psycopg.OperationalError as error:
        if error.sqlstate is None and isinstance(error.__context__, psycopg.Error):
            pgconn.finish()
            raise error.__context__ from None
        raise
