"""Committing the OCR text before feedback starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from worker.core.job import Lease
from worker.job_queue.connection import Connection
from worker.job_queue.permit import HeldPermit, execute
from worker.job_queue.statements import statement

_CHECKPOINT = statement("checkpoint")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the vision step made of a submission, and the hash of what it was made from."""

    text_md: str
    raw_metadata: Mapping[str, Any]
    origin: str


def write_checkpoint(
    connection: Connection, lease: Lease, reading: Reading, lease_seconds: float, held: HeldPermit | None = None
) -> bool:
    """False if the lease is not ours any more: then nothing was written. Gives the permit back in the same round trip."""
    values = {
        "job_id": lease.job_id,
        "lease_key": lease.lease_key,
        "text_md": reading.text_md,
        "raw_metadata": Jsonb(dict(reading.raw_metadata)),
        "origin": reading.origin,
        "lease_seconds": lease_seconds,
    }
    return execute(connection, _CHECKPOINT, values, held) == 1
