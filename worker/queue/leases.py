"""Taking a job, and what stands in a lease key."""

import secrets
from dataclasses import dataclass
from uuid import UUID

from psycopg import Cursor
from psycopg.rows import DictRow

from worker.core.gates import ALL_OPEN, Gates
from worker.core.outcome import Lease
from worker.queue.connection import Connection, is_pooled
from worker.queue.permits import NO_PERMITS, HeldPermit, Permits, held_permit
from worker.queue.statements import statement

_LEASE, _LEASE_AHEAD, _FIND = statement("lease"), statement("lease_past_closed_gates"), statement("find_lease")
_READ_LEASED = statement("read_leased")
LOOK_AHEAD = 100  # jobs, the number in lease_past_closed_gates.sql


@dataclass(frozen=True, slots=True)
class LeaseOwner:
    """Who holds a lease: 32 bits each, random per instance and per start of a worker."""

    instance: int
    incarnation: int

    def new_key(self) -> UUID:
        """A UUID of version 8: instance, 58 random bits, incarnation."""
        raw = bytearray(self.instance.to_bytes(4) + secrets.token_bytes(8) + self.incarnation.to_bytes(4))
        raw[6] = raw[6] & 0x0F | 0x80  # version 8
        raw[8] = raw[8] & 0x3F | 0x80  # variant of RFC 9562
        return UUID(bytes=bytes(raw))

    @classmethod
    def of(cls, key: UUID) -> "LeaseOwner | None":
        """Who made the key; None for a key that is not of our making, such as the platform's own worker's."""
        if key.version != 8:
            return None
        return cls(int.from_bytes(key.bytes[:4]), int.from_bytes(key.bytes[12:]))


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """`since`: the `visible_at` at which to begin; None: an expired lease if there is one, else from the start of the queue.

    While a gate is closed only a job whose next step is open is wanted, and none of those that were `skipped_job_ids` at a gate.
    `permits` are those of the feedback model, for a typed text that comes with its submission.
    """

    lease_key: UUID
    lease_seconds: float
    since: str | None = None
    gates: Gates = ALL_OPEN
    skipped_job_ids: tuple[UUID, ...] = ()
    permits: Permits = NO_PERMITS


def lease_job(connection: Connection, request: LeaseRequest) -> Lease | None:
    """The oldest job that may run, now ours and committed; None if there is none. One round trip."""
    row = _ask(connection, request).fetchone()
    return _lease(row) if row else None


@dataclass(frozen=True, slots=True)
class AskedLease:
    """For a pipeline: what was `granted` is there when the answers have come."""

    job: Cursor[DictRow]
    submission: Cursor[DictRow]
    permits: Permits

    def granted(self) -> tuple[Lease | None, HeldPermit | None]:
        """The permit is the session's from now on, whatever becomes of the job."""
        row, submission = self.job.fetchone(), self.submission.fetchone()
        if row is None or submission is None:
            return (_lease(row) if row else None), None
        number = submission.pop("permit")
        return _lease(row, submission), (held_permit(self.job.connection, self.permits, number) if number else None)


def ask_for_lease(connection: Connection, request: LeaseRequest) -> AskedLease:
    """The job, its submission, and for a typed text a permit. In a pipeline: the subject is the transaction's."""
    permits = NO_PERMITS if is_pooled(connection) else request.permits
    values = {"permit_key": permits.key, "permits": permits.count}
    return AskedLease(_ask(connection, request), connection.execute(_READ_LEASED, values), permits)


def _ask(connection: Connection, request: LeaseRequest) -> Cursor[DictRow]:
    values = {"lease_key": request.lease_key, "lease_seconds": request.lease_seconds, "since": request.since}
    if request.gates.are_all_open:
        return connection.execute(_LEASE, values)
    gates = {"vision": request.gates.vision, "feedback": request.gates.feedback, "skipped_job_ids": list(request.skipped_job_ids)}
    return connection.execute(_LEASE_AHEAD, {**values, **gates})


def find_lease(connection: Connection, lease_key: UUID) -> Lease | None:
    """The job that carries this key: asked after a connection was lost in the middle of `lease_job`."""
    row = connection.execute(_FIND, {"lease_key": lease_key}).fetchone()
    return _lease(row) if row else None


def _lease(row: DictRow, submission: DictRow | None = None) -> Lease:
    return Lease(
        job_id=row["id"],
        submission_id=row["submission_id"],
        lease_key=row["lease_key"],
        payload=row["payload"],
        retry_count=row["retry_count"],
        age_seconds=row["age_seconds"],
        visible_at=row["visible_at"],
        submission=submission,
    )
