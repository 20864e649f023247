"""Committing what was read: page by page where there are several, and the whole text before feedback starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from worker.core.outcome import Lease
from worker.queue.connection import Connection
from worker.queue.permits import HeldPermit, execute
from worker.queue.statements import statement

_CHECKPOINT, _CHECKPOINT_PAGE = statement("checkpoint"), statement("checkpoint_page")


@dataclass(frozen=True, slots=True)
class OcrResult:
    """What the vision step made of a submission, and the hash of what it was made from."""

    text_md: str
    raw_metadata: Mapping[str, Any]
    origin: str


@dataclass(frozen=True, slots=True)
class OcrPage:
    """The text of one page, counted from 1, and the hash of what the whole text is made from."""

    page: int
    text_md: str
    origin: str


def write_checkpoint(
    connection: Connection, lease: Lease, reading: OcrResult, lease_seconds: float, held: HeldPermit | None = None
) -> bool:
    """False if the lease is not ours any more: then nothing was written. Gives the permit back in the same round trip."""
    values = {
        "text_md": reading.text_md,
        "raw_metadata": Jsonb(dict(reading.raw_metadata)),
        "origin": reading.origin,
    }
    return execute(connection, _CHECKPOINT, {**_fence(lease, lease_seconds), **values}, held) == 1


def write_page(connection: Connection, lease: Lease, reading: OcrPage, lease_seconds: float) -> bool:
    """False if the lease is not ours any more. The page before it must have been written; the first begins anew."""
    values = {"page": reading.page, "text_md": reading.text_md, "origin": reading.origin}
    return connection.execute(_CHECKPOINT_PAGE, {**_fence(lease, lease_seconds), **values}).rowcount == 1


def _fence(lease: Lease, lease_seconds: float) -> dict[str, Any]:
    return {"job_id": lease.job_id, "lease_key": lease.lease_key, "lease_seconds": lease_seconds}
