"""From a refused statement to the job's outcome. `reason` names the SQLSTATE."""

from dataclasses import replace
from enum import Enum

from worker.core.evidence import CallCounts, Suspect, convicts, held_failure_in, remembered
from worker.core.faults import Suspicion
from worker.core.outcome import Completed, Failed, Lease, Released, Retried, fail_refused
from worker.core.retry import HELD_TOO_LONG
from worker.ipc.backoff import doubling
from worker.ipc.contract import Counter, Step

HOLD_SECONDS = 15.0  # each try is one write and no call
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 10.0, 300.0  # those of park.sql
ALL_REFUSED = "_all"  # ends the error code of a job that is tried again, because the refusal may concern all jobs


class Access(Enum):
    """A kind of access to a job's rows. Its value counts those that the database has not refused."""

    READ = Counter.SUBMISSIONS_READ
    BEGIN = Counter.STEPS_BEGUN
    CHECKPOINT = Counter.CHECKPOINTS
    RESULT = Counter.COMPLETED

    @classmethod
    def of(cls, step: Step) -> "Access":
        """The write that stores what the step's model has answered."""
        return cls.CHECKPOINT if step is Step.VISION else cls.RESULT


def hold(reason: str, answer: Completed | None = None) -> Released:
    """Gives the job back, with its answer. It uses no attempt, because no model is called for it while its write is refused."""
    return Released("refused", HOLD_SECONDS, reason + ALL_REFUSED, answer=answer)


def hold_answer(lease: Lease, answer: Completed, reason: str, counts: CallCounts) -> Released:
    """Gives the job back with its answer and with the evidence, by which the next worker judges its row."""
    evidence = remembered(held_failure_in(lease.payload), _suspect(reason), counts)
    return replace(hold(reason, answer), held_failure=evidence)


def _suspect(reason: str) -> Suspect:
    return Suspect(Suspicion.ODD, reason, Step.FEEDBACK)


def after_answer(
    lease: Lease, answer: Completed, reason: str, counts: CallCounts, *, is_passing: bool, is_too_old: bool
) -> Released | Failed:
    """The outcome of a refused result. Its row is at fault if it is refused again after results of other jobs were accepted.

    Until then the answer is kept in the payload, so that each try is one write and no call.
    """
    if not is_passing and convicts(held_failure_in(lease.payload), _suspect(reason), counts):
        return replace(fail_refused(lease, reason, has_text=True), usage=answer.usage)
    if is_too_old:
        return replace(fail_refused(lease, f"{HELD_TOO_LONG}:{reason}", has_text=True), usage=answer.usage)
    return hold_answer(lease, answer, reason, counts)


def before_call(lease: Lease, reason: str, *, may_be_all: bool, is_too_old: bool) -> Released | Failed:
    """The outcome of a refusal that was known before a call to a model."""
    if may_be_all and is_too_old:
        return fail_refused(lease, f"{HELD_TOO_LONG}:{reason}")
    return hold(reason) if may_be_all else fail_refused(lease, reason)


def after_reading(lease: Lease, reason: str, max_retries: int, *, may_be_all: bool) -> Retried | Failed:
    """The outcome of a refused checkpoint. A model was called in vain, so another try uses an attempt."""
    if lease.retry_count >= max_retries or not may_be_all:
        return fail_refused(lease, reason)
    delay_seconds = doubling(FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS, lease.retry_count)
    return Retried(Step.VISION, reason + ALL_REFUSED, delay_seconds)
