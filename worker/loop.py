"""The serial loop: lease, work, settle, wait. One job at a time, exactly as the platform's own worker did it."""

import itertools
import time
from collections import deque
from collections.abc import Mapping
from uuid import UUID

from worker.core.gates import ALL_OPEN
from worker.core.outcome import AlreadyFinal, Completed, Failed, Lease, Lost, Outcome, Released, Retried
from worker.ipc.contract import FAILURES, WORKER_CRASHED, Activity, Counter, EventKind, Step
from worker.job import Steps
from worker.lease import HeldLease, WorkerContext
from worker.queue.connection import Connection
from worker.queue.cursor import QueueCursor
from worker.queue.leases import LOOK_AHEAD, LeaseOwner, LeaseRequest, find_lease, lease_job
from worker.queue.permits import HeldPermit
from worker.queue.settle import Settlement, settle, settle_and_lease
from worker.session import LeaseRanOut, Stopped
from worker.timeouts import STATEMENT_DEADLINE_SECONDS, first_lease_seconds

MONITORED_WAIT_SECONDS = 2.0  # how often an idle worker makes sure that somebody will wake it
TRUST_SECONDS = 5.0  # a monitor that has not looked at the queue for so long wakes nobody
IDLE_DEADLINE_SECONDS = 60.0


class Loop:
    """Runs until it is asked to stop. What it cannot handle it raises: a crash is safe, since the lease comes back."""

    def __init__(self, ctx: WorkerContext) -> None:
        self._ctx, self._cursor = ctx, QueueCursor()
        self._gates, self._turned_back = ALL_OPEN, deque[UUID](maxlen=LOOK_AHEAD)
        self._owner = LeaseOwner(ctx.wiring.instance, ctx.wiring.incarnation)
        self._unanswered: LeaseRequest | None = None  # may have been granted

    def run(self) -> None:
        held: HeldLease | None = None
        try:
            while held or not self._ctx.inbox.is_leaving:
                if held := held or self._lease():
                    held = self._work(held)
                else:
                    self._wait()
        except Stopped:
            return
        finally:
            self._ctx.session.close()

    def _has_reason_to_look(self) -> bool:
        """What found nothing finds nothing, until a gate opens or there is news."""
        admission = self._ctx.admission
        return admission.may_lease() and (not self._cursor.is_bare or admission.gates() != self._gates)

    def _lease(self) -> HeldLease | None:
        if not self._has_reason_to_look():
            return None
        self._ctx.report.enter(Activity.LEASE, STATEMENT_DEADLINE_SECONDS)
        tries, request = itertools.count(1 if self._unanswered else 0), self._unanswered or self._request()
        sent_at_seconds, self._unanswered = time.monotonic(), None

        def question(connection: Connection) -> Lease | None:
            self._ctx.report.ask_for(request.lease_key)
            if next(tries):  # the connection broke after the statement was sent: it may have committed
                return find_lease(connection, request.lease_key)
            return lease_job(connection, request)

        held = self._held(request, self._ctx.session.ask(question), sent_at_seconds)
        if held is not None:
            self._ctx.report.send(EventKind.LEASED, job_id=held.lease.job_id, submission_id=held.lease.submission_id)
        return held

    def _request(self) -> LeaseRequest:
        """To be told on the scoreboard before the statement is sent, so that no death in between loses the job."""
        gates = self._ctx.admission.gates()
        if gates != self._gates:
            self._turned_back.clear()
        self._gates = gates
        lease_seconds = first_lease_seconds(self._ctx.settings)
        calls = self._ctx.admission.calls(Step.FEEDBACK)
        permits = self._ctx.permits(Step.FEEDBACK, self._ctx.settings.ai_feedback_model, calls)
        key, since = self._owner.new_key(), self._cursor.since()
        return LeaseRequest(key, lease_seconds, since, gates, tuple(self._turned_back), permits)

    def _held(
        self, request: LeaseRequest | None, lease: Lease | None, sent_at_seconds: float, permit: HeldPermit | None = None
    ) -> HeldLease | None:
        """What came of a request; the job before it is nobody's now."""
        if request:
            self._cursor.looked(request.position, lease)
        else:
            self._cursor.forget()  # the job before it may be found again, and so may older ones
        self._ctx.report.hold(*((lease.job_id, lease.lease_key) if lease else (None, None)))
        return HeldLease(self._ctx, lease, sent_at_seconds, permit) if lease else None

    def _work(self, held: HeldLease) -> HeldLease | None:
        """One job to its end; the next one, where it was leased in the same round trip."""
        started_at_seconds, steps = time.monotonic(), Steps(self._ctx, held)
        outcome = steps.run()
        self._ctx.report.enter(Activity.SETTLE, STATEMENT_DEADLINE_SECONDS)
        settling_at_seconds = time.monotonic()
        outcome, next_held = self._settled(held, outcome)
        now = time.monotonic()
        self._ctx.report.weigh()
        seconds = {**steps.seconds, Activity.SETTLE: now - settling_at_seconds}
        if outcome == Released("gate"):
            self._turned_back.append(held.lease.job_id)
        self._tell(held.lease, outcome, now - started_at_seconds, seconds, next_held)
        return next_held

    def _settled(self, held: HeldLease, outcome: Outcome) -> tuple[Outcome, HeldLease | None]:
        """What really became of the job: a rejected write means that the lease was taken over, and the result is dropped.

        A repeated write that finds nothing while the lease still runs was committed at the first try, whose answer was lost:
        until then nobody else may end the job. What was leased with it then carries the key that was asked for; if the lease in
        hand ran out first, that is asked later.
        """
        request = self._request() if self._goes_on_after(outcome) else None
        tries, sent_at_seconds = itertools.count(), time.monotonic()

        def question(connection: Connection) -> Settlement:
            self._ctx.report.ask_for(request.lease_key if request else None)
            if not next(tries):
                return settle_and_lease(connection, held.lease, outcome, held.permit, request)
            is_written = settle(connection, held.lease, outcome, held.permit) or held.is_running()
            return Settlement(is_written, find_lease(connection, request.lease_key) if request else None)

        try:
            settlement = held.ask(question)
        except LeaseRanOut:
            self._unanswered = request
            self._ctx.report.hold(None, None, request.lease_key if request else None)
            return Lost(), None
        next_held = self._held(request, settlement.next_lease, sent_at_seconds, settlement.next_permit)
        return outcome if settlement.is_written else Lost(), next_held

    def _goes_on_after(self, outcome: Outcome) -> bool:
        """A job that was just given back would be the next one that is found."""
        return not isinstance(outcome, Lost | Released) and not self._ctx.inbox.is_leaving and self._ctx.admission.may_lease()

    def _wait(self) -> None:
        """While the monitor looks at the queue it wakes us, and we ask nobody; without it every worker polls for itself.

        Whom it wakes it may have chosen before it admitted more: who may look again does, woken or not.
        """
        ctx, poll_seconds = self._ctx, self._ctx.settings.worker_poll_interval
        is_woken = False
        while not is_woken and not ctx.inbox.is_leaving:
            looked_ago_seconds = time.monotonic() - ctx.wiring.scoreboard.monitor_record().looked_at_seconds
            is_monitored = looked_ago_seconds < TRUST_SECONDS
            ctx.report.enter(Activity.IDLE, IDLE_DEADLINE_SECONDS + poll_seconds)
            is_woken = ctx.inbox.wait(MONITORED_WAIT_SECONDS if is_monitored else poll_seconds) or not is_monitored
            is_woken = is_woken or self._has_reason_to_look()
        self._cursor.forget()

    def _tell(
        self, lease: Lease, outcome: Outcome, seconds: float, steps: Mapping[Activity, float], next_held: HeldLease | None
    ) -> None:
        counter, word = _told(outcome)
        if counter is not None:
            self._ctx.report.count(counter)
        self._ctx.report.send(
            EventKind.SETTLED,
            job_id=lease.job_id,
            submission_id=lease.submission_id,
            next_job_id=next_held.lease.job_id if next_held else None,
            outcome=word,
            error_class=outcome.error_class if isinstance(outcome, Failed | Retried) else "",
            seconds=seconds,
            steps=steps,
        )


def _told(outcome: Outcome) -> tuple[Counter | None, str]:
    """The counter and the word for what became of a job."""
    match outcome:
        case Completed():
            return Counter.COMPLETED, "completed"
        case Failed(_, job_error_code) if job_error_code == WORKER_CRASHED:
            return Counter.QUARANTINED, "quarantined"
        case Failed(error_code):
            return FAILURES[error_code], error_code
        case Retried(step):
            return Counter.RETRIED_VISION if step is Step.VISION else Counter.RETRIED_FEEDBACK, f"{step}_retrying"
        case Released(reason):
            return Counter.RELEASED, f"returned_{reason}"
        case AlreadyFinal():
            return None, "already_final"
        case Lost():
            return Counter.REJECTED_BY_FENCE, "lease_lost"
