"""The job in hand: its lease is renewed for each step, a permit is taken for each model call, and it ends in time for a stop."""

import time
from collections.abc import Callable
from typing import TypeVar

from worker.context import WorkerContext
from worker.core.outcome import Lease, Lost, Outcome, Released
from worker.ipc.contract import Activity, Counter, Step
from worker.queue.connection import Connection, RowRefused
from worker.queue.permits import NO_PERMITS, HeldPermit, Permits, StepStart, begin_step, still_held, wait_for_permit
from worker.rivals import Rivals
from worker.session import LeaseRanOut, always
from worker.suspension import suspended_seconds
from worker.timeouts import DEADLINE_SLACK_SECONDS, STATEMENT_DEADLINE_SECONDS, first_lease_seconds, lease_seconds_for

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
        permit: HeldPermit | None = None,
        *,
        is_refused: bool = False,
    ) -> None:
        """`is_refused`: a result of this row was refused to this worker before, and another job's was accepted since."""
        self._ctx, self.lease, self.permit, self._is_refused = ctx, lease, permit, is_refused
        self._until_seconds = leased_at_seconds + first_lease_seconds(ctx.settings)
        self._suspended_seconds = suspended_seconds()

    def ask(
        self,
        first: Callable[[Connection], T],
        after_reconnect: Callable[[Connection], T] | None = None,
        counters: tuple[Counter, ...] = (Counter.COMPLETED,),
    ) -> T:
        """`Session.ask` until the lease ends. Raises LeaseRanOut, and RowRefused: then the session holds no permit.

        An error that may be the row's fault is, once other jobs have been counted by `counters` meanwhile.
        """
        session, rivals = self._ctx.session, Rivals(self._ctx.wiring.scoreboard, counters)
        later = rivals.counted(after_reconnect or first)
        is_of_row = always if self._is_refused else rivals.has_passed
        try:
            return session.ask(rivals.counted(first), later, self._until_seconds, is_of_row)
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

    def count_call(self, counter: Counter) -> None:
        """Counts a model call right before it starts. Raises LeaseRanOut.

        A model call cannot be fenced: the lease is checked again, because this process may have been suspended since the renewal.
        """
        if not self.is_running():
            raise LeaseRanOut
        self._ctx.report.count(counter)

    def start_step(self, step: Step, hard_limit_seconds: float, model: str) -> None:
        """Renews the lease for a step and takes one of the model's permits, waiting until one is free.

        Raises JobEnded if the lease is lost, if a stop leaves too little time, or if the step's gate is closed.
        """
        while True:
            self._check_time(hard_limit_seconds)
            permits = self._check_gate(step, model)
            if self.permit is None or not self._is_long_enough(hard_limit_seconds):  # else both came with the lease
                self._renew_with_permit(hard_limit_seconds, permits)
            if self.permit is not None or permits is NO_PERMITS:
                break
            self._wait_for_permit(permits)
        self._enter_step(step, hard_limit_seconds)

    def continue_step(self, step: Step, hard_limit_seconds: float, model: str, write: PageWrite) -> None:
        """Commits a part of the step's result and renews the lease for the next part.

        The permit is kept unless its connection was lost. Raises JobEnded as `start_step` does, after the commit.
        """
        held = self.permit
        self._commit(hard_limit_seconds, lambda c, seconds: StepStart(write(c, seconds), still_held(c, held)))
        if self.permit is None:
            self.start_step(step, hard_limit_seconds, model)
            return
        self._check_time(hard_limit_seconds)
        self._check_gate(step, model)
        self._enter_step(step, hard_limit_seconds)

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
        return self._until_seconds - time.monotonic() >= lease_seconds_for(hard_limit_seconds, self._ctx.settings)

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
        self._renew(hard_limit_seconds, renew)

    def _wait_for_permit(self, permits: Permits) -> None:
        """Each slot waits for a number of its own, so that waiting workers spread over the permits."""
        number = permits.numbers[self._ctx.wiring.slot % permits.count]
        self._ctx.report.enter_activity(Activity.PERMIT, STATEMENT_DEADLINE_SECONDS)  # the renewal may have used up its time
        self.permit = self.ask(lambda connection: wait_for_permit(connection, permits, number, PERMIT_WAIT_SECONDS))

    def _commit(self, hard_limit_seconds: float, commit: Callable[[Connection, float], StepStart]) -> None:
        """Has a deadline of its own, because the step may have used up its time."""
        self._ctx.report.enter_activity(Activity.CHECKPOINT, STATEMENT_DEADLINE_SECONDS)
        self._renew(hard_limit_seconds, commit)
        self._ctx.report.advance()

    def _renew(self, hard_limit_seconds: float, renew: Callable[[Connection, float], StepStart]) -> None:
        """Runs a statement that renews the lease, and keeps the permit that it leaves. Raises JobEnded if the lease is lost."""
        lease_seconds = lease_seconds_for(hard_limit_seconds, self._ctx.settings)
        sent_at_seconds, before_seconds = time.monotonic(), suspended_seconds()
        start = self.ask(lambda connection: renew(connection, lease_seconds))
        self.permit = start.permit
        if not start.is_ours:
            raise JobEnded(Lost())
        self._until_seconds, self._suspended_seconds = sent_at_seconds + lease_seconds, before_seconds

    def _enter_step(self, step: Step, hard_limit_seconds: float) -> None:
        self._ctx.report.enter_activity(Activity[step.name], hard_limit_seconds + DEADLINE_SLACK_SECONDS)
