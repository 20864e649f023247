"""The serial loop of a worker: lease a job, work on it, settle it, wait. One job at a time, as in the platform's own worker."""

import time
from collections import deque
from collections.abc import Mapping
from uuid import UUID

from worker.context import WorkerContext
from worker.core.abilities import Abilities
from worker.core.gates import ALL_OPEN, Gates
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
)
from worker.core.retry import HELD_TOO_LONG
from worker.core.task import practice_attempt_of
from worker.held_lease import HeldLease
from worker.ipc.contract import FAILURE_COUNTERS, REFUSAL_COUNTERS, WORKER_CRASHED, Activity, Counter, EventKind, Step
from worker.job import Job
from worker.lease_search import LeaseSearch, PendingLease
from worker.neighbours import Neighbours
from worker.queue.connection import RowRefused
from worker.queue.cursor import QueueCursor
from worker.queue.leases import LOOK_AHEAD, LeaseOwner, LeaseRequest
from worker.queue.permits import HeldPermit
from worker.queue.refusals import Refusals
from worker.rivals import RefusedAccesses
from worker.session import LeaseRanOut, Stopped
from worker.settling import Settling, Written
from worker.timeouts import STATEMENT_DEADLINE_SECONDS, first_lease_seconds

MONITORED_WAIT_SECONDS = 2.0  # interval at which an idle worker checks that the monitor still polls the queue
TRUST_SECONDS = 5.0  # without a poll for so long the monitor is taken for dead, and each worker polls for itself
IDLE_DEADLINE_SECONDS = 20.0  # with the poll interval. Jobs may wait for a worker that has stopped, and no other may be left
_HELD = {"released_held": Counter.HELD, HELD_TOO_LONG: Counter.HELD_TOO_LONG}  # counted beside the outcome's own counter


class Loop:
    """Runs until it is asked to stop. An unexpected exception ends the process, which is safe: the lease is reclaimed."""

    def __init__(self, ctx: WorkerContext) -> None:
        self._ctx, self._cursor = ctx, QueueCursor()
        self._gates, self._skipped_job_ids = ALL_OPEN, deque[UUID](maxlen=LOOK_AHEAD)
        self._abilities = ctx.abilities_now  # of the last search
        self._owner = LeaseOwner(ctx.wiring.instance, ctx.wiring.incarnation)
        self._pending: PendingLease | None = None
        self._neighbours, self._refusals = Neighbours(ctx.wiring, ctx.settings), Refusals()
        self._search = LeaseSearch(ctx, self._refusals)
        self._refused_accesses = RefusedAccesses(ctx.wiring.scoreboard)
        self._settling = Settling(ctx, self._refusals, self._refused_accesses)

    def run(self) -> None:
        held: HeldLease | None = None
        try:
            while held or not self._ctx.wakeups.is_leaving:
                held = held or self._lease()
                if held:
                    held = self._work(held)
                else:
                    self._wait()
        except Stopped:
            return
        finally:
            self._ctx.session.close()

    def _should_search(self) -> bool:
        """After an empty result, search again only after a notification, for a refused row that is due, or when more jobs may be
        taken: a gate opens, or the database was found to have more functions.
        """
        admission = self._ctx.admission
        has_more = admission.gates() != self._gates or self._ctx.abilities_now != self._abilities
        is_of_use = not self._cursor.is_exhausted or has_more or self._search.is_due()
        return admission.may_lease() and is_of_use

    def _lease(self) -> HeldLease | None:
        if not self._should_search():
            return None
        self._ctx.report.enter_activity(Activity.LEASE, STATEMENT_DEADLINE_SECONDS)
        pending, self._pending = self._pending, None
        held = self._find(pending) if pending else self._lease_new()
        if held is not None:
            self._ctx.report.send(EventKind.LEASED, job_id=held.lease.job_id, submission_id=held.lease.submission_id)
        return held

    def _lease_new(self) -> HeldLease | None:
        self._ctx.session.connect()  # the request asks for what the database has
        pending = self._new_request()
        return self._store_lease(pending, self._search.lease(pending))

    def _find(self, pending: PendingLease) -> HeldLease | None:
        """Looks for the job of a request that may have committed, instead of leasing a second one."""
        return self._store_lease(pending, self._search.find(pending))

    def _new_request(self) -> PendingLease:
        """A lease request with a new key. While a gate is closed, it skips jobs that were released at this gate."""
        gates, abilities = self._observe_gates(), self._observe_abilities()
        calls, position = self._ctx.admission.calls(Step.FEEDBACK), self._cursor.position()
        request = LeaseRequest(
            self._owner.new_key(),
            first_lease_seconds(self._ctx.settings),
            position,
            gates,
            tuple(self._skipped_job_ids),
            self._ctx.permits(Step.FEEDBACK, self._ctx.settings.ai_feedback_model, calls),
            self._refusals.job_ids(),
            self._neighbours.lease_keys() if position is None else (),
            abilities,
        )
        return PendingLease(request, time.monotonic())

    def _store_lease(self, pending: PendingLease, lease: Lease | None, permit: HeldPermit | None = None) -> HeldLease | None:
        """Stores the result of a lease request. The previous job is no longer held."""
        self._cursor.advance(pending.request.position, lease)
        if lease is None:
            self._ctx.report.set_lease(None, None)
            return None
        self._refusals.rival_passed(is_result=False)
        self._ctx.report.set_lease(lease.job_id, lease.lease_key)
        return HeldLease(self._ctx, lease, pending.sent_at_seconds, self._refused_accesses, permit)

    def _work(self, held: HeldLease) -> HeldLease | None:
        """Brings one job to its outcome and settles it. Returns the next job, if it was leased in the same round trip."""
        started_at_seconds, job = time.monotonic(), Job(self._ctx, held, self._refusals.result_of(held.lease.job_id))
        try:
            outcome = job.run()
        except LeaseRanOut as end:
            outcome = self._settling.lost(held, end)
        settling_at_seconds = time.monotonic()
        written, next_held = self._settle(held, outcome)
        now = time.monotonic()
        self._ctx.report.sample_memory()
        seconds = {**job.seconds, Activity.SETTLE: now - settling_at_seconds}
        if isinstance(written, Released) and written.is_at_gate:
            self._skip(held.lease.job_id)
        self._report_settled(held.lease, written, now - started_at_seconds, seconds, next_held)
        return next_held

    def _skip(self, job_id: UUID) -> None:
        """Skips a job until a gate changes from now on. The gate may have closed and opened between two requests."""
        if not self._observe_gates().are_all_open:
            self._skipped_job_ids.append(job_id)

    def _observe_gates(self) -> Gates:
        """The gates now. After a change no job is skipped any more."""
        gates = self._ctx.admission.gates()
        if gates != self._gates:
            self._skipped_job_ids.clear()
        self._gates = gates
        return gates

    def _observe_abilities(self) -> Abilities:
        """The abilities now, also for the monitor, which must not take other jobs for waiting work."""
        self._abilities = self._ctx.abilities_now
        self._ctx.report.set_abilities(self._abilities.as_bits())
        return self._abilities

    def _settle(self, held: HeldLease, outcome: Outcome) -> tuple[Written, HeldLease | None]:
        """Writes the outcome and leases the next job in one transaction. Returns what became of the outcome, and the next job."""
        pending = self._new_request() if self._leases_next_after(held.lease, outcome) else None
        try:
            settlement = self._settling.write(held, outcome, pending)
        except LeaseRanOut as end:
            self._pending = pending
            self._ctx.report.set_lease(None, None, pending.request.lease_key if pending else None)
            return self._settling.lost(held, end), None
        except RowRefused as refusal:
            written = self._settling.write_refused(held, outcome, refusal.sqlstate, has_next=pending is not None)
            self._end_lease()
            return written, None
        written = self._settling.written(held.lease, outcome, settlement)
        if pending is not None:
            return written, self._store_lease(pending, settlement.next_lease, settlement.next_permit)
        self._end_lease()
        return written, None

    def _end_lease(self) -> None:
        self._cursor.reset()  # the job may be found again, and so may older ones
        self._ctx.report.set_lease(None, None)

    def _leases_next_after(self, lease: Lease, outcome: Outcome) -> bool:
        """A job that was just released would be found again at once. A refused row that is due is tried alone first.

        A practice attempt is ended by functions of the platform, in a transaction that leases nothing.
        """
        may_lease = not self._ctx.wakeups.is_leaving and self._ctx.admission.may_lease()
        is_ordinary = not isinstance(outcome, Lost | Released) and practice_attempt_of(lease.payload) is None
        return may_lease and is_ordinary and not self._search.is_due()

    def _wait(self) -> None:
        """Waits for a wake-up by the monitor. Without a live monitor each worker polls for itself.

        The monitor may have chosen another worker before it admitted more, so a newly admitted worker searches by itself.
        """
        ctx, poll_seconds = self._ctx, self._ctx.settings.worker_poll_interval
        is_woken = False
        while not is_woken and not ctx.wakeups.is_leaving:
            poll_age_seconds = time.monotonic() - ctx.wiring.scoreboard.monitor.read().polled_at_seconds
            is_monitored = poll_age_seconds < TRUST_SECONDS
            ctx.report.enter_activity(Activity.IDLE, IDLE_DEADLINE_SECONDS + poll_seconds)
            is_woken = ctx.wakeups.wait(MONITORED_WAIT_SECONDS if is_monitored else poll_seconds) or not is_monitored
            is_woken = is_woken or self._should_search()
        self._cursor.reset()

    def _report_settled(
        self, lease: Lease, outcome: Written, seconds: float, steps: Mapping[Activity, float], next_held: HeldLease | None
    ) -> None:
        counter, label = _counter_and_label(outcome)
        for each in (counter, _HELD.get(label), REFUSAL_COUNTERS.get(_error_class(outcome))):
            if each is not None:
                self._ctx.report.count(each)
        if isinstance(outcome, AlreadyFinal):
            self._ctx.report.advance()
        self._ctx.report.send(
            EventKind.SETTLED,
            job_id=lease.job_id,
            submission_id=lease.submission_id,
            next_job_id=next_held.lease.job_id if next_held else None,
            outcome=label,
            error_class=_error_class(outcome),
            seconds=seconds,
            steps=steps,
            retry_in_seconds=_retry_in_seconds(outcome),
        )


def _counter_and_label(outcome: Written) -> tuple[Counter | None, str]:
    """The counter of an outcome, and its word in the log."""
    match outcome:
        case Completed():
            return Counter.COMPLETED, "completed"
        case Failed(_, job_error_code) if job_error_code == WORKER_CRASHED:
            return Counter.QUARANTINED, "quarantined"
        case Failed(error_code, job_error_code) if job_error_code.startswith(HELD_TOO_LONG):
            return _failure_counter(error_code), HELD_TOO_LONG
        case Failed(error_code):
            return _failure_counter(error_code), error_code
        case Retried(step):
            return Counter.RETRIED_VISION if step is Step.VISION else Counter.RETRIED_FEEDBACK, f"{step}_retrying"
        case Released(reason):
            return Counter.RELEASED, f"released_{reason}"
        case AlreadyFinal():
            return None, "already_final"
        case Lost():
            return Counter.REJECTED_BY_FENCE, "lease_lost"
        case Refused():
            return None, "refused"


def _failure_counter(error_code: str) -> Counter:
    """The counter of a code. The codes of later platforms are about analyses."""
    return FAILURE_COUNTERS.get(error_code, Counter.FAILED_INVALID_ANALYSIS)


def _error_class(outcome: Written) -> str:
    if isinstance(outcome, Refused):
        return outcome.reason
    return outcome.error_class if isinstance(outcome, Failed | Retried | Released) else ""


def _retry_in_seconds(outcome: Written) -> float | None:
    """The wait of a job that is tried again. None for a job that has ended or kept its place in the queue."""
    if isinstance(outcome, Retried):
        return outcome.delay_seconds
    return (outcome.delay_seconds or None) if isinstance(outcome, Released) else None
