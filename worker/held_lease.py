"""The job in hand: its lease is renewed for each step, a permit is taken for each model call, and it ends in time for a stop."""

import math
import time
from collections.abc import Callable
from typing import TypeVar

from worker.context import WorkerContext
from worker.core.outcome import Lease, Lost, Outcome, Released, has_answer
from worker.core.refusal import Access, after_reading, before_call
from worker.ipc.contract import Activity, Counter, Step
from worker.queue.connection import Connection, RowRefused
from worker.queue.permits import NO_PERMITS, HeldPermit, Permits, StepStart, begin_step, still_held, wait_for_permit
from worker.queue.rehearsal import rehearse
from worker.queue.sqlstate import is_damage, is_passing, is_refusal, reason_of
from worker.rivals import RefusedAccesses, Rivals
from worker.session import LeaseRanOut, always
from worker.suspension import suspended_seconds
from worker.timeouts import (
    DEADLINE_SLACK_SECONDS,
    READ_DEADLINE_SECONDS,
    STATEMENT_DEADLINE_SECONDS,
    covering_seconds,
    first_lease_seconds,
    lease_seconds_for,
)

PUT_BACK_SECONDS = 8.0  # before the end of a lease, for one more refused try and the write that puts the job back
PERMIT_WAIT_SECONDS = 1.0  # longest delay before a stop is noticed while all permits are taken

T = TypeVar("T")

# Fenced writes that also renew the lease by the given seconds. False if the lease is lost: then nothing was written.
PageWrite = Callable[[Connection, float], bool]
TextWrite = Callable[[Connection, float, HeldPermit | None], bool]  # gives the permit back


class JobEnded(Exception):
    """The job has its outcome before its last step."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


class HeldLease:
    """A lease from its start until the job is settled.

    Its end is counted on the monotonic clock from before each renewal was sent, and suspensions of the host since then are
    added. So it is never later than the database's.
    """

    def __init__(
        self,
        ctx: WorkerContext,
        lease: Lease,
        leased_at_seconds: float,
        refused_accesses: RefusedAccesses,
        permit: HeldPermit | None = None,
    ) -> None:
        self._ctx, self.lease, self.permit, self._refused_accesses = ctx, lease, permit, refused_accesses
        self._has_rival = refused_accesses.has_rival(lease.job_id)  # the row alone is at fault if it is refused again
        self._is_refused = self._has_rival or has_answer(lease)  # a kept answer is written or held at once, without a call
        self.access = Access.RESULT  # of the current statement
        self._has_called = False  # a model, since the last commit of what one has answered
        self._until_seconds = leased_at_seconds + first_lease_seconds(ctx.settings)
        self._suspended_seconds = suspended_seconds()

    def ask(
        self,
        first: Callable[[Connection], T],
        after_reconnect: Callable[[Connection], T] | None = None,
        counters: tuple[Counter, ...] = (Counter.COMPLETED,),
        kept_seconds: float = 0.0,
    ) -> T:
        """`Session.ask` until `kept_seconds` after the lease. Raises LeaseRanOut, and RowRefused: then no permit is held.

        An error that may be the row's fault is, once other jobs have been counted by `counters` meanwhile, or once another write
        of this job was refused as its row's fault.
        """
        rivals = Rivals(self._ctx.wiring.scoreboard, counters)
        later = rivals.counted(after_reconnect or first)
        try:
            is_of_row = always if self._is_refused else rivals.has_passed
            return self._ask(rivals.counted(first), later, is_of_row, kept_seconds)
        except RowRefused:
            self._is_refused = True
            raise

    def _ask(
        self,
        first: Callable[[Connection], T],
        later: Callable[[Connection], T],
        is_of_row: Callable[[], bool],
        kept_seconds: float = 0.0,
    ) -> T:
        try:
            suspect_until_seconds = self._until_seconds - PUT_BACK_SECONDS if self.is_running() else math.inf
            return self._ctx.session.ask(first, later, self._until_seconds + kept_seconds, is_of_row, suspect_until_seconds)
        except RowRefused:
            self._drop_permit()
            raise

    def _drop_permit(self) -> None:
        """Ends the session that holds the permit, or closes the permit's socket."""
        held, self.permit = self.permit, None
        if held is not None and held.sock is not None:
            held.sock.close()
        elif held is not None:
            self._ctx.session.close()

    def is_running(self) -> bool:
        """While true, no other worker can have taken the job."""
        return time.monotonic() + suspended_seconds() - self._suspended_seconds < self._until_seconds

    @property
    def is_too_old(self) -> bool:
        """True if the job may be held no longer."""
        return self._ctx.retry_policy.is_too_old(self.lease.age_seconds)

    def count_call(self, counter: Counter) -> None:
        """Counts a model call right before it starts. Raises LeaseRanOut.

        A model call cannot be fenced: the lease is checked again, because this process may have been suspended since the renewal.
        """
        if not self.is_running():
            raise LeaseRanOut
        self._has_called = True
        self._ctx.report.count(counter)

    def start_step(
        self, step: Step, hard_limit_seconds: float, model: str, access: Access | None = None, *, has_text: bool = True
    ) -> None:
        """Renews the lease for a step and takes one of the model's permits, waiting until one is free.

        `access` stores the step's result. None: the usual one of the step. `has_text`: the result stores a text.

        Raises JobEnded if the lease is lost, if a stop leaves too little time, if the step's gate is closed, or if the database
        would refuse the step's result.
        """
        self._rehearse(access or Access.of(step), has_text=has_text)
        has_both = self.permit is not None and self._is_long_enough(hard_limit_seconds)  # from the lease or the page before
        while True:
            self._check_time(hard_limit_seconds)
            permits = self._check_gate(step, model)
            if not has_both:  # after a wait too, because the lease may be lost by then
                self._renew_with_permit(hard_limit_seconds, permits)
            if self.permit is not None or permits is NO_PERMITS:
                break
            self._wait_for_permit(permits)
        self._enter_step(step, hard_limit_seconds)

    def continue_step(self, next_limit_seconds: float, write: PageWrite) -> None:
        """Commits a part of the step's result and renews the lease for the next part. Raises JobEnded if the lease is lost.

        The permit is kept unless its connection was lost.
        """
        held = self.permit
        self._commit(next_limit_seconds, lambda c, seconds: StepStart(write(c, seconds), still_held(c, held)))

    def continue_reading(self, write: PageWrite) -> bool:
        """Begins to read a further page without a call before it. True if the lease was too short: then `write` has renewed it.

        Raises JobEnded if a stop leaves too little time, or if the lease is lost.
        """
        self._check_time(READ_DEADLINE_SECONDS)
        is_renewed = not self._is_long_enough(READ_DEADLINE_SECONDS)
        if is_renewed:
            self.continue_step(READ_DEADLINE_SECONDS, write)
        self._ctx.report.enter_activity(Activity.READ, READ_DEADLINE_SECONDS)
        return is_renewed

    def finish_step(self, next_limit_seconds: float, write: TextWrite) -> None:
        """Commits the step's result, gives its permit back, and renews the lease for the next step. Raises JobEnded."""
        held, self.permit = self.permit, None
        self._commit(next_limit_seconds, lambda c, seconds: StepStart(write(c, seconds, held), None))

    def _check_time(self, hard_limit_seconds: float) -> None:
        stop_by_seconds = self._ctx.stop_by_seconds()
        if stop_by_seconds is not None and time.monotonic() + hard_limit_seconds > stop_by_seconds:
            raise JobEnded(Released("drain"))

    def _check_gate(self, step: Step, model: str) -> Permits:
        """The model's permits. If its gate is closed, the job goes back to the queue and any worker may continue it later."""
        calls = self._ctx.admission.calls(step)
        if calls == 0:
            raise JobEnded(Released("gate"))
        return self._ctx.permits(step, model, calls)

    def _is_long_enough(self, hard_limit_seconds: float) -> bool:
        """True if the rest of the lease covers the step."""
        return self._until_seconds - time.monotonic() >= covering_seconds(hard_limit_seconds, self._ctx.settings)

    def _renew_with_permit(self, hard_limit_seconds: float, permits: Permits) -> None:
        """One round trip. It takes a permit if one is free and none is held.

        The permit of a lost connection is lost with it, so after a reconnect the same statement takes another one.
        """
        held = self.permit

        def renew(connection: Connection, lease_seconds: float) -> StepStart:
            kept = still_held(connection, held)
            wanted = NO_PERMITS if kept else permits
            start = begin_step(connection, self.lease, lease_seconds, wanted)
            return StepStart(start.is_ours, kept or start.permit)

        self._ctx.report.enter_activity(Activity.PERMIT, STATEMENT_DEADLINE_SECONDS)
        self._renew(Access.BEGIN, hard_limit_seconds, renew)

    def _wait_for_permit(self, permits: Permits) -> None:
        """Each slot waits for a number of its own, so that waiting workers spread over the permits."""
        number = permits.numbers[self._ctx.wiring.slot % permits.count]
        self._ctx.report.enter_activity(Activity.PERMIT, STATEMENT_DEADLINE_SECONDS)  # the renewal may have used up its time
        self.permit = self.ask(lambda connection: wait_for_permit(connection, permits, number, PERMIT_WAIT_SECONDS), counters=())

    def _commit(self, hard_limit_seconds: float, commit: Callable[[Connection, float], StepStart]) -> None:
        """Has a deadline of its own, because the step may have used up its time."""
        self._ctx.report.enter_activity(Activity.CHECKPOINT, STATEMENT_DEADLINE_SECONDS)
        self._renew(Access.CHECKPOINT, hard_limit_seconds, commit)
        self._has_called = False
        self._ctx.report.advance()

    def _renew(self, access: Access, hard_limit_seconds: float, renew: Callable[[Connection, float], StepStart]) -> None:
        """Runs a statement that renews the lease, and keeps the permit that it leaves. Raises JobEnded if the lease is lost."""
        lease_seconds = lease_seconds_for(hard_limit_seconds, self._ctx.settings)
        sent_at_seconds, before_seconds = time.monotonic(), suspended_seconds()
        start = self._try(access, lambda connection: renew(connection, lease_seconds))
        self.permit = start.permit
        if not start.is_ours:
            raise JobEnded(Lost())
        self._until_seconds, self._suspended_seconds = sent_at_seconds + lease_seconds, before_seconds
        self._ctx.report.count(access.value)

    def read(self, ask: Callable[[Connection], T]) -> T:
        """Reads a row of the job. Raises JobEnded if the database refuses that, and LeaseRanOut.

        A new connection has lost the permit that came with the lease.
        """
        held = self.permit

        def read(connection: Connection) -> T:
            self.permit = still_held(connection, held)
            return ask(connection)

        return self._try(Access.READ, read)

    def _try(self, access: Access, ask: Callable[[Connection], T]) -> T:
        """Raises JobEnded if the database refuses this kind of access, and LeaseRanOut with `access` set."""
        self.access = access
        try:
            answer = self.ask(ask, counters=(access.value,))
        except RowRefused as refusal:
            raise JobEnded(self._refused(access, refusal.sqlstate)) from refusal
        self.access = Access.RESULT
        return answer

    def _refused(self, access: Access, sqlstate: str) -> Outcome:
        """The outcome of a job to which an access is refused. Only a checkpoint may follow a call to a model."""
        self.access = Access.RESULT
        may_be_all, reason = self._may_be_all(access, sqlstate), reason_of(sqlstate)
        if access is Access.CHECKPOINT and self._has_called:
            return after_reading(self.lease, reason, self._ctx.settings.worker_max_retries, may_be_all=may_be_all)
        return before_call(self.lease, reason, may_be_all=may_be_all, is_too_old=self.is_too_old)

    def _rehearse(self, access: Access, *, has_text: bool) -> None:
        """Tries the write of the step's result, if it may be refused. Raises JobEnded: then no model is called in vain."""
        if not self._may_be_refused(access):
            return

        def run(connection: Connection) -> None:
            rehearse(connection, self.lease, access, self._left_seconds(), has_text=has_text)

        self._ctx.report.enter_activity(Activity.CHECKPOINT, STATEMENT_DEADLINE_SECONDS)
        try:
            self._ask(run, run, always)
        except RowRefused as refusal:
            may_be_all = self._may_be_all(access, refusal.sqlstate)
            reason = reason_of(refusal.sqlstate)
            raise JobEnded(before_call(self.lease, reason, may_be_all=may_be_all, is_too_old=self.is_too_old)) from refusal

    def _may_be_refused(self, access: Access) -> bool:
        """True if the last one of this kind was refused, or one of this job before."""
        return self._refused_accesses.is_refused(access) or self._has_rival or is_refusal(self.lease.error_code)

    def _may_be_all(self, access: Access, sqlstate: str) -> bool:
        """Counts a refusal. True if it may pass, or until it is refused again after the same access of another job.

        A row with damaged values cannot be read, whatever becomes of other rows.
        """
        self._refused_accesses.add(access, self.lease.job_id)
        if access is Access.READ and is_damage(sqlstate):
            return False
        return not self._has_rival or is_passing(sqlstate)

    def _left_seconds(self) -> float:
        return max(0.0, self._until_seconds - time.monotonic())

    def _enter_step(self, step: Step, hard_limit_seconds: float) -> None:
        self._ctx.report.enter_activity(Activity[step.name], hard_limit_seconds + DEADLINE_SLACK_SECONDS)
