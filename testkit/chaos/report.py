"""The figures of a run, as a table or as one JSON object; and of what is wrong the whole story, without anybody's words."""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from rich.console import Console
from rich.table import Table

from testkit.chaos.evidence import Call, Evidence, Hit, LogLine, Move, Written
from testkit.chaos.pace import longest_gap_seconds, percentile, recoveries
from testkit.chaos.plan import Plan
from testkit.chaos.run import Played
from testkit.chaos.verdict import Finding, Verdict, Wrong

MOST_TOLD: Final = 5  # findings with their story; all are counted

Seen = Move | Written | Call | Hit | LogLine


@dataclass(frozen=True, slots=True)
class Report:
    """A run with its judgement."""

    plan: Plan
    played: Played
    verdict: Verdict

    @property
    def is_right(self) -> bool:
        return not self.verdict.findings

    def figures(self) -> dict[str, Any]:
        verdict, evidence = self.verdict, self.played.evidence
        felt = recoveries(evidence)
        every = [seconds for found in felt.values() for seconds in found]
        return {
            "submissions": verdict.submissions,
            "completed": verdict.completed,
            "failed_as_expected": sum(verdict.failures.values()) - verdict.count(Wrong.UNEXPLAINED),
            "lost": verdict.count(Wrong.LOST),
            "written_twice": verdict.count(Wrong.WRITTEN_TWICE),
            "vision_after_checkpoint": verdict.count(Wrong.READ_AGAIN),
            "wrong_text": verdict.count(Wrong.WRONG_TEXT),
            "unexplained": verdict.count(Wrong.UNEXPLAINED),
            "duplicate_executions": verdict.duplicate_executions,
            "longest_gap_seconds": round(longest_gap_seconds(evidence), 1),
            "recovery_p50_seconds": _rounded(percentile(every, 0.5)),
            "recovery_p95_seconds": _rounded(percentile(every, 0.95)),
            "recovery_max_seconds": _rounded(percentile(every, 1.0)),
        }

    def details(self) -> dict[str, Any]:
        felt = recoveries(self.played.evidence)
        return {
            "seed": self.plan.seed,
            "minutes": self.plan.ends_at_seconds / 60,
            "quiet_seconds": round(self.played.quiet_seconds, 1),
            "failures": dict(sorted(self.verdict.failures.items())),
            "begun_again": {str(why): number for why, number in sorted(self.verdict.reruns.items())},
            "faults": dict(sorted(Counter(hit.kind.name.lower() for hit in self.played.evidence.hits).items())),
            "faults_without_a_victim": self.played.missed_faults,
            "recovery_seconds": {kind.name.lower(): _distribution(felt[kind]) for kind in felt},
            "exit_codes": dict(sorted(Counter(map(str, self.played.exit_codes)).items())),
            "drained_with": self.played.drained_with,
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }

    def show(self, console: Console) -> None:
        table = Table("what", "figure", title=f"chaos: {self.plan.ends_at_seconds / 60:g} minutes, seed {self.plan.seed}")
        for name, value in (*self.figures().items(), *_flat(self.details())):
            table.add_row(name, str(value))
        console.print(table)

    def story(self) -> Iterator[str]:
        """Of what is wrong: the seed, the submission, and all that was seen of it in its order."""
        for finding in self.verdict.findings[:MOST_TOLD]:
            yield f"seed {self.plan.seed}: submission {finding.submission_id}: {finding.wrong}: {finding.detail}"
            yield from timeline(finding, self.played.evidence)


def timeline(finding: Finding, evidence: Evidence) -> Iterator[str]:
    """Seconds since the beginning, and what happened: moves, results, calls, log lines, and the faults that hit its workers."""
    seen = sorted(_seen(finding.submission_id, evidence), key=lambda each: each.at)
    for each in seen:
        yield f"  {each.at - evidence.began_at:10.3f}  {_told(each)}"


def _seen(submission_id: UUID, evidence: Evidence) -> Iterator[Seen]:
    moves = [move for move in evidence.moves if move.submission_id == submission_id]
    pids = {move.pid for move in moves} - {None}
    pages = {sha for handed in evidence.handed if handed.submission_id == submission_id for sha in handed.pages}
    is_over = moves and moves[-1].status in {None, "failed"}
    until = moves[-1].at if is_over else evidence.ended_at
    yield from moves
    yield from (written for written in evidence.written if written.submission_id == submission_id)
    yield from (call for call in evidence.calls if call.image_sha256 in pages)
    names = {str(name) for move in moves for name in (move.job_id, move.submission_id)}
    yield from (line for line in evidence.log if any(name in line.text for name in names))
    for hit in evidence.hits:
        is_near = moves and moves[0].at <= hit.at <= until
        if is_near and (hit.pids is None or hit.pids & pids):
            yield hit


def _told(each: Seen) -> str:
    match each:
        case Move():
            key = str(each.lease_key)[:8] if each.lease_key else "-"
            kept = f"pages={each.pages} text={each.has_text} crashes={each.crashes} expiries={each.expiries}"
            by = f"by {each.application_name!r}"
            tried = f"retries={each.retry_count} error={each.error_code}"
            return f"job {each.old_status} -> {each.status} key={key} {kept} {tried} {by}"
        case LogLine():
            return f"{each.host}: {each.text}"
        case Written():
            return f"result {each.status} by {each.application_name!r}"
        case Call():
            return f"vision call for {each.image_sha256[:8]}: {each.outcome}"
        case Hit():
            return f"fault {each.kind.name.lower()} {each.detail}"


def _distribution(seconds: list[float]) -> dict[str, Any]:
    shares = {"p50": 0.5, "p95": 0.95, "max": 1.0}
    return {"jobs": len(seconds), **{name: _rounded(percentile(seconds, share)) for name, share in shares.items()}}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _flat(details: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in details.items():
        if isinstance(value, dict):
            yield from ((f"{name}: {key}", each) for key, each in value.items())
        else:
            yield name, value
