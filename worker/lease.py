"""The job in hand: renewing its lease for each step, taking a permit for each model call, and leaving in time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from worker.admission import Admission
from worker.core.outcome import Lease, Lost, Outcome, Released
from worker.ipc.contract import Activity, Counter, Step, Wiring
from worker.queue import permits as permit_queue
from worker.queue.connection import Connection
from worker.queue.permits import NO_PERMITS, HeldPermit, Permits
from worker.report import Report
from worker.session import LeaseRanOut, Session
from worker.settings import WorkerSettings
from worker.timeouts import DEADLINE_SLACK_SECONDS, STATEMENT_DEADLINE_SECONDS, first_lease_seconds, lease_seconds_for
from worker.wakeups import Wakeups

PERMIT_WAIT_SECONDS = 1.0  # how long a stop may go unnoticed while all permits are taken

Answer = TypeVar("Answer")
RenewingWrite = Callable[[Connection, float], bool]  # fenced; given the seconds of the new lease, False if it is not ours


class Ended(Exception):
    """The job is over before its last step."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(type(outcome).__name__)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """What a worker has around it, whatever the job."""

    wiring: Wiring
    admission: Admission
    settings: WorkerSettings
    vision: Any
    feedback: Any
    feedback_options: frozenset[str]  # what of instruction_md and hints_md its `analyze` takes
    model_server: str  # names the Ollama server alike for everybody who can reach it, see worker.ollama.address
    report: Report
    inbox: Wakeups
    session: Session

    def stop_by_seconds(self) -> float | None:
        """By when this worker must be gone (monotonic); None while nobody asked it to go."""
        if self.inbox.stop_asked_at_seconds is None:
            return None
        control = self.wiring.scoreboard.control()
        if control.is_draining:
            return control.drain_by_seconds
        return self.inbox.stop_asked_at_seconds + self.settings.terminate_grace_seconds

    def permits(self, step: Step, model: str, calls: int) -> Permits:
        """Of the step's model, which may have so many calls at once; a stub needs none."""
        return NO_PERMITS if self.settings.is_stub(step.value) else Permits.of(self.model_server, model, calls)


class HeldLease:
    """One lease from its start to its settling. Its end is judged on the monotonic clock from before each renewal was sent."""

    def __init__(self, ctx: WorkerContext, lease: Lease, leased_at_seconds: float, permit: HeldPermit | None = None) -> None:
        self._ctx, self.lease, self.permit = ctx, lease, permit
        self._until_seconds = leased_at_seconds + first_lease_seconds(ctx.settings)

    def ask(self, question: Callable[[Connection], Answer]) -> Answer:
        """A question to the database that makes sense only while the lease is ours. Raises LeaseRanOut."""
        return self._ctx.session.ask(question, self._until_seconds)

    def is_running(self) -> bool:
        """Whether nobody else can have taken the job yet."""
        return time.monotonic() < self._until_seconds

    def count_call(self, counter: Counter) -> None:
        """Right before a model is asked, which knows no fence: whoever stood still since the renewal may have been taken over
        by one who has the answer. Raises LeaseRanOut.
        """
        if not self.is_running():
            raise LeaseRanOut
        self._ctx.report.count(counter)

    def begin(self, step: Step, hard_limit_seconds: float, model: str) -> None:
        """Renews the lease for a step and takes one of the model's permits.

        Raises Ended if lost, if time is too short, or if the step's gate is closed, also while it waits for a permit.
        """
        while True:
            self._leave_if_time_is_short(hard_limit_seconds)
            permits = self._ctx.permits(step, model, self._leave_if_closed(step))
            if self.permit is not None and self._covers(hard_limit_seconds):  # both came with the lease
                break
            self._ctx.report.enter(Activity.PERMIT, STATEMENT_DEADLINE_SECONDS)
            self._renew(hard_limit_seconds, permits)
            if self.permit is not None or permits is NO_PERMITS:
                break
            self._wait_for_permit(permits)
        self._ctx.report.enter(Activity[step.name], hard_limit_seconds + DEADLINE_SLACK_SECONDS)

    def go_on(self, step: Step, hard_limit_seconds: float, model: str, write: RenewingWrite) -> None:
        """Commits what a step has so far and renews the lease for its next part. The permit stays, if its connection did.

        Raises Ended as `begin` does: what is committed is kept.
        """

        def committed(connection: Connection, lease_seconds: float) -> bool:
            self.permit = permit_queue.still_held(connection, self.permit)
            return write(connection, lease_seconds)

        self.write(hard_limit_seconds, committed)
        if self.permit is None:
            self.begin(step, hard_limit_seconds, model)
        self._leave_if_time_is_short(hard_limit_seconds)
        self._leave_if_closed(step)
        self._ctx.report.enter(Activity[step.name], hard_limit_seconds + DEADLINE_SLACK_SECONDS)

    def write(self, hard_limit_seconds: float, write: RenewingWrite) -> None:
        """A checkpoint: a activity of its own, since the step before may have used up its time."""
        self._ctx.report.enter(Activity.CHECKPOINT, STATEMENT_DEADLINE_SECONDS)
        self._renewing(hard_limit_seconds, write)

    def _covers(self, hard_limit_seconds: float) -> bool:
        """Whether the lease is as long as a renewal would make it."""
        return self._until_seconds - time.monotonic() >= lease_seconds_for(hard_limit_seconds, self._ctx.settings)

    def _renewing(self, hard_limit_seconds: float, write: RenewingWrite) -> None:
        """Raises Ended if the lease is not ours."""
        lease_seconds = lease_seconds_for(hard_limit_seconds, self._ctx.settings)
        sent_at_seconds = time.monotonic()
        if not self.ask(lambda connection: write(connection, lease_seconds)):
            raise Ended(Lost())
        self._until_seconds = sent_at_seconds + lease_seconds

    def _renew(self, hard_limit_seconds: float, permits: Permits) -> None:
        def start(connection: Connection, lease_seconds: float) -> bool:
            self.permit = permit_queue.still_held(connection, self.permit)
            wanted = permits if self.permit is None else NO_PERMITS
            begun = permit_queue.begin_step(connection, self.lease, lease_seconds, wanted)
            self.permit = self.permit or begun.permit
            return begun.is_ours

        self._renewing(hard_limit_seconds, start)

    def _wait_for_permit(self, permits: Permits) -> None:
        """Each slot queues for a number of its own choice, so that waiting workers spread over the permits."""
        number = self._ctx.wiring.slot % permits.count + 1
        self.permit = self.ask(lambda c: permit_queue.wait_for_permit(c, permits, number, PERMIT_WAIT_SECONDS))

    def _leave_if_closed(self, step: Step) -> int:
        """How many calls its model may have at once. The job goes back to its ctx: another worker may bring it on later."""
        if not (calls := self._ctx.admission.calls(step)):
            raise Ended(Released("gate"))
        return calls

    def _leave_if_time_is_short(self, step_seconds: float) -> None:
        stop_by_seconds = self._ctx.stop_by_seconds()
        if stop_by_seconds is not None and time.monotonic() + step_seconds > stop_by_seconds:
            raise Ended(Released("drain"))
