"""Find the violations in a run. A pure function of the record."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from testkit.chaos.own_faults import MAX_CRASHES, MAX_RETRIES, is_own
from testkit.chaos.plan import Kind, Work
from testkit.chaos.rerun import Rerun, RerunReason, is_explained, reruns
from testkit.chaos.run_record import JobTransition, RunRecord, SubmissionState
from worker.core.last_error import code_of
from worker.core.outcome import MAX_EXPIRIES
from worker.ipc.contract import WORKER_CRASHED

FINAL: Final = frozenset({"completed", "failed"})
TRANSIENT: Final = frozenset(
    code_of(name)
    for name in (
        "AnswerTruncated",
        "TokenTimeout",
        "FirstTokenTimeout",
        "ModelMissing",
        "EmptyAnswer",
        "InvalidDocument",
        "Runaway",
        "ServerError",
        "StreamBroken",
        "AnswerTimeout",
        "FileTimeout",
        "InvalidReply",
        "NameUnresolved",
        "ServerUnreachable",
        "StoreNameUnresolved",
        "StoreUnreachable",
        "VisionTransientError",
    )
)
PERMANENT: Final = frozenset({code_of("BadRequest")})
MAKES_A_STEP_FAIL: Final = frozenset(
    {
        Kind.MODEL_FAULT,
        Kind.FREEZE_WORKER,
        Kind.FREEZE_HOST,
        Kind.HANG_NAMES,
        Kind.NO_NAMES,
        Kind.STORE_AWAY,
        Kind.MODEL_SERVER_AWAY,
        Kind.MODEL_LIST_FAILS,
        Kind.MODEL_MISSING,
        Kind.KILL_RUNNER,
    }
)


class Violation(StrEnum):
    """The kind of a violation."""

    LOST = "lost"
    WRITTEN_TWICE = "written twice"
    READ_AGAIN = "read again after its commit"
    WRONG_TEXT = "completed with a wrong text"
    UNREADABLE = "a result that the platform's readers show wrongly"
    FOR_OTHERS = "failed for somebody else's fault"
    UNEXPLAINED = "failed or started again without a fault that explains it"


@dataclass(frozen=True, slots=True)
class Finding:
    """`detail` contains only classes, counts and times."""

    violation: Violation
    submission_id: UUID
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failures` counts failed submissions by reason, `reruns` counts restarted jobs by reason.

    `for_others` are the submissions that failed for a fault that was not their own, explained by a fault of the run or not.
    """

    findings: tuple[Finding, ...]
    submissions: int
    completed: int
    failures: Counter[str]
    reruns: Counter[RerunReason]
    for_others: tuple[Finding, ...] = ()

    def count(self, violation: Violation) -> int:
        """Count the submissions with a violation. For READ_AGAIN count the calls."""
        found = [finding.submission_id for finding in self.findings if finding.violation is violation]
        return len(found) if violation is Violation.READ_AGAIN else len(set(found))

    @property
    def duplicate_executions(self) -> int:
        return sum(number for why, number in self.reruns.items() if why.is_duplicate)


def check(record: RunRecord) -> Verdict:
    transitions = record.transitions_of()
    again = {each: tuple(reruns(found)) for each, found in transitions.items()}
    findings = [*_lost(record), *_written_twice(record), *_read_again(record), *_wrong_texts(record), *_unreadable(record)]
    for state in record.submissions:
        job = transitions.get(state.submission_id, [])
        findings += _unexplained(state, job, again.get(state.submission_id, ()), record)
    return Verdict(
        tuple(findings),
        submissions=len(record.submissions),
        completed=sum(state.status == "completed" for state in record.submissions),
        failures=Counter(_reason(state) for state in record.submissions if state.status == "failed"),
        reruns=Counter(rerun.why for found in again.values() for rerun in found),
        for_others=tuple(
            Finding(Violation.FOR_OTHERS, state.submission_id, _reason(state))
            for state in record.submissions
            if state.status == "failed"
            and not is_own(state, transitions.get(state.submission_id, []), again.get(state.submission_id, ()), record)
        ),
    )


def _lost(record: RunRecord) -> Iterator[Finding]:
    """Find submissions that disappeared, are not final, or have a job after their end.

    A submission to which the database still refuses writes may wait for ever.
    """
    there = {state.submission_id for state in record.submissions}
    may_wait = {each.submission_id for each in record.refusals if each.until is None}
    for gone in record.acknowledged - there:
        yield Finding(Violation.LOST, gone, "its row is gone")
    for state in record.submissions:
        is_open = state.status not in FINAL or state.job_status in {"queued", "leased"}
        if is_open and state.submission_id not in may_wait:
            yield Finding(Violation.LOST, state.submission_id, f"{state.status}, job {state.job_status or 'gone'}")


def _written_twice(record: RunRecord) -> Iterator[Finding]:
    times = Counter(written.submission_id for written in record.written)
    for submission_id, number in times.items():
        if number > 1:
            yield Finding(Violation.WRITTEN_TWICE, submission_id, f"{number} results")


def _read_again(record: RunRecord) -> Iterator[Finding]:
    """Find calls for page k after the first commit of k pages or of the whole text."""
    owners = {sha: (state, page) for state in record.submissions for page, sha in enumerate(state.pages, start=1)}
    transitions = record.transitions_of()
    for call in record.calls:
        if call.image_sha256 in owners:
            state, page = owners[call.image_sha256]
            committed_at = _committed_at(transitions.get(state.submission_id, []), page)
            if committed_at is not None and call.at > committed_at:
                after_seconds = call.at - committed_at
                yield Finding(Violation.READ_AGAIN, state.submission_id, f"page {page}, {after_seconds:.3f} s after its commit")


def _committed_at(transitions: list[JobTransition], page: int) -> float | None:
    return next((transition.at for transition in transitions if transition.has_text or transition.pages >= page), None)


def _wrong_texts(record: RunRecord) -> Iterator[Finding]:
    for state in record.submissions:
        if state.status == "completed" and (state.work is Work.DAMAGED or state.text_body != state.expected_text):
            yield Finding(Violation.WRONG_TEXT, state.submission_id, state.work)


def _unreadable(record: RunRecord) -> Iterator[Finding]:
    for submission_id, fault in record.unreadable:
        yield Finding(Violation.UNREADABLE, submission_id, fault)


def _unexplained(
    state: SubmissionState, job: list[JobTransition], again: tuple[Rerun, ...], record: RunRecord
) -> Iterator[Finding]:
    refused = {each.sqlstate for each in record.refusals if each.submission_id == state.submission_id}
    for rerun in again:
        could_not_return = bool(refused) and rerun.why is RerunReason.LEASE_EXPIRED
        if rerun.why.is_duplicate and not could_not_return and not is_explained(rerun, record):
            yield Finding(Violation.UNEXPLAINED, state.submission_id, f"{rerun.why}: pid {rerun.before.pid} was not hit")
    names_its_refusal = any(sqlstate.lower() in _reason(state) for sqlstate in refused)
    if state.status == "failed" and not names_its_refusal and not _is_expected_failure(state, job, record):
        yield Finding(Violation.UNEXPLAINED, state.submission_id, _reason(state))


def _is_expected_failure(state: SubmissionState, job: list[JobTransition], record: RunRecord) -> bool:
    """Return True for a damaged file, enough killed workers, or enough failures of the model.

    `_unexplained` checks that each of the deaths had its fault.
    """
    if state.last_error == WORKER_CRASHED:
        return job[-1].crashes >= MAX_CRASHES or job[-1].expiries >= MAX_EXPIRIES
    if state.work is Work.DAMAGED and state.error_code == "input_corrupt":
        return True
    is_out_of_tries = state.last_error in TRANSIENT and job[-1].retry_count >= MAX_RETRIES
    was_hit = any(fault.kind in MAKES_A_STEP_FAIL for fault in record.injected)
    return was_hit and (is_out_of_tries or state.last_error in PERMANENT)


def _reason(state: SubmissionState) -> str:
    return f"{state.error_code} ({state.last_error})"
