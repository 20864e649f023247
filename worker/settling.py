"""Writes the outcome of a job. If the database refuses it, the job fails, or is parked."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from worker.context import WorkerContext
from worker.core.evidence import CallCounts
from worker.core.outcome import (
    AlreadyFinal,
    Completed,
    Failed,
    Lease,
    Lost,
    Outcome,
    Refused,
    Released,
    Retried,
    fallbacks,
    usage_in,
)
from worker.core.practice import AttemptRefused
from worker.core.refusal import ALL_REFUSED, Access, after_answer, hold, hold_answer
from worker.core.task import practice_attempt_of
from worker.held_lease import HeldLease
from worker.ipc.contract import FAILURE_COUNTERS, Activity, Counter, EventKind
from worker.lease_search import PendingLease
from worker.queue.attempts import settle_attempt
from worker.queue.connection import Connection, RowRefused
from worker.queue.refusals import Refusals
from worker.queue.settle import Settlement, mark_refused, park, settle, settle_and_lease
from worker.queue.sqlstate import is_passing, reason_of
from worker.queue.usage import UsageWrite
from worker.rivals import RefusedAccesses
from worker.session import LeaseRanOut
from worker.timeouts import STATEMENT_DEADLINE_SECONDS

KEPT_ANSWER_SECONDS = 600.0  # tries to write an answer after its lease, while the database is away: the fence decides
Write = Callable[..., Settlement]
Written = Outcome | Refused  # what became of an outcome


class Settling:
    """`refusals` are the rows that this worker passes over."""

    def __init__(self, ctx: WorkerContext, refusals: Refusals, refused_accesses: RefusedAccesses) -> None:
        self._ctx, self._refusals, self._refused_accesses = ctx, refusals, refused_accesses

    def write(self, held: HeldLease, outcome: Outcome, pending: PendingLease | None) -> Settlement:
        """Writes the outcome with its usage, and leases the next job if one is requested. Raises LeaseRanOut and RowRefused.

        A practice attempt whose result the platform's functions refuse fails instead.
        """
        try:
            return self._write(held, outcome, pending)
        except AttemptRefused as refusal:
            failure = replace(refusal.failure(self._ctx.platform), usage=usage_in(outcome))
        return replace(self._write(held, failure, None), instead=failure)

    def _write(self, held: HeldLease, outcome: Outcome, pending: PendingLease | None) -> Settlement:
        usage = self._ctx.usage.for_write(usage_in(outcome))

        def first(connection: Connection) -> Settlement:
            if pending is None or isinstance(outcome, Lost):  # without a next job: see `Loop._leases_next_after`
                return Settlement(self._settle(connection, held, outcome, usage))
            self._ctx.report.set_pending_lease(pending.request.lease_key)
            return settle_and_lease(connection, held.lease, outcome, held.permit, pending.request, usage)

        def after_reconnect(connection: Connection, *, may_have_committed: bool = True) -> Settlement:
            """If the job's row is gone while the lease runs, the first try has committed: no other worker may end the job yet."""
            is_written = self._settle(connection, held, outcome, usage)
            is_written = is_written or (may_have_committed and held.is_running())
            return Settlement(is_written, pending.find(connection) if pending else None)

        settlement = self._ask(held, outcome, first, after_reconnect)
        if settlement.is_written:
            self._ctx.usage.written(usage, held.lease.job_id)
        return settlement

    def _ask(self, held: HeldLease, outcome: Outcome, first: Write, after_reconnect: Write) -> Settlement:
        if isinstance(outcome, Completed):
            return self._write_answer(held, outcome, first, after_reconnect)
        self._ctx.report.enter_activity(Activity.SETTLE, STATEMENT_DEADLINE_SECONDS)
        return held.ask(first, after_reconnect, _counters(outcome))

    def _settle(self, connection: Connection, held: HeldLease, outcome: Outcome, usage: UsageWrite) -> bool:
        practice = self._ctx.practice if practice_attempt_of(held.lease.payload) else None
        if practice and isinstance(outcome, Completed | Failed):
            return settle_attempt(connection, held.lease, outcome, held.permit, practice, usage)
        return settle(connection, held.lease, outcome, held.permit, usage)

    def _write_answer(self, held: HeldLease, outcome: Completed, first: Write, after_reconnect: Write) -> Settlement:
        """Tries for KEPT_ANSWER_SECONDS after the lease. If the row may be refused, the job is put back with its answer before.

        While that is refused too, as by a lock on the table, no other worker can take the job.
        """
        last_round_at_seconds = time.monotonic() + KEPT_ANSWER_SECONDS
        while True:
            self._ctx.report.enter_activity(Activity.SETTLE, STATEMENT_DEADLINE_SECONDS)
            try:
                return held.ask(first, after_reconnect, _counters(outcome), KEPT_ANSWER_SECONDS)
            except LeaseRanOut as end:
                is_put_back = not end.suspect or self._put_back(
                    held.lease, hold_answer(held.lease, outcome, reason_of(end.suspect), self._counts())
                )
                if is_put_back or time.monotonic() > last_round_at_seconds:
                    raise
            first = after_reconnect = partial(after_reconnect, may_have_committed=False)  # but the put-back may have

    def written(self, lease: Lease, outcome: Outcome, settlement: Settlement) -> Written:
        """The outcome that the job has now: Lost if the lease was taken over, because the result is then dropped."""
        outcome = settlement.instead or outcome
        if not settlement.is_written:
            return Lost()
        if isinstance(outcome, Released) and outcome.reason == "refused":
            reason = outcome.error_class.removesuffix(ALL_REFUSED)
            self._report_refused(lease, reason)
            return Refused(reason)
        self._refusals.forget(lease.job_id)
        if not isinstance(outcome, Retried | Released):
            self._refused_accesses.forget(lease.job_id)
        if isinstance(outcome, Completed):
            self._refusals.rival_passed(is_result=True)
        return outcome

    def write_refused(self, held: HeldLease, outcome: Outcome, sqlstate: str, *, has_next: bool) -> Written:
        """Writes what the database accepts: the outcome without a next job, whose row may be at fault, else what stands for it.

        If it accepts neither, the job is parked. If it accepts no write, the lease ends by itself.
        """
        others = self._instead_of(outcome, held, sqlstate)
        try:
            for each in (outcome, *others) if has_next else others:
                with suppress(RowRefused):
                    return self.written(held.lease, each, self.write(held, each, None))
            if isinstance(outcome, Completed) and isinstance(others[0], Released):
                return self._leave(held, others[0], sqlstate)
            return self._park(held, outcome, sqlstate)
        except LeaseRanOut as end:
            return self.lost(held, end)

    def _instead_of(self, outcome: Outcome, held: HeldLease, sqlstate: str) -> tuple[Failed | Released, ...]:
        """The outcomes to write instead of a refused one."""
        lease, reason, may_pass = held.lease, reason_of(sqlstate), is_passing(sqlstate)
        if not isinstance(outcome, Completed):
            return fallbacks(outcome, lease, reason, may_retry=may_pass)
        self._refused_accesses.add(Access.RESULT, lease.job_id)
        judged = after_answer(lease, outcome, reason, self._counts(), is_passing=may_pass, is_too_old=held.is_too_old)
        return (judged,) if isinstance(judged, Failed) else (judged, replace(judged, answer=None, usage=outcome.usage))

    def _counts(self) -> CallCounts:
        """The results that the database has taken from this instance."""
        return CallCounts(self._ctx.wiring.instance, answered=self._refused_accesses.accepted(Access.RESULT))

    def lost(self, held: HeldLease, end: LeaseRanOut) -> Lost:
        """The lease has ended, or was given up before its end.

        If the database refused the last write, the row is passed over for a while, and the job is put back without using an
        attempt, so that no expiry is counted.
        """
        lease = held.lease
        if end.suspect:
            self._refused_accesses.add(held.access, lease.job_id)
            self._pass_over(lease, end.suspect)
            if held.is_running():
                self._put_back(lease, hold(reason_of(end.suspect)))
        return Lost()

    def _put_back(self, lease: Lease, released: Released) -> bool:
        """Gives a job back whose row may be refused, in one try. If that fails too, its lease ends by itself.

        Then the reason is left in its row, so that the next worker rehearses before it calls a model. False: nothing was.
        """
        writes: tuple[Callable[[Connection], bool], ...] = (
            lambda connection: settle(connection, lease, released),
            lambda connection: mark_refused(connection, lease, released.error_class, released),
        )
        return any(map(self._is_done_at_once, writes))

    def _is_done_at_once(self, write: Callable[[Connection], bool]) -> bool:
        """Tries a write once. False if it was not accepted."""
        self._ctx.report.enter_activity(Activity.SETTLE, STATEMENT_DEADLINE_SECONDS)
        with suppress(RowRefused, LeaseRanOut):
            self._ctx.session.ask(write, None, -math.inf)
            return True
        return False

    def _leave(self, held: HeldLease, held_answer: Released, sqlstate: str) -> Refused:
        """Leaves the answer in the row of a job that keeps its lease, because no evidence is against it.

        If the row takes only the reason, the next lease writes the failure, so that no model is called again.
        """
        lease, reason = held.lease, reason_of(sqlstate)
        if not self._put_back(lease, held_answer):
            self._is_done_at_once(lambda connection: mark_refused(connection, lease, reason))
        self._pass_over(lease, sqlstate)
        return Refused(reason)

    def _park(self, held: HeldLease, outcome: Outcome, sqlstate: str) -> Written:
        """Puts the job aside. A job that was only to be released keeps its lease, because its result is not refused yet.

        The next lease writes only the failure.
        """
        lease, reason = held.lease, reason_of(sqlstate)
        keeps_lease = isinstance(outcome, Released | Lost)
        self._ctx.report.enter_activity(Activity.SETTLE, STATEMENT_DEADLINE_SECONDS)
        try:
            if not keeps_lease and not held.ask(lambda connection: park(connection, lease, reason)):
                return Lost()
        except RowRefused:
            keeps_lease = True
            with suppress(RowRefused):
                held.ask(lambda connection: mark_refused(connection, lease, reason))
        if keeps_lease:
            self._refusals.add(lease.job_id, sqlstate, time.monotonic(), is_result=True)
        self._report_refused(lease, reason)
        return Refused(reason)

    def _pass_over(self, lease: Lease, sqlstate: str) -> None:
        """Passes over a refused row for a while, and reports it."""
        self._refusals.add(lease.job_id, sqlstate, time.monotonic(), is_result=True)
        self._report_refused(lease, reason_of(sqlstate))

    def _report_refused(self, lease: Lease, reason: str) -> None:
        self._ctx.report.send(
            EventKind.ROW_REFUSED,
            job_id=lease.job_id,
            submission_id=lease.submission_id,
            outcome="parked",
            error_class=reason,
        )


def _counters(outcome: Outcome) -> tuple[Counter, ...]:
    """The counters of jobs that were settled by the same statement. None for outcomes that are not counted."""
    match outcome:
        case Failed():
            return (*FAILURE_COUNTERS.values(), Counter.QUARANTINED)
        case Retried():
            return Counter.RETRIED_VISION, Counter.RETRIED_FEEDBACK
        case Released():
            return (Counter.RELEASED,)
        case Completed():
            return (Counter.COMPLETED,)
        case AlreadyFinal() | Lost():
            return ()
