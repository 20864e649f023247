"""Connections behind a transaction pooler: each transaction may run in a different session, shared with other clients.

So nothing may stay in a session: no prepared statement, setting, lock or LISTEN. A pipeline that ends with its one Sync message
is one transaction, which a pooler sends to one server session.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import AsyncCursor, AsyncPipeline, Cursor, Pipeline
from psycopg.abc import Params
from psycopg.pq import PipelineStatus
from psycopg.rows import DictRow

from worker.queue.bounded import MONITOR_BOUNDS, WORKER_BOUNDS, BoundedAsyncConnection, BoundedConnection
from worker.queue.statements import statement

_BOUND = statement("bound_transaction")


class PooledConnection(BoundedConnection):
    """Sends its timeouts at the start of each transaction, in the same round trip."""

    @contextmanager
    def pipeline(self) -> Iterator[Pipeline]:
        with super().pipeline() as pipeline:
            super().execute(_BOUND, WORKER_BOUNDS)
            yield pipeline

    def execute(self, query: Any, params: Params | None = None, **options: Any) -> Cursor[DictRow]:
        if self.pgconn.pipeline_status != PipelineStatus.OFF:
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
        if self.pgconn.pipeline_status != PipelineStatus.OFF:
            return await super().execute(query, params, **options)
        async with self.pipeline():
            return await super().execute(query, params, **options)
