"""Phases: which of two models that do not fit together is asked now, agreed on by all instances as session advisory locks.

Held by the monitor's connection and freed by its death. Behind a transaction pooler no session is ours: there each instance
decides for itself.
"""

from dataclasses import dataclass

from worker.queue.connection import is_pooled
from worker.queue.dead_leases import AsyncConnection
from worker.queue.permits import Permits, lock_key
from worker.queue.statements import statement

_ENTER, _ASKED = statement("acquire_model_lock"), statement("permits_held")


@dataclass(frozen=True, slots=True)
class ModelLockKeys:
    """The two locks of one phase: its own, and that of the other model on the same server.

    Other keys than of the models' permits, whose numbers begin at 1 besides.
    """

    own: int
    other: int

    @classmethod
    def of(cls, endpoint: str, model: str, other: str) -> "ModelLockKeys":
        return cls(lock_key("model_lock", endpoint, model), lock_key("model_lock", endpoint, other))


async def acquire_model_lock(connection: AsyncConnection, keys: ModelLockKeys) -> bool:
    """Whether the phase is ours now. False: somebody is in the other one, or was just looking. Never waits."""
    if is_pooled(connection):
        return True
    row = await (await connection.execute(_ENTER, {"own_key": keys.own, "other_key": keys.other})).fetchone()
    return bool(row and row["is_ours"])


async def release_model_lock(connection: AsyncConnection, keys: ModelLockKeys) -> None:
    if not is_pooled(connection):
        await connection.execute("select pg_advisory_unlock_shared(%s::int, 0)", [keys.own])


async def is_asked(connection: AsyncConnection, permits: Permits) -> bool:
    """Whether a worker of any instance is in a call to the model. Behind a pooler that is not known: False."""
    row = await (await connection.execute(_ASKED, {"permit_key": permits.key})).fetchone()
    return bool(row and row["is_asked"])
