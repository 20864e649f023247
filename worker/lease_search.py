"""Leases the next job, past rows that the database refuses.

The ordinary lease does not name the row on which it failed. After a refusal each candidate is therefore tried alone. A row that
fails alone is passed over for a growing time.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from worker.context import WorkerContext
from worker.core.outcome import Lease
from worker.ipc.contract import Activity, Counter, EventKind
from worker.queue.attempts import fail_unleased
from worker.queue.connection import Connection, RowRefused, SessionEnded, is_pooled
from worker.queue.leases import LeaseRequest, find_lease, lease_alone, lease_candidates, lease_job
from worker.queue.refusals import Refusals
from worker.queue.sqlstate import reason_of
from worker.session import always
from worker.timeouts import STATEMENT_DEADLINE_SECONDS

DUE_ROWS_AT_ONCE = 10  # tries between two jobs
MAX_CANDIDATES = 1000  # tried in search of a refused row, a hundred or two at a time


@dataclass(frozen=True, slots=True)
class PendingLease:
    """A lease request until its result is known. There are three cases:

    1. The result arrives, and nothing is pending any more.
    2. The connection breaks first. The request may have committed, so the next connection looks for its key.
    3. The lease in hand ends before there is a new connection. `Loop` keeps this value and looks for the key later.
    """

    request: LeaseRequest
    sent_at_seconds: float

    def find(self, connection: Connection) -> Lease | None:
        return find_lease(connection, self.request.lease_key)


class LeaseSearch:
    """One search at a time. `refusals` are the rows that this worker passes over."""

    def __init__(self, ctx: WorkerContext, refusals: Refusals) -> None:
        self._ctx, self._refusals = ctx, refusals

    def is_due(self) -> bool:
        """True if a refused row is to be tried again, alone and not together with the end of another job."""
        return any(True for _ in self._refusals.due(time.monotonic()))

    def lease(self, pending: PendingLease) -> Lease | None:
        """A refused row whose next try is due, else the next job."""
        return self._lease_due(pending) or self._lease_next(pending)

    def find(self, pending: PendingLease) -> Lease | None:
        """The job of a request that may have committed. None if the row cannot be read: then its lease ends by itself."""
        with suppress(RowRefused):
            return self._ctx.session.ask(pending.find)
        return None

    def _lease_due(self, pending: PendingLease) -> Lease | None:
        due = list(self._refusals.due(time.monotonic()))
        return self._first_leased(pending, due[:DUE_ROWS_AT_ONCE])

    def _lease_next(self, pending: PendingLease) -> Lease | None:
        try:
            return self._ask(pending, lambda connection: lease_job(connection, pending.request))
        except RowRefused:
            return self._lease_past_refused(pending)

    def _lease_past_refused(self, pending: PendingLease) -> Lease | None:
        """Tries the candidates one by one, until one is leased. Jobs with an obstacle may hide the refused row."""
        tried: set[UUID] = set()
        while len(tried) < MAX_CANDIDATES and not self._ctx.wakeups.is_leaving:
            known = tuple(tried.union(self._refusals.job_ids()))
            candidates = self._ctx.session.ask(partial(lease_candidates, refused_job_ids=known))
            if lease := self._first_leased(pending, candidates):
                return lease
            if not candidates:
                return None
            tried.update(candidates)
        return None

    def _first_leased(self, pending: PendingLease, job_ids: list[UUID]) -> Lease | None:
        for job_id in job_ids:
            if self._ctx.wakeups.is_leaving:
                return None
            if lease := self._lease_alone(pending, job_id):
                return lease
        return None

    def _lease_alone(self, pending: PendingLease, job_id: UUID) -> Lease | None:
        try:
            lease = self._ask(pending, lambda connection: lease_alone(connection, pending.request, job_id))
        except RowRefused as refusal:
            self._refused(job_id, refusal.sqlstate)
            return None
        self._refusals.was_accepted(job_id, time.monotonic(), is_leased=lease is not None)
        return lease

    def _refused(self, job_id: UUID, sqlstate: str) -> None:
        """Passes the row over. After several tries its job is failed, if other rows have passed meanwhile."""
        refusal = self._refusals.add(job_id, sqlstate, time.monotonic())
        outcome = "failed" if refusal.is_over and self._fail(job_id, sqlstate) else "passed_over"
        self._ctx.report.send(EventKind.ROW_REFUSED, job_id=job_id, outcome=outcome, error_class=reason_of(sqlstate))

    def _fail(self, job_id: UUID, sqlstate: str) -> bool:
        """False if the database refuses this too: then the row stays as it is, and `status` reports it."""

        def fail(connection: Connection) -> bool:
            practice = self._ctx.practice if self._ctx.platform.has_practice else None
            return fail_unleased(connection, job_id, reason_of(sqlstate), practice)

        self._ctx.report.enter_activity(Activity.LEASE, STATEMENT_DEADLINE_SECONDS)
        try:
            is_failed = self._ctx.session.ask(fail, is_of_row=always)
        except RowRefused:
            return False
        self._refusals.forget(job_id)
        self._ctx.report.count(Counter.FAILED_VISION, int(is_failed))
        return True

    def _ask(self, pending: PendingLease, lease: Callable[[Connection], Lease | None]) -> Lease | None:
        """Publishes the key before the statement. A lost connection may have committed, so the next one looks for the key.

        The key is withdrawn if the server has ended the session in place of a commit.
        """

        def first(connection: Connection) -> Lease | None:
            self._ctx.report.set_pending_lease(pending.request.lease_key)
            try:
                return lease(connection)
            except SessionEnded:
                if not is_pooled(connection):  # a pooler may send this for an end of its own, while the server commits
                    self._ctx.report.set_lease(None, None)
                raise

        self._ctx.report.enter_activity(Activity.LEASE, STATEMENT_DEADLINE_SECONDS)
        return self._ctx.session.ask(first, after_reconnect=pending.find, is_of_row=always)
