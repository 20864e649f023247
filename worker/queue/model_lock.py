"""Lets all instances agree on which of two models may be called, if both do not fit into memory together.

The model lock is a session advisory lock on the monitor's connection, so the death of the monitor frees it. Behind a transaction
pooler sessions are shared and hold no lock. There each instance decides alone.
"""

from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from worker.queue.connection import AsyncConnection, is_pooled
from worker.queue.permits import Permits, lock_key
from worker.queue.statements import statement

_ACQUIRE, _CALLED = statement("acquire_model_lock"), statement("permits_held")


@dataclass(frozen=True, slots=True)
class ModelLockKeys:
    """Keys of two locks: that of a model, and that of the other model on the same server.

    They differ from the keys of the models' permits. Their second number is 0, and permits are numbered from 1.
    """

    own: int
    other: int

    @classmethod
    def of(cls, endpoint: str, model: str, other: str) -> "ModelLockKeys":
        return cls(lock_key("model_lock", endpoint, model), lock_key("model_lock", endpoint, other))


async def acquire_model_lock(connection: AsyncConnection, keys: ModelLockKeys, lost_pids: Collection[int] = ()) -> bool:
    """Take the model lock. False if another instance holds the lock of the other model or is trying to take it. Never waits.

    The locks of sessions with `lost_pids` do not count, because nothing uses them.
    """
    if is_pooled(connection):
        return True
    try:
        values = {"own_key": keys.own, "other_key": keys.other, "lost_pids": list(lost_pids)}
        row = await (await connection.execute(_ACQUIRE, values)).fetchone()
    except psycopg.Error:
        await connection.close()  # a statement that was cancelled between its parts keeps what it had taken
        raise
    return bool(row and row["is_ours"])


async def release_model_lock(connection: AsyncConnection) -> None:
    """Release every lock of the connection, because the model lock is the only one that it may hold."""
    if not is_pooled(connection):
        await connection.execute("select pg_advisory_unlock_all()")


async def is_in_use(connection: AsyncConnection, permits: Permits) -> bool:
    """Report whether a worker of any instance is calling the model. Always False behind a pooler, where this is unknown.

    Lost permits do not count, because the call that they were taken for has ended.
    """
    row = await (await connection.execute(_CALLED, {"permit_key": permits.key, "lost": list(permits.lost)})).fetchone()
    return bool(row and row["is_in_use"])
