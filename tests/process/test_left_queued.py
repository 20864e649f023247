"""Jobs that an instance cannot do, with real workers and fleets: they wait without harm, and are done where they can be."""

from collections.abc import Iterator, Mapping
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from testkit.class_tasks import begin_attempt, open_task
from testkit.database import Database, temporary_database
from testkit.refusals import install_refusals, refuse
from testkit.school import School, counted, enter_one, is_idle
from testkit.site import Site, Value
from testkit.submissions import Submission
from testkit.waiting import until
from tests.process.test_cli import run
from worker.ipc.contract import Counter, EventKind
from worker.queue.leases import LOOK_AHEAD

pytestmark = pytest.mark.postgres

OLD = {
    "learning_vision_adapter": "tests.platform_adapters.vision",
    "learning_feedback_adapter": "tests.platform_adapters.feedback",
}
NEW = dict.fromkeys(OLD, "testkit.adapters.platform_practice")
STUB: Mapping[str, Value] = {"ai_backend": "stub", "learning_feedback_adapter": OLD["learning_feedback_adapter"]}
WAITS = ("learning_queue_oldest_wait_seconds", "learning_standing_seconds")
RUN = "run-1"
ENDED = {Counter.COMPLETED: 1, Counter.FEEDBACK_CALLS: 1}
PAYLOADS: dict[str, dict[str, object]] = {
    "visual": {"analysis_mode": "visual_direct", "task_kind": "native"},
    "dialog": {"analysis_mode": "dialog", "task_kind": "dialog", "kind": "dialog"},
    "a later mode": {"analysis_mode": "hologram"},
    "Scratch": {"analysis_mode": "ocr_text", "task_kind": "scratch", "kind": "file"},
}
ROWS: dict[str, tuple[LiteralString, str]] = {
    "a later mode": ("internal_metadata = jsonb_build_object('analysis_mode', 'hologram')", "mode"),
    "pictures": ("internal_metadata = jsonb_build_object('analysis_mode', 'visual_direct')", "adapter"),
    "a program": ("kind = 'file', mime_type = 'application/x.scratch.sb3'", "file_type"),
    "a later kind": ("kind = 'h5p', storage_key = null, mime_type = null, size_bytes = null, sha256 = null", "kind"),
}


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn, year=2026) as fresh:
        yield fresh


def enter(school: School, submission: Submission, **payload: object) -> UUID:
    """Enter a job that is older than those behind it."""
    submission_id = enter_one(school, submission)
    school.change_job("payload = payload || %s, visible_at = now() - interval '1 minute'", submission_id, Jsonb(payload))
    return submission_id


def change_row(owner: psycopg.Connection[DictRow], submission_id: UUID, change: LiteralString) -> None:
    """Change what the payload does not show."""
    owner.execute("update learning_submissions set " + change + " where id = %s", [submission_id])


def both_rows(school: School, submission_id: UUID) -> tuple[DictRow, DictRow]:
    return school.submission(submission_id), school.job(submission_id)


def environ_of(school: School) -> dict[str, str]:
    return {"LEDGER": str(school.directory / "ledger"), "PLATFORM_VISION": "read"}


def do_behind(school: School, typed: Submission, **settings: object) -> dict[Counter, int]:
    """Run a worker until it has done a further job and waits, and return its totals."""
    last = enter_one(school, typed)
    with school.worker(environ_of(school), **settings) as worker:
        until(lambda: not school.has_job(last) and is_idle(worker))
        return counted(worker)


# A need that the payload shows


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS.keys())
def test_a_job_without_its_method_is_never_leased(school: School, typed: Submission, payload: dict[str, object]) -> None:
    """It keeps every column of both rows, while the job behind it is done by the same worker."""
    left = enter(school, typed, **payload)
    before = both_rows(school, left)
    assert do_behind(school, typed, **OLD) == ENDED
    assert (both_rows(school, left), school.leases(left)) == (before, [])


def test_a_practice_attempt_without_its_functions_stays_queued(school: School, typed: Submission) -> None:
    """Without the platform's package the attempt could not be ended, and the pupil's practice would be stuck."""
    left = enter(school, typed)
    open_task(school.owner, left)
    attempt_id = begin_attempt(school.owner, left, ["Inhalt"])
    school.change_job("payload = payload || %s", left, Jsonb({"practice_attempt_id": str(attempt_id)}))
    before = both_rows(school, left)
    assert do_behind(school, typed, **OLD) == ENDED
    assert (both_rows(school, left), school.leases(left)) == (before, [])


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ({}, {"no test", "a test", "another run", "the run"}),
        ({"worker_skip_pytest_jobs": "true"}, {"no test"}),
        ({"worker_test_run_id": RUN}, {"the run"}),
    ],
    ids=["as usual", "without tests", "one test run"],
)
def test_the_marks_of_tests_are_honoured(school: School, typed: Submission, settings: dict[str, str], taken: set[str]) -> None:
    """As by the platform's worker: tests are left out, or everything but one test run is."""
    marks: dict[str, dict[str, object]] = {
        "no test": {},
        "a test": {"_gustav_source": "pytest"},
        "another run": {"_gustav_source": "pytest", "_gustav_test_run_id": "run-2"},
        "the run": {"_gustav_source": "pytest", "_gustav_test_run_id": RUN},
    }
    entered = {name: enter(school, typed, **mark) for name, mark in marks.items()}
    with school.worker(environ_of(school), **OLD, **settings) as worker:
        until(lambda: is_idle(worker) and not any(school.has_job(entered[name]) for name in taken))
    assert {name for name, submission_id in entered.items() if not school.has_job(submission_id)} == taken
    assert sum(len(school.leases(submission_id)) for submission_id in entered.values()) == len(taken)


# A need that only the submission shows


@pytest.mark.parametrize(("change", "cause"), ROWS.values(), ids=ROWS.keys())
def test_a_need_that_the_submission_shows_is_found_once(
    school: School, typed: Submission, photo: Submission, change: LiteralString, cause: str
) -> None:
    """The job is leased once and put back without attempt, crash or expiry, and no other worker leases it again."""
    left = enter(school, photo)
    change_row(school.owner, left, change)
    before = both_rows(school, left)
    with school.worker(environ_of(school), **OLD) as worker:
        until(lambda: school.leases(left) and is_idle(worker))
        settled = [(each.outcome, each.error_class) for each in worker.read_events() if each.kind is EventKind.SETTLED]
        assert counted(worker) == {Counter.RELEASED: 1}
    assert settled == [("released_unable", cause)]
    assert do_behind(school, typed, **OLD) == ENDED
    submission, job = both_rows(school, left)
    assert (len(school.leases(left)), submission) == (1, before[0])
    assert {name for name in job if job[name] != before[1][name]} == {"payload", "updated_at"}
    assert set(job["payload"]) - set(before[1]["payload"]) == {"needs"}


def test_a_job_is_done_as_soon_as_an_instance_can(school: School, typed: Submission, photo: Submission) -> None:
    """A job that one instance has left queued is taken by another one, whose adapter has the method."""
    left = enter(school, photo)
    change_row(school.owner, left, ROWS["pictures"][0])
    do_behind(school, typed, **OLD)
    do_behind(school, typed, **NEW)
    assert (school.submission(left)["feedback_md"], school.has_job(left)) == ("by analyze_visual", False)


@pytest.mark.unreadable
def test_a_final_submission_of_a_later_kind_is_left_alone(school: School, typed: Submission, photo: Submission) -> None:
    """Its job is deleted, as for any other kind, because nothing is left to do."""
    final = enter(school, photo)
    change_row(school.owner, final, "kind = 'h5p', storage_key = null, mime_type = null, size_bytes = null, sha256 = null")
    change_row(school.owner, final, "analysis_status = 'completed'")
    do_behind(school, typed, **OLD)
    assert not school.has_job(final)


def test_a_refused_row_behind_them_is_found(school: School, typed: Submission) -> None:
    """More jobs than one list of candidates has are left queued before it, and the job behind it is done all the same."""
    for left in school.enter(*[typed] * (LOOK_AHEAD + 5)):
        school.change_job("payload = payload || %s", left, Jsonb(PAYLOADS["a later mode"]))
    install_refusals(school.owner)
    refused, last = school.enter(typed, typed)
    refuse(school.owner, refused, "23514", "lease")
    try:
        with school.worker(environ_of(school), **OLD) as worker:
            until(lambda: not school.has_job(last) and is_idle(worker))
    finally:
        install_refusals(school.owner)
    assert school.submission(last)["analysis_status"] == "completed"


# A payload with news and gaps


@pytest.mark.parametrize(
    "change",
    [
        "payload = payload - 'kind'",
        "payload = payload - 'submission_id'",
        'payload = payload || \'{"submission_id": "6a204bd8-9ae5-4d3e-a3c4-000000000000"}\'',
        'payload = payload || \'{"kind": "hologram"}\'',
        "payload = payload - 'criteria'",
        "payload = payload || '{\"criteria\": null}'",
        'payload = payload || \'{"hologram": {"a": [1]}, "task_kind": "hologram", "intent": 7}\'',
        "payload = jsonb_build_object('student_sub', payload -> 'student_sub')",
    ],
)
def test_a_payload_with_news_and_gaps_is_done(school: School, typed: Submission, change: LiteralString) -> None:
    """Missing keys are taken from the rows, and unknown words are no corruption."""
    submission_id = enter(school, typed)
    school.change_job(change, submission_id)
    do_behind(school, typed, **OLD)
    assert (school.submission(submission_id)["analysis_status"], school.has_job(submission_id)) == ("completed", False)


# A fleet


def test_a_fleet_counts_what_it_leaves_queued(site: Site) -> None:
    """Status, metrics and check name kind, cause and remedy. Nothing waits, nothing stands still, and other work goes on."""
    lefts = site.enter_texts(3)
    for left, words in zip(lefts, ("Scratch", "Scratch", "dialog"), strict=True):
        site.owner.execute(
            "update learning_submission_jobs set payload = payload || %s where submission_id = %s", [Jsonb(PAYLOADS[words]), left]
        )
    others = site.enter_texts(5)
    fleet = site.start_with({**STUB, "worker_concurrency": 2})
    site.until_done(others)
    until(lambda: fleet.status()["queue"]["left_queued"])
    status, metrics = fleet.status(), fleet.metrics()
    assert status["queue"]["left_queued"] == [
        {"kind": "scratch", "cause": "file_type", "jobs": 2},
        {"kind": "dialog", "cause": "adapter", "jobs": 1},
    ]
    assert (status["state"], "3 submissions cannot be done here" in status["message"]) == ("degraded", True)
    assert metrics['learning_jobs_left_queued{cause="file_type",kind="scratch"}'] == 2
    until(
        lambda: {fleet.metrics()[name] for name in ("learning_queue_oldest_wait_seconds", "learning_standing_seconds")} == {0.0}
    )
    assert fleet.get("/healthz").status_code == 200
    lines = run(site, "check", **{name: str(value) for name, value in STUB.items()}).stdout
    assert "submissions stay queued: 2 scratch (file_type)" in lines
    assert "submissions stay queued: 1 dialog (adapter)" in lines
    assert (fleet.logged("exited"), site.leases(*lefts)) == ([], [])
