"""Memory of rows that the database refused, each with a growing wait before its next try."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from uuid import UUID

from worker.ipc.backoff import doubling
from worker.queue.sqlstate import Fault, fault_of

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 1.0, 300.0
MAX_SUSPECT_WAIT_SECONDS = 5.0  # until another row has passed, all rows may be concerned: a migration
TRIES_BEFORE_THE_END = 4
TRIES_BEFORE_FORGETTING = 12
MAX_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """`has_rival`: since the first refusal the same statement has succeeded for another row.

    `is_result`: the row was leased, and its result was refused.
    """

    sqlstate: str
    tries: int
    retry_at_seconds: float
    is_result: bool
    has_rival: bool = False

    @property
    def is_over(self) -> bool:
        """True if the row alone is at fault, and several tries have not helped."""
        return self.has_rival and self.tries >= TRIES_BEFORE_THE_END


class Refusals:
    """Rows by job id. With too many, the oldest is forgotten and may be refused once more."""

    def __init__(self) -> None:
        self._rows: dict[UUID, Refusal] = {}

    def add(self, job_id: UUID, sqlstate: str, now_seconds: float, *, is_result: bool = False) -> Refusal:
        """Remember a refusal and set the time of the next try."""
        before = self._rows.pop(job_id, None)
        tries, has_rival = (before.tries, before.has_rival) if before else (0, False)
        is_suspect = fault_of(sqlstate) is Fault.SUSPECT and not has_rival
        wait_seconds = doubling(FIRST_WAIT_SECONDS, MAX_SUSPECT_WAIT_SECONDS if is_suspect else MAX_WAIT_SECONDS, tries)
        if len(self._rows) >= MAX_ROWS:
            del self._rows[next(iter(self._rows))]
        refusal = Refusal(sqlstate, tries + 1, now_seconds + wait_seconds, is_result, has_rival)
        self._rows[job_id] = refusal
        return refusal

    def rival_passed(self, *, is_result: bool) -> None:
        """The same statement has succeeded for a row that is not remembered here: a result was written, or a job leased."""
        for job_id, each in self._rows.items():
            if each.is_result is is_result and not each.has_rival:
                self._rows[job_id] = replace(each, has_rival=True)

    def result_of(self, job_id: UUID) -> str | None:
        """Return the SQLSTATE with which the row's result is refused, if the row alone is at fault by the class of the error."""
        refusal = self._rows.get(job_id)
        return refusal.sqlstate if refusal and refusal.is_result and _is_row(refusal.sqlstate) else None

    def was_accepted(self, job_id: UUID, now_seconds: float, *, is_leased: bool) -> None:
        """The database did not refuse the lease. A refused result is remembered until the next result is written.

        If such a row could not be leased, it may be leased already, or be finished: wait again, a few times.
        """
        before = self._rows.get(job_id)
        if before is None or not before.is_result or before.tries > TRIES_BEFORE_FORGETTING:
            self.forget(job_id)
        elif not is_leased:
            self.add(job_id, before.sqlstate, now_seconds, is_result=True)

    def forget(self, job_id: UUID) -> None:
        self._rows.pop(job_id, None)

    def of(self, job_id: UUID) -> Refusal | None:
        return self._rows.get(job_id)

    def job_ids(self) -> tuple[UUID, ...]:
        return tuple(self._rows)

    def is_waiting(self, job_id: UUID, now_seconds: float) -> bool:
        """Report whether the row was refused and its next try is not due."""
        refusal = self._rows.get(job_id)
        return refusal is not None and refusal.retry_at_seconds > now_seconds

    def due(self, now_seconds: float) -> Iterator[UUID]:
        """Yield the rows whose next try is due. The caller may change the memory meanwhile."""
        return (job_id for job_id, refusal in list(self._rows.items()) if refusal.retry_at_seconds <= now_seconds)


def _is_row(sqlstate: str) -> bool:
    return fault_of(sqlstate) is Fault.ROW
