"""The serial loop: lease, work, settle, wait. One job at a time, exactly as the platform's own worker did it."""

import itertools
import time

from worker.contract import FAILURES, Counter, EventKind, Phase, StepName
from worker.core.job import WORKER_CRASHED, AlreadyFinal, Completed, Failed, Lease, Lost, Outcome, Retried, Returned, Stage
from worker.held_lease import HeldLease, Workplace
from worker.job_queue.connection import Connection
from worker.job_queue.lease import LeaseOwner, find_lease, lease_job
from worker.job_queue.settle import settle
from worker.limits import STATEMENT_PROMISE_SECONDS, first_lease_seconds
from worker.session import LeaseRanOut, Stopped
from worker.steps import Steps

MONITORED_WAIT_SECONDS = 2.0  # how often an idle worker makes sure that somebody will wake it
TRUST_SECONDS = 5.0  # a monitor that has not looked at the queue for so long wakes nobody
IDLE_PROMISE_SECONDS = 60.0


class Loop:
    """Runs until it is asked to stop. What it cannot handle it raises: a crash is safe, since the lease comes back."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._owner = LeaseOwner(place.wiring.instance, place.wiring.incarnation)

    def run(self) -> None:
        try:
            while not self._place.inbox.is_leaving:
                held = self._lease() if self._may_lease() else None
                if held is not None:
                    self._work(held)
                else:
                    self._wait()
        except Stopped:
            return
        finally:
            self._place.session.close()

    def _may_lease(self) -> bool:
        control = self._place.wiring.scoreboard.control()
        return self._place.wiring.slot < control.leasing_slots and not control.is_draining

    def _lease(self) -> HeldLease | None:
        """The key stands on the scoreboard before the statement is sent, so that no death in between loses the job."""
        place, key = self._place, self._owner.new_key()
        place.report.enter(Phase.LEASE, STATEMENT_PROMISE_SECONDS)
        tries, sent_at_seconds = itertools.count(), time.monotonic()

        def question(connection: Connection) -> Lease | None:
            place.report.hold(None, key)
            if next(tries):  # the connection broke after the statement was sent: it may have committed
                return find_lease(connection, key)
            return lease_job(connection, key, first_lease_seconds(place.settings))

        lease = place.session.ask(question)
        if lease is None:
            place.report.hold(None, None)
            return None
        place.report.hold(lease.job_id, key)
        place.report.send(EventKind.LEASED, job_id=lease.job_id, submission_id=lease.submission_id)
        return HeldLease(place, lease, sent_at_seconds)

    def _work(self, held: HeldLease) -> None:
        started_at_seconds = time.monotonic()
        outcome = Steps(self._place, held).run()
        self._place.report.enter(Phase.SETTLE, STATEMENT_PROMISE_SECONDS)
        settling_at_seconds = time.monotonic()
        outcome = self._settled(held, outcome)
        self._place.report.send(EventKind.STEP, step=StepName.SETTLE, seconds=time.monotonic() - settling_at_seconds)
        self._place.report.hold(None, None)
        self._place.report.weigh()
        self._tell(held.lease, outcome, time.monotonic() - started_at_seconds)

    def _settled(self, held: HeldLease, outcome: Outcome) -> Outcome:
        """What really became of the job: a rejected write means that the lease was taken over, and the result is dropped.

        A repeated write that finds nothing while the lease still runs was committed at the first try, whose answer was lost:
        until then nobody else may end the job.
        """
        tries = itertools.count()

        def question(connection: Connection) -> bool:
            is_repeated = next(tries) > 0
            is_written = settle(connection, held.lease, outcome, held.permit)
            return is_written or (is_repeated and held.is_running())

        try:
            is_written = held.ask(question)
        except LeaseRanOut:
            is_written = False
        return outcome if is_written else Lost()

    def _wait(self) -> None:
        """While the monitor looks at the queue it wakes us, and we ask nobody; without it every worker polls for itself."""
        place, poll_seconds = self._place, self._place.settings.worker_poll_interval
        is_woken = False
        while not is_woken and not place.inbox.is_leaving:
            looked_ago_seconds = time.monotonic() - place.wiring.scoreboard.readings().looked_at_seconds
            is_monitored = looked_ago_seconds < TRUST_SECONDS
            place.report.enter(Phase.IDLE, IDLE_PROMISE_SECONDS + poll_seconds)
            is_woken = place.inbox.wait(MONITORED_WAIT_SECONDS if is_monitored else poll_seconds) or not is_monitored

    def _tell(self, lease: Lease, outcome: Outcome, seconds: float) -> None:
        counter, word = _told(outcome)
        error_class = outcome.error_class if isinstance(outcome, Failed | Retried) else ""
        if counter is not None:
            self._place.report.count(counter)
        self._place.report.send(
            EventKind.SETTLED,
            job_id=lease.job_id,
            submission_id=lease.submission_id,
            step=StepName.JOB,
            outcome=word,
            error_class=error_class,
            seconds=seconds,
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
        case Retried(stage):
            return Counter.RETRIED_VISION if stage is Stage.VISION else Counter.RETRIED_FEEDBACK, f"{stage}_retrying"
        case Returned(reason):
            return Counter.RETURNED, f"returned_{reason}"
        case AlreadyFinal():
            return None, "already_final"
        case Lost():
            return Counter.REJECTED_BY_FENCE, "lease_lost"
