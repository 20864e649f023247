"""The verdict of scripts/chaos on made-up runs: it finds each thing that must not be, and nothing where all is well."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from testkit.chaos.checks import Finding, Verdict, Violation, check
from testkit.chaos.plan import Kind, Work
from testkit.chaos.recovery import longest_gap_seconds, recoveries
from testkit.chaos.report import timeline
from testkit.chaos.rerun import RerunReason
from testkit.chaos.run_record import Call, InjectedFault, JobTransition, LogLine, RunRecord, SubmissionState, Written

ID = UUID(int=1)
FIRST_KEY, SECOND_KEY = UUID(int=11), UUID(int=12)
FIRST_PID, SECOND_PID = 100, 200
WORKER, OTHER, MONITOR = (f"learning-supervisor {who}" for who in ("slot 0 pid 100", "slot 1 pid 200", "monitor"))

JOB = UUID(int=2)
ENTERED = JobTransition(0.0, JOB, ID, None, "queued", None, None, 0, False, 0, 0, 0, None, "")
LEASED = replace(ENTERED, at=1.0, old_status="queued", status="leased", lease_key=FIRST_KEY, application_name=WORKER)
PAGE = replace(LEASED, at=3.0, old_status="leased", old_lease_key=FIRST_KEY, pages=1)
TEXT = replace(PAGE, at=5.0, pages=0, has_text=True)
DONE = replace(TEXT, at=6.0, status=None, lease_key=None)
READ = (Call(2.0, "one", "done"), Call(4.0, "two", "done"))
HANDED = SubmissionState(ID, Work.DOCUMENT, "completed", None, None, None, "a text", "a text", ("one", "two"))
RETURNED = replace(PAGE, at=3.5, status="queued", lease_key=None, crashes=1, application_name=MONITOR)
AGAIN = replace(RETURNED, at=3.6, old_status="queued", old_lease_key=None, status="leased", lease_key=SECOND_KEY)
AGAIN = replace(AGAIN, application_name=OTHER)
KILLED = InjectedFault(3.4, Kind.KILL_WORKER, frozenset({FIRST_PID}))
QUARANTINED = replace(HANDED, status="failed", error_code="vision_failed", error_class="worker_crashed", job_status="failed")
OVER = replace(AGAIN, at=4.5, old_status="leased", old_lease_key=SECOND_KEY, status="failed", lease_key=None, crashes=2)


def run(*transitions: JobTransition, handed: SubmissionState = HANDED, **changes: Any) -> RunRecord:
    """All went well, but for the changes."""
    transitions = transitions or (ENTERED, LEASED, PAGE, TEXT, DONE)
    well = RunRecord(frozenset({ID}), (handed,), transitions, (Written(6.0, ID, handed.status, WORKER),), READ, (), (), 0.0, 7.0)
    return replace(well, **changes)


def wrongs(record: RunRecord) -> list[Violation]:
    return [finding.violation for finding in check(record).findings]


def test_a_good_run_has_no_finding() -> None:
    """Entered, leased, read page by page, completed once: nothing is wrong and nothing was begun again."""
    verdict = check(run())
    assert (verdict.findings, verdict.submissions, verdict.completed, verdict.duplicate_executions) == ((), 1, 1, 0)


@pytest.mark.parametrize(
    "handed",
    [
        pytest.param(replace(HANDED, status="pending", job_status="leased"), id="its job never ended"),
        pytest.param(replace(HANDED, status="pending"), id="its job is gone and it has no end"),
        pytest.param(replace(HANDED, job_status="queued"), id="its job goes on after its end"),
    ],
)
def test_it_finds_what_was_lost(handed: SubmissionState) -> None:
    """A submission without an end, or with a job that goes on after it, is lost."""
    assert check(run(handed=handed)).count(Violation.LOST) == 1


def test_it_finds_what_is_gone() -> None:
    """A submission whose commit the platform was told of, and of which no row is left, is lost."""
    assert wrongs(run(acknowledged=frozenset({ID, UUID(int=2)}))) == [Violation.LOST]


def test_it_finds_what_was_written_twice() -> None:
    """A second result is found, were it the same as the first."""
    assert wrongs(run(written=(Written(6.0, ID, "completed", WORKER), Written(6.1, ID, "completed", OTHER)))) == [
        Violation.WRITTEN_TWICE
    ]


@pytest.mark.parametrize(
    ("picture", "at"),
    [
        pytest.param("one", 3.1, id="the first page after its commit"),
        pytest.param("two", 5.1, id="the last page after the commit of the text"),
        pytest.param("one", 6.1, id="any page after the end"),
    ],
)
def test_it_finds_a_call_after_a_commit(picture: str, at: float) -> None:
    """The model is asked about a page whose text was committed already."""
    assert wrongs(run(calls=(*READ, Call(at, picture, "done")))) == [Violation.READ_AGAIN]


def test_a_call_before_the_commit_is_allowed() -> None:
    """A page that was asked for twice before anything of it was kept is a pity, and no finding."""
    assert (
        wrongs(run(calls=(*READ, Call(2.9, "one", "disconnected"), Call(4.9, "two", "done"), Call(9.0, "strange", "done")))) == []
    )


def test_it_finds_another_text() -> None:
    """A submission that is completed with a text that stands in none of its pictures is wrong."""
    assert wrongs(run(handed=replace(HANDED, text_body="another"))) == [Violation.WRONG_TEXT]


def test_a_damaged_file_must_fail_as_one() -> None:
    """With input_corrupt it is as expected; another code needs another fault, and completed it cannot be."""
    corrupt = replace(HANDED, work=Work.DAMAGED, status="failed", error_code="input_corrupt", error_class="VisionPermanentError")
    assert wrongs(run(handed=corrupt)) == []
    assert wrongs(run(handed=replace(corrupt, error_code="vision_failed"))) == [Violation.UNEXPLAINED]
    assert wrongs(run(handed=replace(HANDED, work=Work.DAMAGED))) == [Violation.WRONG_TEXT]


def test_a_kill_explains_a_second_execution() -> None:
    """A job begun again after its worker was killed is a duplicate execution with that reason, and no finding."""
    verdict = check(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=(KILLED,)))
    assert (verdict.findings, verdict.reruns, verdict.duplicate_executions) == ((), {RerunReason.WORKER_DIED: 1}, 1)


@pytest.mark.parametrize(
    "injected",
    [
        pytest.param((), id="nobody was hit"),
        pytest.param((replace(KILLED, pids=frozenset({SECOND_PID})),), id="another was hit"),
        pytest.param((replace(KILLED, at=9.0),), id="it was hit later"),
        pytest.param((replace(KILLED, at=-9.0),), id="it was hit before"),
    ],
)
def test_it_finds_a_death_without_a_fault(injected: tuple[InjectedFault, ...]) -> None:
    """A worker that died in a job though no fault had hit it then is a bug, not chaos."""
    assert wrongs(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=injected)) == [Violation.UNEXPLAINED]


def test_a_quarantine_needs_its_deaths() -> None:
    """With both of its workers killed it is as expected; with only one death counted, or one of them not killed, it is not."""
    transitions = (ENTERED, LEASED, PAGE, RETURNED, AGAIN, OVER)
    both = (KILLED, InjectedFault(4.4, Kind.KILL_WORKER, frozenset({SECOND_PID})))
    assert wrongs(run(*transitions, handed=QUARANTINED, injected=both)) == []
    assert wrongs(run(*transitions, handed=QUARANTINED, injected=(KILLED,))) == [Violation.UNEXPLAINED]
    too_early = (*transitions[:-1], replace(OVER, crashes=1))
    assert wrongs(run(*too_early, handed=QUARANTINED, injected=both)) == [Violation.UNEXPLAINED]


@pytest.mark.parametrize(
    ("retries", "error_class", "is_expected"),
    [(3, "StreamBroken", True), (2, "StreamBroken", False), (0, "BadRequest", True), (3, "KeyError", False)],
)
def test_a_failure_needs_its_faults(retries: int, error_class: str, is_expected: bool) -> None:
    """A model that fails a job may fail it for good only after all tries, or by refusing it; a bug is never expected."""
    failed = replace(HANDED, status="failed", error_code="vision_failed", error_class=error_class, job_status="failed")
    end = replace(PAGE, at=4.0, status="failed", lease_key=None, retry_count=retries)
    start = replace(LEASED, retry_count=retries)
    fault = InjectedFault(2.0, Kind.MODEL_FAULT, frozenset())
    assert wrongs(run(ENTERED, start, end, handed=failed, injected=(fault,))) == ([] if is_expected else [Violation.UNEXPLAINED])
    assert wrongs(run(ENTERED, start, end, handed=failed)) == [Violation.UNEXPLAINED]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"crashes": 0, "expiries": 1}, RerunReason.INSTANCE_DIED),
        ({"crashes": 0, "retry_count": 1}, RerunReason.MODEL_FAILED),
        ({"crashes": 0}, RerunReason.GIVEN_BACK),
        ({"crashes": 0, "status": "leased", "lease_key": SECOND_KEY, "expiries": 1}, RerunReason.LEASE_EXPIRED),
    ],
)
def test_it_says_why_a_job_was_begun_again(change: dict[str, Any], why: RerunReason) -> None:
    """Read from the transition that ended the lease."""
    assert check(run(ENTERED, LEASED, PAGE, replace(RETURNED, **change), injected=(KILLED,))).reruns == {why: 1}


def test_the_gap_is_measured_where_there_is_work() -> None:
    """The longest time between two steps forward counts, not what passes before anything is entered or after all is done."""
    assert longest_gap_seconds(run(began_at=-100.0, ended_at=100.0)) == 2.0
    assert longest_gap_seconds(run(ENTERED, LEASED, PAGE, ended_at=100.0)) == 97.0


def test_a_fault_is_felt_by_the_jobs_in_its_victims_hands() -> None:
    """From the kill to the next lease of the job that the victim held; who held nothing has nothing to recover."""
    another = replace(KILLED, pids=frozenset({SECOND_PID}))
    injected = (KILLED, another, replace(KILLED, at=3.7), replace(KILLED, kind=Kind.CUT_ALL, pids=None, at=2.0))
    felt = recoveries(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=injected))
    assert {kind: [round(each, 1) for each in found] for kind, found in felt.items()} == {
        Kind.KILL_WORKER: [0.2],
        Kind.CUT_ALL: [1.0],
    }


def test_the_story_has_all_that_was_seen_of_it() -> None:
    """In the order of time: transitions, the fault that hit its worker, calls, results, and the log's lines about the job alone."""
    log = (LogLine(3.45, "host1", f"WARNING exited slot=0 job={JOB}"), LogLine(3.46, "host1", f"INFO settled job={UUID(int=3)}"))
    seen = run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=(KILLED,), log=log)
    told = list(timeline(Finding(Violation.LOST, ID, ""), seen))
    kinds = [
        "None -> queued",
        "queued -> leased",
        "vision call",
        "leased -> leased",
        "fault kill_worker",
        "host1: WARNING exited",
    ]
    kinds += ["leased -> queued", "queued -> leased", "vision call", "result completed"]
    assert [kind in line for kind, line in zip(kinds, told, strict=True)] == [True] * len(kinds)


def test_the_story_of_what_has_no_end_tells_what_hit_it_last() -> None:
    """A fault after the last transition is the one that it was lost by; after the end of a job it has nothing to do with it."""
    late = replace(KILLED, at=6.5)
    told = [
        list(timeline(Finding(Violation.LOST, ID, ""), run(*transitions, injected=(late,))))
        for transitions in ((ENTERED, LEASED), ())
    ]
    assert [any("fault" in line for line in lines) for lines in told] == [True, False]


def test_a_verdict_counts_submissions_once() -> None:
    """Three results of one submission are one that was written more than once; each forbidden call counts."""
    findings = (*[Finding(Violation.WRITTEN_TWICE, ID, "")] * 2, *[Finding(Violation.READ_AGAIN, ID, "")] * 2)
    verdict = Verdict(findings, 1, 1, check(run()).failures, check(run()).reruns)
    assert (verdict.count(Violation.WRITTEN_TWICE), verdict.count(Violation.READ_AGAIN)) == (1, 2)
