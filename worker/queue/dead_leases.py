"""Giving back the jobs of the dead: the monitor's statements, on its asynchronous connection."""

from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import DictRow

from worker.core.outcome import MAX_EXPIRIES
from worker.queue.leases import LeaseOwner
from worker.queue.statements import statement

_FIND, _RETURN, _KEYS = statement("find_job"), statement("return_dead"), statement("leased_keys")

AsyncConnection = psycopg.AsyncConnection[DictRow]


class ReclaimResult(StrEnum):
    """What became of a dead worker's job."""

    RELEASED = "returned"
    QUARANTINED = "quarantined"
    NOT_FOUND = "not_found"  # settled before the death, or taken over


async def return_lease(
    connection: AsyncConnection, job_id: UUID | None, lease_key: UUID, *, max_crashes: int | None
) -> ReclaimResult:
    """Frees the job under this key; the death counts against it unless `max_crashes` is None."""
    found = job_id or await _job_of(connection, lease_key)
    return await _return(connection, found, lease_key, "crashes" if max_crashes else None, max_crashes or 1)


async def return_expired(connection: AsyncConnection, job_id: UUID, lease_key: UUID) -> ReclaimResult:
    """Frees a job of a dead instance, counted as an expiry: nobody can tell whether the job killed its host."""
    return await _return(connection, job_id, lease_key, "expiries", MAX_EXPIRIES)


async def leases_of(connection: AsyncConnection, instance: int) -> list[tuple[UUID, UUID]]:
    """(job id, lease key) of every lease that one instance holds."""
    rows = await (await connection.execute(_KEYS)).fetchall()
    owned = [(row["id"], row["lease_key"]) for row in rows]
    return [(job_id, key) for job_id, key in owned if (owner := LeaseOwner.of(key)) and owner.instance == instance]


async def _job_of(connection: AsyncConnection, lease_key: UUID) -> UUID | None:
    row = await (await connection.execute(_FIND, {"lease_key": lease_key})).fetchone()
    return row["id"] if row else None


async def _return(
    connection: AsyncConnection, job_id: UUID | None, lease_key: UUID, count_as: str | None, limit: int
) -> ReclaimResult:
    if job_id is None:
        return ReclaimResult.NOT_FOUND
    values: dict[str, Any] = {"job_id": job_id, "lease_key": lease_key, "count_as": count_as, "limit": limit}
    row = await (await connection.execute(_RETURN, values)).fetchone()
    if row is None:
        return ReclaimResult.NOT_FOUND
    return ReclaimResult.QUARANTINED if row["is_quarantined"] else ReclaimResult.RELEASED
