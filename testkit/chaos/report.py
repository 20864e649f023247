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

from testkit.chaos.checks import Finding, Verdict, Violation
from testkit.chaos.plan import Plan
from testkit.chaos.recovery import longest_gap_seconds, percentile, recoveries
from testkit.chaos.run import Played
from testkit.chaos.run_record import Call, InjectedFault, JobTransition, LogLine, RunRecord, Written

MOST_TOLD: Final = 5  # findings with their story; all are counted

Seen = JobTransition | Written | Call | InjectedFault | LogLine


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
        verdict, record = self.verdict, self.played.record
        felt = recoveries(record)
        every = [seconds for found in felt.values() for seconds in found]
        return {
            "submissions": verdict.submissions,
            "completed": verdict.completed,
            "failed_as_expected": sum(verdict.failures.values()) - verdict.count(Violation.UNEXPLAINED),
            "lost": verdict.count(Violation.LOST),
            "written_twice": verdict.count(Violation.WRITTEN_TWICE),
            "vision_after_checkpoint": verdict.count(Violation.READ_AGAIN),
            "wrong_text": verdict.count(Violation.WRONG_TEXT),
            "unexplained": verdict.count(Violation.UNEXPLAINED),
            "duplicate_executions": verdict.duplicate_executions,
            "longest_gap_seconds": round(longest_gap_seconds(record), 1),
            "recovery_p50_seconds": _rounded(percentile(every, 0.5)),
            "recovery_p95_seconds": _rounded(percentile(every, 0.95)),
            "recovery_max_seconds": _rounded(percentile(every, 1.0)),
        }

    def details(self) -> dict[str, Any]:
        felt = recoveries(self.played.record)
        return {
            "seed": self.plan.seed,
            "minutes": self.plan.ends_at_seconds / 60,
            "quiet_seconds": round(self.played.quiet_seconds, 1),
            "failures": dict(sorted(self.verdict.failures.items())),
            "begun_again": {str(why): number for why, number in sorted(self.verdict.reruns.items())},
            "faults": dict(sorted(Counter(hit.kind.name.lower() for hit in self.played.record.injected).items())),
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
        """Of what is violation: the seed, the submission, and all that was seen of it in its order."""
        for finding in self.verdict.findings[:MOST_TOLD]:
            yield f"seed {self.plan.seed}: submission {finding.submission_id}: {finding.violation}: {finding.detail}"
            yield from timeline(finding, self.played.record)


def timeline(finding: Finding, record: RunRecord) -> Iterator[str]:
    """Seconds since the beginning, and what happened: transitions, results, calls, log lines, and the faults that hit its workers."""
    seen = sorted(_seen(finding.submission_id, record), key=lambda each: each.at)
    for each in seen:
        yield f"  {each.at - record.began_at:10.3f}  {_told(each)}"


def _seen(submission_id: UUID, record: RunRecord) -> Iterator[Seen]:
    transitions = [transition for transition in record.transitions if transition.submission_id == submission_id]
    pids = {transition.pid for transition in transitions} - {None}
    pages = {sha for handed in record.handed if handed.submission_id == submission_id for sha in handed.pages}
    is_over = transitions and transitions[-1].status in {None, "failed"}
    until = transitions[-1].at if is_over else record.ended_at
    yield from transitions
    yield from (written for written in record.written if written.submission_id == submission_id)
    yield from (call for call in record.calls if call.image_sha256 in pages)
    names = {str(name) for transition in transitions for name in (transition.job_id, transition.submission_id)}
    yield from (line for line in record.log if any(name in line.text for name in names))
    for hit in record.injected:
        is_near = transitions and transitions[0].at <= hit.at <= until
        if is_near and (hit.pids is None or hit.pids & pids):
            yield hit


def _told(each: Seen) -> str:
    match each:
        case JobTransition():
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
        case InjectedFault():
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
