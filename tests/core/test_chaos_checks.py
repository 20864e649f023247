"""The checks of scripts/chaos on invented runs: each violation is found, and a correct run has none."""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from testkit.chaos.checks import Finding, Violation, check
from testkit.chaos.plan import Kind, Work, draw
from testkit.chaos.recovery import longest_standstill, recoveries
from testkit.chaos.report import Report, timeline
from testkit.chaos.rerun import RerunReason
from testkit.chaos.run import FinishedRun
from testkit.chaos.run_record import (
    InjectedFault,
    JobTransition,
    LogLine,
    Refusal,
    RunRecord,
    StatusSample,
    SubmissionState,
    SupervisorLife,
    VisionCall,
    WrittenResult,
)
from testkit.chaos.truth import (
    HELD_SECONDS,
    RECOVERY_SECONDS,
    STEADY_SECONDS,
    STOP_SECONDS,
    WELL_SECONDS,
    Untruth,
    untrue_episodes,
)

ID = UUID(int=1)
FIRST_KEY, SECOND_KEY = UUID(int=11), UUID(int=12)
FIRST_PID, SECOND_PID = 100, 200
WORKER, OTHER, MONITOR = (f"learning-supervisor {part}" for part in ("slot 0 pid 100", "slot 1 pid 200", "monitor"))

JOB = UUID(int=2)
ENTERED = JobTransition(0.0, JOB, ID, None, "queued", None, None, 0, False, 0, 0, 0, None, "")
LEASED = replace(ENTERED, at=1.0, old_status="queued", status="leased", lease_key=FIRST_KEY, application_name=WORKER)
PAGE = replace(LEASED, at=3.0, old_status="leased", old_lease_key=FIRST_KEY, pages=1)
TEXT = replace(PAGE, at=5.0, pages=0, has_text=True)
DONE = replace(TEXT, at=6.0, status=None, lease_key=None)
READ = (VisionCall(2.0, "one", "done"), VisionCall(4.0, "two", "done"))
STATE = SubmissionState(ID, Work.DOCUMENT, "completed", None, None, None, "a text", "a text", ("one", "two"))
RETURNED = replace(PAGE, at=3.5, status="queued", lease_key=None, crashes=1, application_name=MONITOR)
AGAIN = replace(RETURNED, at=3.6, old_status="queued", old_lease_key=None, status="leased", lease_key=SECOND_KEY)
AGAIN = replace(AGAIN, application_name=OTHER)
KILLED = InjectedFault(3.4, Kind.KILL_WORKER, frozenset({FIRST_PID}))
QUARANTINED = replace(STATE, status="failed", error_code="vision_failed", last_error="worker_crashed", job_status="failed")
OVER = replace(AGAIN, at=4.5, old_status="leased", old_lease_key=SECOND_KEY, status="failed", lease_key=None, crashes=2)


def run(*transitions: JobTransition, state: SubmissionState = STATE, **changes: Any) -> RunRecord:
    """Make the record of a correct run with changes."""
    transitions = transitions or (ENTERED, LEASED, PAGE, TEXT, DONE)
    well = RunRecord(
        frozenset({ID}), (state,), transitions, (WrittenResult(6.0, ID, state.status, WORKER),), READ, (), (), 0.0, 7.0
    )
    return replace(well, **changes)


def violations(record: RunRecord) -> list[Violation]:
    return [finding.violation for finding in check(record).findings]


def test_a_good_run_has_no_finding() -> None:
    """A job that is entered, leased, read page by page and completed once has no violation and no rerun."""
    verdict = check(run())
    assert (verdict.findings, verdict.submissions, verdict.completed, verdict.duplicate_executions) == ((), 1, 1, 0)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(replace(STATE, status="pending", job_status="leased"), id="its job never ended"),
        pytest.param(replace(STATE, status="pending"), id="its job is gone and it has no end"),
        pytest.param(replace(STATE, job_status="queued"), id="its job goes on after its end"),
    ],
)
def test_a_submission_that_is_not_final_is_found(state: SubmissionState) -> None:
    """A submission that is not final, or has a job after its end, is lost."""
    assert check(run(state=state)).count(Violation.LOST) == 1


def test_a_submission_without_a_row_is_found() -> None:
    """A submission with a confirmed commit and without a row is lost."""
    assert violations(run(acknowledged=frozenset({ID, UUID(int=2)}))) == [Violation.LOST]


def test_a_submission_written_twice_is_found() -> None:
    """A second result is found, also if it equals the first."""
    assert violations(run(written=(WrittenResult(6.0, ID, "completed", WORKER), WrittenResult(6.1, ID, "completed", OTHER)))) == [
        Violation.WRITTEN_TWICE
    ]


def test_a_result_that_readers_show_wrongly_is_found() -> None:
    """A run with such a result has a violation, with its fault."""
    (found,) = check(run(unreadable=((ID, "a score has no reason"),))).findings
    assert (found.violation, found.submission_id, found.detail) == (Violation.UNREADABLE, ID, "a score has no reason")


@pytest.mark.parametrize(
    ("picture", "at"),
    [
        pytest.param("one", 3.1, id="the first page after its commit"),
        pytest.param("two", 5.1, id="the last page after the commit of the text"),
        pytest.param("one", 6.1, id="any page after the end"),
    ],
)
def test_a_call_after_a_commit_is_found(picture: str, at: float) -> None:
    """A vision call for a page after its commit is found."""
    assert violations(run(calls=(*READ, VisionCall(at, picture, "done")))) == [Violation.READ_AGAIN]


def test_a_call_before_the_commit_is_allowed() -> None:
    """Two calls for a page before its commit are allowed."""
    assert (
        violations(
            run(
                calls=(
                    *READ,
                    VisionCall(2.9, "one", "disconnected"),
                    VisionCall(4.9, "two", "done"),
                    VisionCall(9.0, "strange", "done"),
                )
            )
        )
        == []
    )


def test_a_wrong_text_is_found() -> None:
    """A submission that is completed with a text that is not in its pictures is found."""
    assert violations(run(state=replace(STATE, text_body="another"))) == [Violation.WRONG_TEXT]


def test_a_damaged_file_must_fail_as_input_corrupt() -> None:
    """A damaged file must fail with input_corrupt. Another code needs a fault, and it must not be completed."""
    corrupt = replace(STATE, work=Work.DAMAGED, status="failed", error_code="input_corrupt", last_error="vision_failed")
    assert violations(run(state=corrupt)) == []
    assert violations(run(state=replace(corrupt, error_code="vision_failed"))) == [Violation.UNEXPLAINED]
    assert violations(run(state=replace(STATE, work=Work.DAMAGED))) == [Violation.WRONG_TEXT]


def test_a_kill_explains_a_second_execution() -> None:
    """A job that is restarted after the kill of its worker is a duplicate execution with that reason, not a violation."""
    verdict = check(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=(KILLED,)))
    assert (verdict.findings, verdict.reruns, verdict.duplicate_executions) == ((), {RerunReason.WORKER_DIED: 1}, 1)


def test_a_fault_explains_what_happens_while_it_lasts() -> None:
    """A connection that was stopped before the lease may commit it late."""
    stopped = InjectedFault(-20.0, Kind.STOP_BACKEND, frozenset({FIRST_PID}), until=1.5)
    assert violations(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=(stopped,))) == []


@pytest.mark.parametrize(
    ("until", "change", "is_explained"),
    [
        pytest.param(3.0, {"status": "leased", "lease_key": SECOND_KEY, "expiries": 1}, True, id="a lease that ends then"),
        pytest.param(-5.0, {"status": "leased", "lease_key": SECOND_KEY, "expiries": 1}, False, id="a lease that ends later"),
        pytest.param(3.0, {"crashes": 1}, False, id="a death"),
    ],
)
def test_an_outage_explains_leases_that_end_in_it(until: float, change: dict[str, Any], is_explained: bool) -> None:
    """No worker can renew a lease or give it back meanwhile, but an outage ends no worker."""
    outage = InjectedFault(-6.0, Kind.CRASH_SERVER, None, until=until)
    transitions = (ENTERED, replace(LEASED, at=-5.5), PAGE, replace(RETURNED, **{"crashes": 0, **change}))
    found = Violation.UNEXPLAINED in violations(run(*transitions, injected=(outage,)))
    assert found is not is_explained


@pytest.mark.parametrize(
    "injected",
    [
        pytest.param((), id="no worker was hit"),
        pytest.param((replace(KILLED, pids=frozenset({SECOND_PID})),), id="another was hit"),
        pytest.param((replace(KILLED, at=9.0),), id="it was hit later"),
        pytest.param((replace(KILLED, at=-9.0),), id="it was hit before"),
        pytest.param((replace(KILLED, at=-9.0, until=-5.0),), id="the fault ended before"),
    ],
)
def test_a_death_without_a_fault_is_found(injected: tuple[InjectedFault, ...]) -> None:
    """A worker that died in a job without a fault at that time is a bug."""
    assert violations(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=injected)) == [Violation.UNEXPLAINED]


def test_a_quarantine_needs_its_deaths() -> None:
    """A quarantined job is expected only if both its workers were killed and both deaths were counted."""
    transitions = (ENTERED, LEASED, PAGE, RETURNED, AGAIN, OVER)
    both = (KILLED, InjectedFault(4.4, Kind.KILL_WORKER, frozenset({SECOND_PID})))
    assert violations(run(*transitions, state=QUARANTINED, injected=both)) == []
    assert violations(run(*transitions, state=QUARANTINED, injected=(KILLED,))) == [Violation.UNEXPLAINED]
    too_early = (*transitions[:-1], replace(OVER, crashes=1))
    assert violations(run(*too_early, state=QUARANTINED, injected=both)) == [Violation.UNEXPLAINED]


@pytest.mark.parametrize(
    ("retries", "last_error", "is_expected"),
    [(3, "stream_broken", True), (2, "stream_broken", False), (0, "bad_request", True), (3, "key_error", False)],
)
def test_a_failure_needs_its_faults(retries: int, last_error: str, is_expected: bool) -> None:
    """A model may fail a job permanently only after all retries, or by rejecting it. A bug is never expected."""
    failed = replace(STATE, status="failed", error_code="vision_failed", last_error=last_error, job_status="failed")
    end = replace(PAGE, at=4.0, status="failed", lease_key=None, retry_count=retries)
    start = replace(LEASED, retry_count=retries)
    fault = InjectedFault(2.0, Kind.MODEL_FAULT, frozenset())
    assert violations(run(ENTERED, start, end, state=failed, injected=(fault,))) == (
        [] if is_expected else [Violation.UNEXPLAINED]
    )
    assert violations(run(ENTERED, start, end, state=failed)) == [Violation.UNEXPLAINED]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"crashes": 0, "expiries": 1}, RerunReason.INSTANCE_DIED),
        ({"crashes": 0, "retry_count": 1}, RerunReason.MODEL_FAILED),
        ({"crashes": 0}, RerunReason.GIVEN_BACK),
        ({"crashes": 0, "status": "leased", "lease_key": SECOND_KEY, "expiries": 1}, RerunReason.LEASE_EXPIRED),
    ],
)
def test_the_reason_of_a_rerun(change: dict[str, Any], why: RerunReason) -> None:
    """The reason is read from the transition that ended the lease."""
    assert check(run(ENTERED, LEASED, PAGE, replace(RETURNED, **change), injected=(KILLED,))).reruns == {why: 1}


def test_recovery_is_measured_on_the_jobs_of_the_victim() -> None:
    """Recovery lasts from the kill to the next lease of the victim's job. A victim without a job has no recovery time."""
    another = replace(KILLED, pids=frozenset({SECOND_PID}))
    injected = (KILLED, another, replace(KILLED, at=3.7), replace(KILLED, kind=Kind.CUT_ALL, pids=None, at=2.0))
    felt = recoveries(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=injected))
    assert {kind: [round(each, 1) for each in found] for kind, found in felt.items()} == {
        Kind.KILL_WORKER: [0.2],
        Kind.CUT_ALL: [1.0],
    }


def test_a_timeline_has_all_events_of_a_submission() -> None:
    """It has transitions, the fault of its worker, calls, results and its own log lines, in the order of time."""
    log = (LogLine(3.45, "host1", f"WARNING exited slot=0 job={JOB}"), LogLine(3.46, "host1", f"INFO settled job={UUID(int=3)}"))
    seen = run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, injected=(KILLED,), log=log)
    lines = list(timeline(Finding(Violation.LOST, ID, ""), seen))
    kinds = [
        "None -> queued",
        "queued -> leased",
        "vision call",
        "leased -> leased",
        "fault kill_worker",
        "host1: WARNING exited",
    ]
    kinds += ["leased -> queued", "queued -> leased", "vision call", "result completed"]
    assert [kind in line for kind, line in zip(kinds, lines, strict=True)] == [True] * len(kinds)


@pytest.mark.parametrize(
    ("until", "last_error", "is_expected"),
    [
        pytest.param(None, "refused_23514", True, id="the reason names the SQLSTATE"),
        pytest.param(None, "worker_crashed", False, id="the reason names another thing"),
        pytest.param(None, "refused_54000", False, id="the reason names another SQLSTATE"),
    ],
)
def test_a_refused_submission_fails_with_its_sqlstate(until: float | None, last_error: str, *, is_expected: bool) -> None:
    """A submission that the database refused may fail, with a reason that names the SQLSTATE."""
    failed = replace(STATE, status="failed", error_code="feedback_failed", last_error=last_error, job_status="failed")
    end = replace(TEXT, at=6.0, status="failed", lease_key=None)
    record = run(ENTERED, LEASED, PAGE, TEXT, end, state=failed, refusals=(Refusal(ID, "23514", 2.0, until),))
    assert violations(record) == ([] if is_expected else [Violation.UNEXPLAINED])


@pytest.mark.parametrize(("until", "is_lost"), [(None, False), (5.0, True)])
def test_only_a_lasting_refusal_may_leave_a_submission_open(until: float | None, *, is_lost: bool) -> None:
    """A submission may wait as long as the database refuses its writes. Afterwards it must end like any other."""
    waiting = replace(STATE, status="pending", job_status="queued")
    record = run(ENTERED, state=waiting, written=(), refusals=(Refusal(ID, "P0001", 0.5, until),))
    assert violations(record) == ([Violation.LOST] if is_lost else [])
    gone = run(ENTERED, acknowledged=frozenset({ID, JOB}), refusals=(Refusal(JOB, "P0001", 0.5, None),))
    assert violations(gone) == [Violation.LOST]


def test_a_refusal_does_not_explain_a_death() -> None:
    """A refused row may let a lease run out, which nothing could give back. It must not end a worker."""
    refusals = (Refusal(ID, "XX001", 2.0, None),)
    taken = replace(AGAIN, old_status="leased", old_lease_key=FIRST_KEY, crashes=0, expiries=1)
    assert violations(run(ENTERED, LEASED, PAGE, taken, refusals=refusals)) == []
    assert violations(run(ENTERED, LEASED, PAGE, RETURNED, AGAIN, refusals=refusals)) == [Violation.UNEXPLAINED]


# The longest standstill

HOSTS = {"host1": frozenset({FIRST_PID}), "host2": frozenset({SECOND_PID})}
WAITING = (replace(ENTERED, at=10.0), replace(LEASED, at=20.0), replace(DONE, at=100.0))
"""10 s in the queue, then 80 s in work without a sign of progress."""


def frozen(host: str, at: float, until: float, kind: Kind = Kind.FREEZE_HOST) -> InjectedFault:
    return InjectedFault(at, kind, None, "", frozenset({host}), until)


def standstill_seconds(*transitions: JobTransition, **changes: Any) -> float:
    since, until = longest_standstill(run(*(transitions or WAITING), **{"hosts": HOSTS, "ended_at": 200.0, **changes}))
    return until - since


def test_a_standstill_is_the_longest_stretch_with_work_and_without_progress() -> None:
    """From the lease to the end of the job. Time without a job is no standstill, and an open job counts until the end."""
    assert standstill_seconds() == 80.0
    assert standstill_seconds(*WAITING[:2]) == 180.0
    assert standstill_seconds(WAITING[0], ended_at=95.0) == 85.0


def test_a_token_is_progress() -> None:
    """A sign of the model server ends a stretch, a renewed lease does not."""
    assert standstill_seconds(model_progress=(50.0,)) == 50.0
    renewed = replace(LEASED, at=60.0, old_status="leased", old_lease_key=FIRST_KEY)
    assert standstill_seconds(*WAITING[:2], renewed, WAITING[2]) == 80.0


@pytest.mark.parametrize(
    ("injected", "seconds"),
    [
        pytest.param((frozen("host1", 30, 70), frozen("host2", 40, 90)), 50.0, id="both hosts, for 30 s together"),
        pytest.param((frozen("host1", 30, 70),), 80.0, id="one host only"),
        pytest.param((frozen("host1", 30, 50), frozen("host2", 50, 90)), 80.0, id="one after the other"),
        pytest.param(
            (frozen("host1", 30, 70, Kind.FREEZE_SUPERVISOR), frozen("host2", 30, 70, Kind.FREEZE_SUPERVISOR)),
            80.0,
            id="faults in which workers could work",
        ),
        pytest.param(
            (replace(frozen("host1", 30, 40, Kind.CRASH_SERVER), hosts=frozenset(HOSTS)),), 70.0, id="one fault for both hosts"
        ),
    ],
)
def test_a_standstill_has_no_seconds_in_which_every_host_was_held(injected: tuple[InjectedFault, ...], seconds: float) -> None:
    """Only time in which faults make progress impossible everywhere is left out. The time to recover counts."""
    assert standstill_seconds(injected=injected) == seconds


def test_a_refused_row_is_no_work() -> None:
    """A job that the database refuses stands still by right, from the refusal to its end."""
    assert standstill_seconds(refusals=(Refusal(ID, "23514", 30.0, None),)) == 10.0
    assert standstill_seconds(refusals=(Refusal(ID, "23514", 30.0, 50.0),)) == 60.0
    other = tuple(replace(each, job_id=ID, submission_id=JOB) for each in WAITING)
    both = sorted((*WAITING, *other), key=lambda transition: transition.at)
    assert standstill_seconds(*both, refusals=(Refusal(ID, "23514", 30.0, None),)) == 80.0


# The truth of `status`

LIVES = tuple(SupervisorLife(host, 0.0, 200.0) for host in HOSTS)


def untruths(state: str, *transitions: JobTransition, at: float, **changes: Any) -> list[Untruth]:
    """Return what is wrong with one answer of host1."""
    sample = StatusSample(at, "host1", state, "")
    transitions = transitions or WAITING
    record = run(*transitions, **{"hosts": HOSTS, "lives": LIVES, "ended_at": 200.0, "samples": (sample,), **changes})
    return [episode.untruth for episode in untrue_episodes(record)]


def test_all_is_well_is_untrue_when_nothing_makes_progress() -> None:
    """After 58 s with work and without progress `status` must not be ok. Without work, or sooner, it may."""
    since = WAITING[1].at
    assert untruths("ok", at=since + WELL_SECONDS) == []
    assert untruths("ok", at=since + WELL_SECONDS + 1) == [Untruth.WELL_WITHOUT_PROGRESS]
    assert untruths("degraded", at=since + WELL_SECONDS + 1) == []
    assert untruths("ok", at=since + WELL_SECONDS + 1, model_progress=(since + 5,)) == []
    assert untruths("ok", at=WAITING[-1].at + WELL_SECONDS + 1) == []


@pytest.mark.parametrize("kind", HELD_SECONDS)
def test_all_is_well_is_untrue_on_a_host_that_a_fault_holds(kind: Kind) -> None:
    """The other host works, but this one makes no progress for the time of this fault, and its status must show that."""
    others = [replace(PAGE, at=at, pages=int(at), application_name=OTHER) for at in range(21, 95)]
    job = (*WAITING[:2], *others, WAITING[2])
    at = 25.0 + HELD_SECONDS[kind] + 1
    assert untruths("ok", *job, at=at, injected=(frozen("host1", 25.0, 90.0, kind),)) == [Untruth.WELL_ON_A_HELD_HOST]
    assert untruths("ok", *job, at=at, injected=(frozen("host2", 25.0, 90.0, kind),)) == []
    assert untruths("ok", *job, at=at, injected=(frozen("host1", 25.0, at - 1, kind),)) == []
    assert untruths("ok", *job, at=at - 2, injected=(frozen("host1", 25.0, 90.0, kind),)) == []
    assert untruths("ok", *job, at=at, injected=(frozen("host1", 25.0, 90.0, Kind.STOP_BACKEND),)) == []
    own = [replace(PAGE, at=at - 4.5, has_text=True)]
    worked = sorted((*job, *own), key=lambda transition: transition.at)
    assert untruths("ok", *worked, at=at, injected=(frozen("host1", 25.0, 90.0, kind),)) == []


def test_down_is_untrue_on_a_host_that_works() -> None:
    """A host with progress in each second around the answer is not down, unless a fault concerns it or has just ended."""
    pages = [replace(PAGE, at=at, pages=int(at)) for at in range(21, 95)]
    job = (*WAITING[:2], *pages, WAITING[2])
    assert untruths("down", *job, at=60.0) == [Untruth.DOWN_AT_WORK]
    assert untruths("down", *job, at=60.0, injected=(frozen("host2", 50.0, 61.0),)) == [Untruth.DOWN_AT_WORK]
    assert untruths("down", *job, at=60.0, injected=(frozen("host1", 30.0, 60.0 - RECOVERY_SECONDS + 1),)) == []
    assert untruths("down", at=60.0) == []
    paused = [page for page in job if not 60 - STEADY_SECONDS <= page.at < 60 - STEADY_SECONDS + 2]
    assert untruths("down", *paused, at=60.0) == []


@pytest.mark.parametrize(
    ("at", "answered_at", "is_untrue"),
    [
        pytest.param(10.0, 11.0, False, id="before its first answer"),
        pytest.param(100.0, 101.0, True, id="while it is frozen"),
        pytest.param(200.0 - STOP_SECONDS + 1, 200.0 - STOP_SECONDS + 2, False, id="at its end"),
        pytest.param(190.0, 201.0, False, id="asked before its end and answered after it"),
        pytest.param(250.0, 251.0, False, id="after its end"),
    ],
)
def test_not_running_is_untrue_while_the_supervisor_lives(at: float, answered_at: float, *, is_untrue: bool) -> None:
    """Whatever the fault: a supervisor that has answered and whose process exists is running."""
    injected = (frozen("host1", 90.0, 110.0, Kind.FREEZE_SUPERVISOR),)
    samples = (StatusSample(20.0, "host1", "ok", ""), StatusSample(at, "host1", "not running", "", answered_at))
    found = untrue_episodes(run(*WAITING, hosts=HOSTS, lives=LIVES, ended_at=200.0, samples=samples, injected=injected))
    assert [episode.untruth for episode in found] == ([Untruth.NOT_RUNNING_BUT_LIVES] if is_untrue else [])
    assert untruths("no answer", at=at, injected=injected) == []


def test_samples_with_one_untruth_are_one_episode() -> None:
    """Consecutive samples are counted once, a pause of more than 5 s begins another episode."""
    times = (80.0, 81.0, 82.0, 90.0, 91.0)
    samples = tuple(StatusSample(at, "host1", "ok", f"All is well at {at}") for at in times)
    record = run(*WAITING, hosts=HOSTS, ended_at=200.0, samples=samples)
    found = [(episode.since, episode.until, episode.samples, episode.message) for episode in untrue_episodes(record)]
    assert found == [(80.0, 82.0, 3, "All is well at 80.0"), (90.0, 91.0, 2, "All is well at 90.0")]
    other = StatusSample(83.0, "host1", "not running", "")
    both = untrue_episodes(replace(record, samples=(*samples[:3], other), lives=LIVES))
    assert [episode.untruth for episode in both] == [Untruth.WELL_WITHOUT_PROGRESS, Untruth.NOT_RUNNING_BUT_LIVES]


# The report


def report_of(**changes: Any) -> Report:
    """Report a run of a job that ends after 80 s in work."""
    record = run(*WAITING, **{"hosts": HOSTS, "lives": LIVES, "ended_at": 200.0, "calls": (), **changes})
    return Report.of(draw(1, 0.1), FinishedRun(record, 0.0, 0, {}, 0, (), ()))


def test_a_run_is_right_with_progress_and_a_true_status() -> None:
    """Without findings the run is right if the standstill is at most 60 s and no status was untrue."""
    report = report_of(model_progress=(50.0,))
    assert report.is_right
    assert (report.figures()["longest_standstill_s"], report.figures()["untrue_status"]) == (50.0, 0)
    assert list(report.violations()) == []


def test_a_long_standstill_is_a_violation() -> None:
    """It is printed with its seconds since the start and the faults of that time."""
    report = report_of(injected=(frozen("host1", 25.0, 45.0, Kind.FREEZE_SUPERVISOR),))
    assert not report.is_right
    assert report.figures()["longest_standstill_s"] == 80.0
    standing, fault = report.violations()
    assert standing == "no progress from 20.0 to 100.0 s"
    assert "freeze_supervisor" in fault
    assert "host1" in fault


def test_an_untrue_status_is_a_violation() -> None:
    """It is printed with its time, the host, the untruth and the message."""
    samples = (StatusSample(30.0, "host2", "ok", ""), StatusSample(40.0, "host2", "not running", "Not running: no instance."))
    report = report_of(model_progress=(50.0,), samples=samples)
    assert not report.is_right
    assert report.figures()["untrue_status"] == 1
    assert list(report.violations()) == [
        f"status at 40.0 s for 0.0 s (1 samples), host2: {Untruth.NOT_RUNNING_BUT_LIVES}: 'Not running: no instance.'"
    ]
