"""The planned cause of a failed submission: its own fault, or another's. Pure functions of the record."""

from collections.abc import Sequence
from typing import Final

from testkit.chaos.plan import Kind, Work
from testkit.chaos.rerun import Rerun, RerunReason, is_explained
from testkit.chaos.run_record import JobTransition, RunRecord, SubmissionState
from testkit.ollama_simulator.fault import FaultKind
from worker.core.last_error import code_of
from worker.core.outcome import MAX_EXPIRIES
from worker.ipc.contract import WORKER_CRASHED

MAX_RETRIES: Final = 3
MAX_CRASHES: Final = 2
OF_THE_ANSWER: Final = frozenset(map(code_of, ("AnswerTruncated", "EmptyAnswer", "InvalidDocument", "Runaway")))
OF_A_RUNNER: Final = frozenset(map(code_of, ("ServerError", "StreamBroken")))
UNUSABLE: Final = frozenset({FaultKind.TRUNCATED, FaultKind.ENDLESS, FaultKind.REPEAT, FaultKind.THINKING_ONLY})


def is_own(state: SubmissionState, job: Sequence[JobTransition], again: Sequence[Rerun], record: RunRecord) -> bool:
    """Return True if a failed submission has a cause of its own, as planned.

    Such a cause is its damaged file, a row that refuses it, workers or supervisors that were killed with this job, a runner
    that its text kills, or as many unusable answers of the model as there are tries. All else is the fault of others.
    """
    if state.work is Work.DAMAGED:
        return state.error_code == "input_corrupt"
    if state.last_error == WORKER_CRASHED:
        return _is_crash(again, record)
    if any(
        each.submission_id == state.submission_id and each.sqlstate.lower() in (state.last_error or "")
        for each in record.refusals
    ):
        return True
    if state.submission_id in record.runner_killers and state.last_error in OF_A_RUNNER:
        return True
    is_out_of_tries = job[-1].retry_count >= MAX_RETRIES
    return state.last_error in OF_THE_ANSWER and is_out_of_tries and _were_unusable(record)


def _is_crash(again: Sequence[Rerun], record: RunRecord) -> bool:
    """A lease that ended because the database took no answer, or whose owner lives, is no death."""
    died = [rerun for rerun in again if rerun.why is RerunReason.WORKER_DIED and is_explained(rerun, record)]
    orphaned = [rerun for rerun in again if rerun.why is RerunReason.INSTANCE_DIED and is_explained(rerun, record)]
    return len(died) >= MAX_CRASHES or len(orphaned) >= MAX_EXPIRIES


def _were_unusable(record: RunRecord) -> bool:
    faults = (fault.detail.partition(" ")[0] for fault in record.injected if fault.kind is Kind.MODEL_FAULT)
    return any(each in UNUSABLE for each in faults)
