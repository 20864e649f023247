"""Leases a job, and makes and reads lease keys."""

import secrets
from dataclasses import dataclass
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow

from worker.core.abilities import ABILITIES_OF_2025, Abilities
from worker.core.gates import ALL_OPEN, Gates
from worker.core.outcome import Lease, last_error_in
from worker.queue.abilities import ability_values
from worker.queue.connection import Connection, is_pooled
from worker.queue.permits import NO_PERMITS, HeldPermit, Permits, held_permit
from worker.queue.statements import statement

_LEASE, _LEASE_PAST_CLOSED_GATES, _FIND = statement("lease"), statement("lease_past_closed_gates"), statement("find_lease")
_READ_LEASED, _CANDIDATES, _LEASE_ALONE = statement("read_leased"), statement("lease_candidates"), statement("lease_alone")
LOOK_AHEAD = 100  # jobs that are examined while a gate is closed: the number in lease_past_closed_gates.sql


@dataclass(frozen=True, slots=True)
class LeaseOwner:
    """Holder of a lease, as two numbers of 32 bits. They are random for each instance and for each start of a worker."""

    instance: int
    incarnation: int

    def new_key(self) -> UUID:
        """Return a new UUID of version 8: instance, 58 random bits, incarnation."""
        raw = bytearray(self.instance.to_bytes(4) + secrets.token_bytes(8) + self.incarnation.to_bytes(4))
        raw[6] = raw[6] & 0x0F | 0x80  # version 8
        raw[8] = raw[8] & 0x3F | 0x80  # variant of RFC 9562
        return UUID(bytes=bytes(raw))

    @classmethod
    def of(cls, key: UUID) -> "LeaseOwner | None":
        """Return the maker of a key. None for a key of another program, such as the platform's own worker."""
        if key.version != 8:
            return None
        return cls(int.from_bytes(key.bytes[:4]), int.from_bytes(key.bytes[12:]))


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """`position`: the `visible_at` at which the search begins. None: an expired lease first, then the start of the queue.

    While a gate is closed, only a job whose next step has an open gate is leased. `skipped_job_ids` came to a closed gate before
    and are passed over, and so are `refused_job_ids`, whose rows the database refused. `sibling_keys` are leases of other workers
    of the instance, which end them even after they have expired. `permits` are those of the feedback model, for typed text. Only
    jobs within the `abilities` are leased.
    """

    lease_key: UUID
    lease_seconds: float
    position: str | None = None
    gates: Gates = ALL_OPEN
    skipped_job_ids: tuple[UUID, ...] = ()
    permits: Permits = NO_PERMITS
    refused_job_ids: tuple[UUID, ...] = ()
    sibling_keys: tuple[UUID, ...] = ()
    abilities: Abilities = ABILITIES_OF_2025


def lease_job(connection: Connection, request: LeaseRequest) -> Lease | None:
    """Lease the oldest job that may run, and commit. None if there is none. One round trip."""
    row = _execute(connection, request).fetchone()
    return _lease(row) if row else None


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request in a pipeline. `result` may be called after the end of the pipeline."""

    job: Cursor[DictRow]
    submission: Cursor[DictRow]

    def result(self) -> tuple[Lease | None, HeldPermit | None]:
        """Return the lease with its submission, and the permit. The session holds the permit from now on."""
        row, submission = self.job.fetchone(), self.submission.fetchone()
        if row is None or submission is None:
            return (_lease(row) if row else None), None
        number = submission.pop("permit")
        return _lease(row, submission), (held_permit(self.job.connection, number) if number else None)


def send_request(connection: Connection, request: LeaseRequest) -> SentRequest:
    """Request a job, its submission, and a permit for a typed text.

    Call it in a pipeline, because the lease sets the student's subject for the rest of the transaction.
    """
    permits = NO_PERMITS if is_pooled(connection) else request.permits
    values = {"permit_key": permits.key, "permits": permits.reach}
    return SentRequest(_execute(connection, request), connection.execute(_READ_LEASED, values))


def _execute(connection: Connection, request: LeaseRequest) -> Cursor[DictRow]:
    values = {
        "lease_key": request.lease_key,
        "lease_seconds": request.lease_seconds,
        "position": request.position,
        "sibling_keys": list(request.sibling_keys),
        **ability_values(request.abilities),
    }
    if request.gates.are_all_open and not request.refused_job_ids:
        return connection.execute(_LEASE, values)
    passed_over = {"skipped_job_ids": list(request.skipped_job_ids), "refused_job_ids": list(request.refused_job_ids)}
    return connection.execute(_LEASE_PAST_CLOSED_GATES, {**values, **_gates(request), **passed_over})


def _gates(request: LeaseRequest) -> dict[str, bool]:
    return {"vision": request.gates.vision, "feedback": request.gates.feedback}


def lease_candidates(connection: Connection, refused_job_ids: tuple[UUID, ...]) -> list[UUID]:
    """List the jobs that a lease may choose, in its order, after a lease was refused. Changes nothing."""
    return [row["id"] for row in connection.execute(_CANDIDATES, {"refused_job_ids": list(refused_job_ids)})]


def lease_alone(connection: Connection, request: LeaseRequest, job_id: UUID) -> Lease | None:
    """Lease this job and no other, so that an error is about its row. None if it may not be leased now."""
    values = {"job_id": job_id, "lease_key": request.lease_key, "lease_seconds": request.lease_seconds}
    row = connection.execute(_LEASE_ALONE, {**values, **_gates(request), **ability_values(request.abilities)}).fetchone()
    return _lease(row) if row else None


def find_lease(connection: Connection, lease_key: UUID) -> Lease | None:
    """Find the job with this key, after the connection was lost during a lease. None if the lease was not committed."""
    row = connection.execute(_FIND, {"lease_key": lease_key}).fetchone()
    return _lease(row) if row else None


def _lease(row: DictRow, submission: DictRow | None = None) -> Lease:
    return Lease(
        job_id=row["id"],
        submission_id=row["submission_id"],
        lease_key=row["lease_key"],
        payload=row["payload"],
        retry_count=max(row["retry_count"] or 0, 0),  # another program may have written any number, or none
        age_seconds=row["age_seconds"] or 0.0,
        visible_at=row["visible_at"],
        error_code=row["error_code"] or last_error_in(row["payload"]),
        submission=submission,
    )
