"""What is wrong with a run: a pure function of what was seen."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from testkit.chaos.plan import Kind, Work
from testkit.chaos.rerun import Rerun, RerunReason, is_explained, reruns
from testkit.chaos.run_record import JobTransition, RunRecord, SubmissionState
from worker.core.outcome import MAX_EXPIRIES
from worker.ipc.contract import WORKER_CRASHED

MAX_RETRIES: Final = 3
MAX_CRASHES: Final = 2
FINAL: Final = frozenset({"completed", "failed"})
TRANSIENT: Final = frozenset(
    {
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
    }
)
PERMANENT: Final = frozenset({"BadRequest"})
DELAYS_A_MODEL: Final = frozenset({Kind.MODEL_FAULT, Kind.FREEZE_WORKER, Kind.FREEZE_HOST})


class Violation(StrEnum):
    """What must not be."""

    LOST = "lost"
    WRITTEN_TWICE = "written twice"
    READ_AGAIN = "asked for after it was committed"
    WRONG_TEXT = "completed with a text that is not its own"
    UNEXPLAINED = "failed, or begun again, without a fault that explains it"


@dataclass(frozen=True, slots=True)
class Finding:
    """`detail` has classes, counts and times alone."""

    violation: Violation
    submission_id: UUID
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failures` counts the failed submissions by reason, `reruns` why jobs were begun again."""

    findings: tuple[Finding, ...]
    submissions: int
    completed: int
    failures: Counter[str]
    reruns: Counter[RerunReason]

    def count(self, violation: Violation) -> int:
        """Submissions, each once; of calls for what was committed each one."""
        found = [finding.submission_id for finding in self.findings if finding.violation is wrong]
        return len(found) if violation is Violation.READ_AGAIN else len(set(found))

    @property
    def duplicate_executions(self) -> int:
        return sum(number for why, number in self.reruns.items() if why.is_duplicate)


def check(record: RunRecord) -> Verdict:
    transitions = record.transitions_of()
    again = {each: tuple(reruns(found)) for each, found in transitions.items()}
    findings = [*_lost(record), *_written_twice(record), *_read_again(record), *_wrong_texts(record)]
    for handed in record.handed:
        job = transitions.get(handed.submission_id, [])
        findings += _unexplained(handed, job, again.get(handed.submission_id, ()), record)
    return Verdict(
        tuple(findings),
        submissions=len(record.handed),
        completed=sum(handed.status == "completed" for handed in record.handed),
        failures=Counter(_reason(handed) for handed in record.handed if handed.status == "failed"),
        reruns=Counter(rerun.why for found in again.values() for rerun in found),
    )


def _lost(record: RunRecord) -> Iterator[Finding]:
    """Its commit was acknowledged and it is gone, it has no end, or its job goes on after its end."""
    there = {handed.submission_id for handed in record.handed}
    for gone in record.acknowledged - there:
        yield Finding(Violation.LOST, gone, "its row is gone")
    for handed in record.handed:
        if handed.status not in FINAL or handed.job_status in {"queued", "leased"}:
            yield Finding(Violation.LOST, handed.submission_id, f"{handed.status}, job {handed.job_status or 'gone'}")


def _written_twice(record: RunRecord) -> Iterator[Finding]:
    times = Counter(written.submission_id for written in record.written)
    for submission_id, number in times.items():
        if number > 1:
            yield Finding(Violation.WRITTEN_TWICE, submission_id, f"{number} results")


def _read_again(record: RunRecord) -> Iterator[Finding]:
    """Page k is over when k pages or the whole text were committed, the first time."""
    owners = {sha: (handed, page) for handed in record.handed for page, sha in enumerate(handed.pages, start=1)}
    transitions = record.transitions_of()
    for call in record.calls:
        if call.image_sha256 in owners:
            handed, page = owners[call.image_sha256]
            committed_at = _committed_at(transitions.get(handed.submission_id, []), page)
            if committed_at is not None and call.at > committed_at:
                after_seconds = call.at - committed_at
                yield Finding(Violation.READ_AGAIN, handed.submission_id, f"page {page}, {after_seconds:.3f} s after its commit")


def _committed_at(transitions: list[JobTransition], page: int) -> float | None:
    return next((transition.at for transition in transitions if transition.has_text or transition.pages >= page), None)


def _wrong_texts(record: RunRecord) -> Iterator[Finding]:
    for handed in record.handed:
        if handed.status == "completed" and (handed.work is Work.DAMAGED or handed.text_body != handed.expected_text):
            yield Finding(Violation.WRONG_TEXT, handed.submission_id, handed.work)


def _unexplained(
    handed: SubmissionState, job: list[JobTransition], again: tuple[Rerun, ...], record: RunRecord
) -> Iterator[Finding]:
    for rerun in again:
        if rerun.why.is_duplicate and not is_explained(rerun, record):
            yield Finding(Violation.UNEXPLAINED, handed.submission_id, f"{rerun.why}: pid {rerun.before.pid} was not hit")
    if handed.status == "failed" and not _is_expected_failure(handed, job, record):
        yield Finding(Violation.UNEXPLAINED, handed.submission_id, _reason(handed))


def _is_expected_failure(handed: SubmissionState, job: list[JobTransition], record: RunRecord) -> bool:
    """The file was damaged, its workers were killed often enough, or the model failed it as often as is allowed.

    That each of the deaths had its fault is asked of the reruns.
    """
    if handed.error_class == WORKER_CRASHED:
        return job[-1].crashes >= MAX_CRASHES or job[-1].expiries >= MAX_EXPIRIES
    if handed.work is Work.DAMAGED:
        return handed.error_code == "input_corrupt"
    is_out_of_tries = handed.error_class in TRANSIENT and job[-1].retry_count >= MAX_RETRIES
    was_hit = any(hit.kind in DELAYS_A_MODEL for hit in record.injected)
    return was_hit and (is_out_of_tries or handed.error_class in PERMANENT)


def _reason(handed: SubmissionState) -> str:
    return f"{handed.error_code} ({handed.error_class})"
