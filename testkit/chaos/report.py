"""The figures of a run as a table or JSON, and the timeline of each violation, without the texts of pupils."""

import os
import platform
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

from rich.console import Console
from rich.table import Table

from testkit.chaos.checks import Finding, Verdict, Violation, check
from testkit.chaos.intervals import Interval
from testkit.chaos.plan import Plan
from testkit.chaos.recovery import longest_gap_seconds, longest_standstill, percentile, recoveries
from testkit.chaos.run import FinishedRun
from testkit.chaos.run_record import InjectedFault, JobTransition, LogLine, RunRecord, VisionCall, WrittenResult
from testkit.chaos.truth import Episode, untrue_episodes

MAX_TIMELINES: Final = 5
MAX_STANDSTILL_SECONDS: Final = 60.0
BEFORE_SECONDS: Final = 10.0  # faults as long before a standstill are named with it

Event = JobTransition | WrittenResult | VisionCall | InjectedFault | LogLine


@dataclass(frozen=True, slots=True)
class Report:
    """A finished run and the results of the checks. `standstill` is the longest, `untrue` are the episodes of wrong status."""

    plan: Plan
    finished: FinishedRun
    verdict: Verdict
    standstill: Interval
    untrue: tuple[Episode, ...]

    @classmethod
    def of(cls, plan: Plan, finished: FinishedRun) -> Self:
        record = finished.record
        return cls(plan, finished, check(record), longest_standstill(record), tuple(untrue_episodes(record)))

    @property
    def is_right(self) -> bool:
        return (
            not self.verdict.findings
            and not self.verdict.for_others
            and self.standstill_seconds <= MAX_STANDSTILL_SECONDS
            and not self.untrue
        )

    @property
    def standstill_seconds(self) -> float:
        return self.standstill[1] - self.standstill[0]

    def figures(self) -> dict[str, Any]:
        verdict, record = self.verdict, self.finished.record
        recovered = recoveries(record)
        every = [seconds for found in recovered.values() for seconds in found]
        return {
            "submissions": verdict.submissions,
            "completed": verdict.completed,
            "failed_as_expected": sum(verdict.failures.values()) - verdict.count(Violation.UNEXPLAINED),
            "lost": verdict.count(Violation.LOST),
            "written_twice": verdict.count(Violation.WRITTEN_TWICE),
            "vision_after_checkpoint": verdict.count(Violation.READ_AGAIN),
            "wrong_text": verdict.count(Violation.WRONG_TEXT),
            "unreadable_results": verdict.count(Violation.UNREADABLE),
            "failed_for_others": len(self.verdict.for_others),
            "unexplained": verdict.count(Violation.UNEXPLAINED),
            "duplicate_executions": verdict.duplicate_executions,
            "longest_gap_seconds": round(longest_gap_seconds(record), 1),
            "longest_standstill_s": round(self.standstill_seconds, 1),
            "untrue_status": len(self.untrue),
            "recovery_p50_seconds": _rounded(percentile(every, 0.5)),
            "recovery_p95_seconds": _rounded(percentile(every, 0.95)),
            "recovery_max_seconds": _rounded(percentile(every, 1.0)),
        }

    def details(self) -> dict[str, Any]:
        recovered = recoveries(self.finished.record)
        return {
            "seed": self.plan.seed,
            "minutes": self.plan.ends_at_seconds / 60,
            "quiet_seconds": round(self.finished.quiet_seconds, 1),
            "failures": dict(sorted(self.verdict.failures.items())),
            "reruns": {str(why): number for why, number in sorted(self.verdict.reruns.items())},
            "faults": dict(sorted(Counter(fault.kind.name.lower() for fault in self.finished.record.injected).items())),
            "faults_without_a_victim": self.finished.missed_faults,
            "faults_not_possible": {kind.name.lower(): why for kind, why in self.finished.not_possible.items()},
            "refused_submissions": dict(sorted(Counter(self._ends_of_refused()).items())),
            "helpers_left": self.finished.helpers_left,
            "untrue": list(self.untrue_lines()),
            "recovery_seconds": {kind.name.lower(): _distribution(recovered[kind]) for kind in recovered},
            "exit_codes": dict(sorted(Counter(map(str, self.finished.exit_codes)).items())),
            "drain_exit_codes": self.finished.drained_with,
            "cores": os.cpu_count(),
            "kernel": platform.release(),
            "python": platform.python_version(),
        }

    def show(self, console: Console) -> None:
        table = Table("what", "figure", title=f"chaos: {self.plan.ends_at_seconds / 60:g} minutes, seed {self.plan.seed}")
        for name, value in (*self.figures().items(), *_flat(self.details())):
            table.add_row(name, str(value))
        console.print(table)

    def violations(self) -> Iterator[str]:
        """Yield each violation with the seed, the submission and its timeline."""
        for finding in (*self.verdict.findings, *self.verdict.for_others)[:MAX_TIMELINES]:
            yield f"seed {self.plan.seed}: submission {finding.submission_id}: {finding.violation}: {finding.detail}"
            yield from timeline(finding, self.finished.record)
        yield from self._standstill_lines()
        yield from self.untrue_lines()

    def untrue_lines(self) -> Iterator[str]:
        """Yield each untrue status: time since the start, host, its message, what was true."""
        for each in self.untrue:
            at, seconds = each.since - self.finished.record.began_at, each.until - each.since
            times = f"at {at:.1f} s for {seconds:.1f} s ({each.samples} samples)"
            yield f"status {times}, {each.host}: {each.untruth}: {each.message!r}"

    def _standstill_lines(self) -> Iterator[str]:
        """Yield the longest standstill and the faults before and in it, if it is too long."""
        record, (since, until) = self.finished.record, self.standstill
        if self.standstill_seconds > MAX_STANDSTILL_SECONDS:
            yield f"no progress from {since - record.began_at:.1f} to {until - record.began_at:.1f} s"
            for fault in record.injected:
                if fault.at <= until and fault.until >= since - BEFORE_SECONDS:
                    yield f"  {fault.at - record.began_at:10.3f}  {_line(fault)} on {', '.join(sorted(fault.hosts))}"

    def _ends_of_refused(self) -> Iterator[str]:
        refused = {each.submission_id for each in self.finished.record.refusals}
        for state in self.finished.record.submissions:
            if state.submission_id in refused:
                yield f"failed as {state.last_error}" if state.status == "failed" else state.status


def timeline(finding: Finding, record: RunRecord) -> Iterator[str]:
    """Yield transitions, results, calls, log lines and faults of its workers, with their seconds since the start."""
    events = sorted(_events(finding.submission_id, record), key=lambda each: each.at)
    for each in events:
        yield f"  {each.at - record.began_at:10.3f}  {_line(each)}"


def _events(submission_id: UUID, record: RunRecord) -> Iterator[Event]:
    transitions = [transition for transition in record.transitions if transition.submission_id == submission_id]
    pids = {transition.pid for transition in transitions} - {None}
    pages = {sha for state in record.submissions if state.submission_id == submission_id for sha in state.pages}
    is_over = transitions and transitions[-1].status in {None, "failed"}
    ended_at = transitions[-1].at if is_over else record.ended_at
    yield from transitions
    yield from (written for written in record.written if written.submission_id == submission_id)
    yield from (call for call in record.calls if call.image_sha256 in pages)
    names = {str(name) for transition in transitions for name in (transition.job_id, transition.submission_id)}
    yield from (line for line in record.log if any(name in line.text for name in names))
    for fault in record.injected:
        is_near = transitions and transitions[0].at <= fault.at <= ended_at
        if is_near and (fault.pids is None or fault.pids & pids):
            yield fault


def _line(each: Event) -> str:
    match each:
        case JobTransition():
            key = str(each.lease_key)[:8] if each.lease_key else "-"
            kept = f"pages={each.pages} text={each.has_text} crashes={each.crashes} expiries={each.expiries}"
            by = f"by {each.application_name!r}"
            tried = f"retries={each.retry_count} error={each.error_code}"
            return f"job {each.old_status} -> {each.status} key={key} {kept} {tried} {by}"
        case LogLine():
            return f"{each.host}: {each.text}"
        case WrittenResult():
            return f"result {each.status} by {each.application_name!r}"
        case VisionCall():
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
