"""Connections behind a transaction pooler: every transaction may run in another session, which is others' before and after.

So nothing is left in a session: no prepared statement, no setting, no lock, no LISTEN. A pipeline that ends with its one Sync
is one transaction, which a pooler sends to one server.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import AsyncCursor, AsyncPipeline, Cursor, Pipeline
from psycopg.abc import Params
from psycopg.rows import DictRow

from worker.queue.bounded import MONITOR_BOUNDS, WORKER_BOUNDS, BoundedAsyncConnection, BoundedConnection
from worker.queue.statements import statement

_BOUND = statement("bound_transaction")


class PooledConnection(BoundedConnection):
    """Each transaction brings its bounds in its own round trip."""

    @contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        with super().pipeline() as pipeline:
            super().execute(_BOUND, WORKER_BOUNDS)
            yield pipeline

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Cursor[DictRow]:
        if self._pipeline is not None:
            return super().execute(query, params, **options)
        with self.pipeline():
            return super().execute(query, params, **options)


class PooledAsyncConnection(BoundedAsyncConnection):
    """The same for the monitor."""

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[AsyncPipeline]:
        async with super().pipeline() as pipeline:
            await super().execute(_BOUND, MONITOR_BOUNDS)
            yield pipeline

    async def execute(self, query: Any, params: Params | None = None, **options: Any) -> AsyncCursor[DictRow]:
        if self._pipeline is not None:
            return await super().execute(query, params, **options)
        async with self.pipeline():
            return await super().execute(query, params, **options)
