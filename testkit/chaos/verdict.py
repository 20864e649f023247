"""What is wrong with a run: a pure function of what was seen."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from testkit.chaos.evidence import Evidence, Handed, Move
from testkit.chaos.plan import Kind, Work
from testkit.chaos.rerun import ActionReason, Rerun, is_explained, reruns
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


class Wrong(StrEnum):
    """What must not be."""

    LOST = "lost"
    WRITTEN_TWICE = "written twice"
    READ_AGAIN = "asked for after it was committed"
    WRONG_TEXT = "completed with a text that is not its own"
    UNEXPLAINED = "failed, or begun again, without a fault that explains it"


@dataclass(frozen=True, slots=True)
class Finding:
    """`detail` has classes, counts and times alone."""

    wrong: Wrong
    submission_id: UUID
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`failures` counts the failed submissions by reason, `reruns` why jobs were begun again."""

    findings: tuple[Finding, ...]
    submissions: int
    completed: int
    failures: Counter[str]
    reruns: Counter[ActionReason]

    def count(self, wrong: Wrong) -> int:
        """Submissions, each once; of calls for what was committed each one."""
        found = [finding.submission_id for finding in self.findings if finding.wrong is wrong]
        return len(found) if wrong is Wrong.READ_AGAIN else len(set(found))

    @property
    def duplicate_executions(self) -> int:
        return sum(number for why, number in self.reruns.items() if why.is_duplicate)


def judge(evidence: Evidence) -> Verdict:
    moves = evidence.moves_of()
    again = {each: tuple(reruns(found)) for each, found in moves.items()}
    findings = [*_lost(evidence), *_written_twice(evidence), *_read_again(evidence), *_wrong_texts(evidence)]
    for handed in evidence.handed:
        job = moves.get(handed.submission_id, [])
        findings += _unexplained(handed, job, again.get(handed.submission_id, ()), evidence)
    return Verdict(
        tuple(findings),
        submissions=len(evidence.handed),
        completed=sum(handed.status == "completed" for handed in evidence.handed),
        failures=Counter(_reason(handed) for handed in evidence.handed if handed.status == "failed"),
        reruns=Counter(rerun.why for found in again.values() for rerun in found),
    )


def _lost(evidence: Evidence) -> Iterator[Finding]:
    """Its commit was acknowledged and it is gone, it has no end, or its job goes on after its end."""
    there = {handed.submission_id for handed in evidence.handed}
    for gone in evidence.acknowledged - there:
        yield Finding(Wrong.LOST, gone, "its row is gone")
    for handed in evidence.handed:
        if handed.status not in FINAL or handed.job_status in {"queued", "leased"}:
            yield Finding(Wrong.LOST, handed.submission_id, f"{handed.status}, job {handed.job_status or 'gone'}")


def _written_twice(evidence: Evidence) -> Iterator[Finding]:
    times = Counter(written.submission_id for written in evidence.written)
    for submission_id, number in times.items():
        if number > 1:
            yield Finding(Wrong.WRITTEN_TWICE, submission_id, f"{number} results")


def _read_again(evidence: Evidence) -> Iterator[Finding]:
    """Page k is over when k pages or the whole text were committed, the first time."""
    owners = {sha: (handed, page) for handed in evidence.handed for page, sha in enumerate(handed.pages, start=1)}
    moves = evidence.moves_of()
    for call in evidence.calls:
        if call.image_sha256 in owners:
            handed, page = owners[call.image_sha256]
            committed_at = _committed_at(moves.get(handed.submission_id, []), page)
            if committed_at is not None and call.at > committed_at:
                after_seconds = call.at - committed_at
                yield Finding(Wrong.READ_AGAIN, handed.submission_id, f"page {page}, {after_seconds:.3f} s after its commit")


def _committed_at(moves: list[Move], page: int) -> float | None:
    return next((move.at for move in moves if move.has_text or move.pages >= page), None)


def _wrong_texts(evidence: Evidence) -> Iterator[Finding]:
    for handed in evidence.handed:
        if handed.status == "completed" and (handed.work is Work.DAMAGED or handed.text_body != handed.expected_text):
            yield Finding(Wrong.WRONG_TEXT, handed.submission_id, handed.work)


def _unexplained(handed: Handed, job: list[Move], again: tuple[Rerun, ...], evidence: Evidence) -> Iterator[Finding]:
    for rerun in again:
        if rerun.why.is_duplicate and not is_explained(rerun, evidence):
            yield Finding(Wrong.UNEXPLAINED, handed.submission_id, f"{rerun.why}: pid {rerun.before.pid} was not hit")
    if handed.status == "failed" and not _is_expected_failure(handed, job, evidence):
        yield Finding(Wrong.UNEXPLAINED, handed.submission_id, _reason(handed))


def _is_expected_failure(handed: Handed, job: list[Move], evidence: Evidence) -> bool:
    """The file was damaged, its workers were killed often enough, or the model failed it as often as is allowed.

    That each of the deaths had its fault is asked of the reruns.
    """
    if handed.error_class == WORKER_CRASHED:
        return job[-1].crashes >= MAX_CRASHES or job[-1].expiries >= MAX_EXPIRIES
    if handed.work is Work.DAMAGED:
        return handed.error_code == "input_corrupt"
    is_out_of_tries = handed.error_class in TRANSIENT and job[-1].retry_count >= MAX_RETRIES
    was_hit = any(hit.kind in DELAYS_A_MODEL for hit in evidence.hits)
    return was_hit and (is_out_of_tries or handed.error_class in PERMANENT)


def _reason(handed: Handed) -> str:
    return f"{handed.error_code} ({handed.error_class})"
