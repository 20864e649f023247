"""Reclaims the leases of dead workers, on the monitor's connection."""

from enum import StrEnum
from typing import Any
from uuid import UUID

from worker.core.outcome import MAX_EXPIRIES
from worker.queue.connection import AsyncConnection
from worker.queue.leases import LeaseOwner
from worker.queue.statements import statement

_FIND, _RECLAIM, _KEYS = statement("find_job"), statement("reclaim"), statement("leased_keys")
_PARK = statement("park")


class ReclaimResult(StrEnum):
    """Result of one attempt to reclaim a lease."""

    RECLAIMED = "reclaimed"
    QUARANTINED = "quarantined"
    PARKED = "parked"  # the database refused this, so the job was put aside
    NOT_FOUND = "not_found"  # the worker had settled the job, or another one has taken it over


async def reclaim_lease(
    connection: AsyncConnection, job_id: UUID | None, lease_key: UUID, *, max_crashes: int | None
) -> ReclaimResult:
    """Put the job with this lease key back into the queue. Without `job_id` the job is looked up by its key.

    The death is counted in the job, which is quarantined at the `max_crashes`-th one. With None the death is not counted.
    """
    found = job_id or await _job_of(connection, lease_key)
    return await _reclaim(connection, found, lease_key, "crashes" if max_crashes else None, max_crashes or 1)


async def reclaim_orphaned_lease(connection: AsyncConnection, job_id: UUID, lease_key: UUID) -> ReclaimResult:
    """Put a job of a dead instance back into the queue. It counts as an expiry, because the job may have killed the host."""
    return await _reclaim(connection, job_id, lease_key, "expiries", MAX_EXPIRIES)


async def park_lease(connection: AsyncConnection, job_id: UUID | None, lease_key: UUID, job_error_code: str) -> ReclaimResult:
    """Put a job aside, after the database refused to take its lease back. Calls no function of the platform."""
    found = job_id or await _job_of(connection, lease_key)
    values = {"job_id": found, "lease_key": lease_key, "job_error_code": job_error_code}
    is_parked = found is not None and (await connection.execute(_PARK, values)).rowcount == 1
    return ReclaimResult.PARKED if is_parked else ReclaimResult.NOT_FOUND


async def leases_of(connection: AsyncConnection, instance: int) -> list[tuple[UUID, UUID]]:
    """Return (job id, lease key) of every lease that one instance holds."""
    rows = await (await connection.execute(_KEYS)).fetchall()
    found = []
    for row in rows:
        owner = LeaseOwner.of(row["lease_key"])
        if owner is not None and owner.instance == instance:
            found.append((row["id"], row["lease_key"]))
    return found


async def _job_of(connection: AsyncConnection, lease_key: UUID) -> UUID | None:
    row = await (await connection.execute(_FIND, {"lease_key": lease_key})).fetchone()
    return row["id"] if row else None


async def _reclaim(
    connection: AsyncConnection, job_id: UUID | None, lease_key: UUID, count_as: str | None, limit: int
) -> ReclaimResult:
    if job_id is None:
        return ReclaimResult.NOT_FOUND
    values: dict[str, Any] = {"job_id": job_id, "lease_key": lease_key, "count_as": count_as, "limit": limit}
    row = await (await connection.execute(_RECLAIM, values)).fetchone()
    if row is None:
        return ReclaimResult.NOT_FOUND
    return ReclaimResult.QUARANTINED if row["is_quarantined"] else ReclaimResult.RECLAIMED
