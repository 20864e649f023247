"""A whole fleet whose database refuses single rows: status, metrics, reclaiming, and the evidence of other jobs."""

import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from testkit.adapters.deadly import POISON
from testkit.live_fleet import LiveFleet, kill_all
from testkit.refusals import MISSING, accept, install_refusals, refuse
from testkit.site import FEEDBACK_MODEL, LONGEST_CALL_SECONDS, Site, Value
from testkit.waiting import until
from tests.process.test_cli import run
from tests.tiers import in_two_tiers

pytestmark = pytest.mark.postgres

STUB: Mapping[str, Value] = {"ai_backend": "stub"}
DEADLY: Mapping[str, Value] = {"ai_backend": "stub", "learning_feedback_adapter": "testkit.adapters.deadly"}
SHORT_LEASE: Mapping[str, Value] = {"worker_lease_seconds": 5, "ai_timeout_feedback": 2, "terminate_grace_seconds": 0.1}
EVERY_WAY_BACK = ("fail", "queue", "fail_submission")
TAKEN_BY_NOBODY = (
    ("leased without an end", "status = 'leased', lease_key = gen_random_uuid(), leased_until = null"),
    ("leased without an end", "status = 'leased', lease_key = gen_random_uuid(), leased_until = 'infinity'"),
    ("queued until infinity", "visible_at = 'infinity'"),
    ("unknown status", "status = 'paused'"),
)


@pytest.fixture
def guarded(site: Site) -> Site:
    install_refusals(site.owner)
    return site


def refused_jobs(fleet: LiveFleet) -> dict[str, str]:
    return {row["job_id"]: row["sqlstate"] for row in fleet.status()["queue"]["refused_jobs"]}


def assert_nothing_broke(fleet: LiveFleet) -> None:
    """No process has ended, and no connection was lost."""
    assert (fleet.logged("exited"), fleet.logged("bug"), fleet.logged("connection_lost")) == ([], [], [])


def until_completed(site: Site, submission_ids: list[UUID]) -> None:
    """With one worker a suspect row is held for half a minute first."""
    until(lambda: {site.submission(each)["analysis_status"] for each in submission_ids} == {"completed"}, within_seconds=60)


def test_a_fleet_reports_refused_rows(guarded: Site) -> None:
    """Status is degraded and names job, SQLSTATE and remedy, until the database accepts the row. Other jobs are completed."""
    refused_id, *others = guarded.enter_texts(41)
    refuse(guarded.owner, refused_id, "23514", "every")
    job_id = str(guarded.job(refused_id)["id"])
    fleet = guarded.start_with({"worker_concurrency": 2, **STUB})
    until_completed(guarded, others)
    until(lambda: refused_jobs(fleet) == {job_id: "23514"})
    until(lambda: "The database refuses to change 1 job (SQLSTATE 23514)" in fleet.status()["message"])
    status = fleet.status()
    assert (status["state"], job_id in status["message"]) == ("degraded", True)
    assert fleet.metrics()["learning_queue_refused_jobs"] == 1
    assert fleet.get("/healthz").status_code == 200
    accept(guarded.owner, refused_id)
    until_completed(guarded, [refused_id])
    fleet.until_state("ok")
    assert_nothing_broke(fleet)


def test_a_right_that_the_workers_lack_is_named(guarded: Site) -> None:
    """The monitor reads the queue, and no lease is allowed. Status and check lead to the right, and its return is enough."""
    fleet = guarded.start_with({"worker_concurrency": 1, **STUB})
    fleet.until_state("ok")
    guarded.owner.execute("revoke update on learning_submission_jobs from learning_worker")
    entered = guarded.enter_texts(2)
    until(lambda: "lacks a right" in fleet.status()["message"])
    assert fleet.status()["state"] in {"degraded", "down"}
    assert "check` names the missing right" in fleet.status()["message"]
    assert "grant update on learning_submission_jobs" in run(guarded, "check", ai_backend="stub").stdout
    guarded.owner.execute("grant update on learning_submission_jobs to learning_worker")
    until_completed(guarded, entered)


def test_no_text_of_the_server_is_logged(guarded: Site) -> None:
    """The message of the refusal quotes a pupil's text. Log and status have the SQLSTATE only."""
    refused_id, other = guarded.enter_texts(2)
    refuse(guarded.owner, refused_id, "P0001", "every")
    fleet = guarded.start_with({"worker_concurrency": 1, **STUB})
    until_completed(guarded, [other])
    fleet.until_logged("row_refused")
    assert "a pupil's text" not in "\n".join(fleet.log()) + fleet.status()["message"]


@pytest.mark.parametrize("workers", in_two_tiers([1, 2], {2}))
def test_a_trigger_that_calls_a_missing_function_fails_its_job_alone(guarded: Site, workers: int) -> None:
    """A missing function may be a migration. Other results that pass meanwhile show that one row alone is concerned."""
    refused_id, *others = guarded.enter_texts(9)
    refuse(guarded.owner, refused_id, MISSING, "complete")
    fleet = guarded.start_with({"worker_concurrency": workers, **STUB, **SHORT_LEASE})
    until_completed(guarded, others)
    until(lambda: guarded.enter_text() and guarded.job(refused_id)["error_code"] == "database_42883_all", within_seconds=60)
    let_try_again(guarded, refused_id)
    until(lambda: guarded.enter_text() and guarded.job(refused_id)["status"] == "failed", within_seconds=60)
    assert guarded.job(refused_id)["error_code"] == "database_42883"
    assert fleet.logged("exited") == []


def test_a_row_that_is_known_to_be_at_fault_is_parked_at_once(guarded: Site) -> None:
    """Other results show it. Its failure is refused too, and no other job has to fail to show that: two leases are enough."""
    refused_id = guarded.enter_text()
    refuse(guarded.owner, refused_id, MISSING, "complete", "fail_submission")
    guarded.start_with({"worker_concurrency": 2, **STUB})
    until(lambda: guarded.enter_text() and guarded.job(refused_id)["error_code"] == "database_42883_all", within_seconds=60)
    let_try_again(guarded, refused_id)
    until(lambda: guarded.enter_text() and guarded.job(refused_id)["error_code"] == "database_42883", within_seconds=60)
    assert (guarded.job(refused_id)["status"], len(guarded.leases(refused_id))) == ("queued", 2)


def is_leased_again(site: Site, submission_id: UUID, leases: int) -> bool:
    """Enter another text, and report whether the submission was leased so often."""
    site.enter_text()
    return len(site.leases(submission_id)) == leases


def let_try_again(site: Site, submission_id: UUID) -> None:
    """End the wait of a held job."""
    site.owner.execute("update learning_submission_jobs set visible_at = now() where submission_id = %s", [submission_id])


@pytest.mark.second_tier
def test_results_are_no_evidence_about_checkpoints(guarded: Site) -> None:
    """A trigger that calls what does not exist refuses all checkpoints. Texts that are done meanwhile fail no photo."""
    photos = guarded.enter_photos(3)
    for each in photos:
        refuse(guarded.owner, each, MISSING, "checkpoint")
    guarded.start_with({"worker_concurrency": 2, **STUB, **SHORT_LEASE})
    until(
        lambda: guarded.enter_text() and {guarded.job(each)["error_code"] for each in photos} == {"database_42883_all"},
        within_seconds=90,
    )
    assert {(guarded.job(each)["status"], guarded.job(each)["retry_count"]) for each in photos} == {("queued", 0)}


def test_results_are_no_evidence_about_reading(guarded: Site, tmp_path: Path) -> None:
    """The right to read submissions is revoked while a worker completes one that it has read before. The next job waits."""
    gate = tmp_path / "gate"
    (first_id,) = guarded.enter_texts(1)
    adapter: Mapping[str, Value] = {"ai_backend": "stub", "learning_feedback_adapter": "testkit.adapters.gated", "gate": gate}
    fleet = guarded.start_with({"worker_concurrency": 2, **adapter})
    until(lambda: "feedback" in {each["activity"] for each in fleet.workers()})
    guarded.owner.execute("revoke select on learning_submissions from learning_worker")
    (second_id,) = guarded.enter_texts(1)
    until(lambda: guarded.job(second_id)["status"] == "leased")
    gate.touch()
    until_completed(guarded, [first_id])
    lost = len(fleet.logged("connection_lost"))
    until(lambda: len(fleet.logged("connection_lost")) >= lost + 4)  # each is a try
    guarded.owner.execute("grant select on learning_submissions to learning_worker")
    until_completed(guarded, [second_id])


@pytest.mark.second_tier
def test_a_locked_result_is_kept_until_it_is_written(guarded: Site) -> None:
    """A lock on one submission while other results pass: no attempt is used, and after the lock the kept answer is written."""
    locked_id, *others = guarded.enter_texts(3)
    refuse(guarded.owner, locked_id, "55P03", "complete")
    fleet = guarded.start_with({"worker_concurrency": 2, "worker_max_retries": 1, **STUB})
    until_completed(guarded, others)
    for leases in (1, 2, 3):
        until(partial(is_leased_again, guarded, locked_id, leases), within_seconds=60)
        until(lambda: guarded.enter_text() and guarded.job(locked_id)["status"] == "queued", within_seconds=60)
        job = guarded.job(locked_id)
        assert (job["error_code"], job["retry_count"], "answer" in job["payload"]) == ("database_55P03_all", 0, True)
        if leases == 3:
            accept(guarded.owner, locked_id)
        let_try_again(guarded, locked_id)
    until_completed(guarded, [locked_id])
    assert fleet.logged("exited") == []


# Reclaiming


@pytest.mark.parametrize("writes", in_two_tiers([("fail_submission",), EVERY_WAY_BACK], {EVERY_WAY_BACK}))
def test_a_refused_quarantine_stops_no_other_reclaim(guarded: Site, writes: tuple[str, ...]) -> None:
    """The quarantine's write raises. The monitor keeps its connection, and the jobs of other dead workers run again at once."""
    poison = guarded.enter_text(POISON)
    refuse(guarded.owner, poison, "P0001", *writes)
    fleet = guarded.start_with({"worker_concurrency": 2, "worker_max_crashes": 1, **DEADLY})
    until(lambda: refused_jobs(fleet) == {str(guarded.job(poison)["id"]): "P0001"})
    other_poison, *others = [guarded.enter_text(POISON), *guarded.enter_texts(4)]
    until_completed(guarded, others)
    until(lambda: guarded.job(other_poison)["error_code"] == "worker_crashed")
    until(lambda: "SQLSTATE P0001" in fleet.status()["message"])
    assert fleet.logged("connection_lost") == []
    assert len(guarded.leases(poison)) <= 3
    accept(guarded.owner, poison)
    guarded.owner.execute("update learning_submission_jobs set visible_at = now() where submission_id = %s", [poison])
    until(lambda: guarded.submission(poison)["analysis_status"] == "failed")


@pytest.mark.parametrize("code", in_two_tiers(["P0001", "57014", MISSING], {"P0001"}))
def test_a_refused_reclaim_does_not_delay_the_others(guarded: Site, code: str) -> None:
    """Two workers die. The row of one refuses to be taken back, and the other's job runs again."""
    guarded.simulator.fault("hang", FEEDBACK_MODEL, times=2)
    entered = guarded.enter_texts(2)
    refuse(guarded.owner, entered[0], code, "queue", "fail")
    fleet = guarded.start(worker_concurrency=2, ai_timeout_feedback=LONGEST_CALL_SECONDS)
    victims = guarded.until_in_call(fleet, FEEDBACK_MODEL, 2)
    kill_all(victims)
    until_completed(guarded, entered[1:])
    assert fleet.logged("connection_lost") == []
    accept(guarded.owner, entered[0])
    until_completed(guarded, entered[:1])


@pytest.mark.second_tier
def test_a_row_that_stays_locked_is_reported(guarded: Site) -> None:
    """An administrator's transaction stays open. Another job runs again at once, and `status` names the lock."""
    guarded.simulator.fault("hang", FEEDBACK_MODEL, times=2)
    entered = guarded.enter_texts(2)
    fleet = guarded.start(worker_concurrency=2, ai_timeout_feedback=LONGEST_CALL_SECONDS)
    victims = guarded.until_in_call(fleet, FEEDBACK_MODEL, 2)
    with guarded.owner.transaction():
        job_id = guarded.one("select id from learning_submission_jobs where submission_id = %s for update", entered[0])["id"]
        kill_all(victims)
        until_completed(guarded, entered[1:])
        until(lambda: refused_jobs(fleet) == {str(job_id): "55P03"})
    until_completed(guarded, entered)
    assert fleet.logged("connection_lost") == []


@pytest.mark.second_tier
def test_a_refused_lease_of_a_dead_supervisor_does_not_hide_the_others(guarded: Site) -> None:
    """The next supervisor takes back what it can, and completes it."""
    guarded.simulator.fault("hang", FEEDBACK_MODEL, times=2)
    entered = guarded.enter_texts(2)
    dead = guarded.start(worker_concurrency=2, ai_timeout_feedback=LONGEST_CALL_SECONDS)
    guarded.until_in_call(dead, FEEDBACK_MODEL, 2)
    dead.kill()
    refuse(guarded.owner, entered[0], "23514", "queue", "fail")
    heir = guarded.start(worker_concurrency=2)
    until_completed(guarded, entered[1:])
    until(lambda: refused_jobs(heir) == {str(guarded.job(entered[0])["id"]): "23514"})
    assert heir.logged("connection_lost") == []
    accept(guarded.owner, entered[0])
    until_completed(guarded, entered[:1])


# Rows that no worker can ever take


@pytest.mark.parametrize("row", in_two_tiers(TAKEN_BY_NOBODY, TAKEN_BY_NOBODY[:1]), ids=str)
def test_stuck_rows_are_reported(guarded: Site, row: tuple[str, str]) -> None:
    """`status` and `check` name the row and the remedy, and the remedy works."""
    fault, change = row
    guarded.owner.execute("alter table learning_submission_jobs drop constraint known_status")
    stuck, other = guarded.enter_texts(2)
    guarded.owner.execute(f"update learning_submission_jobs set {change} where submission_id = %s".encode(), [stuck])
    job_id = str(guarded.one("select id from learning_submission_jobs where submission_id = %s", stuck)["id"])
    fleet = guarded.start_with({"worker_concurrency": 1, **STUB})
    until_completed(guarded, [other])
    until(lambda: fleet.status()["queue"]["stuck_jobs"] == [{"job_id": job_id, "fault": fault}])
    until(lambda: f"1 job can never be taken ({fault})" in fleet.status()["message"])
    assert job_id in fleet.status()["message"]
    assert fleet.metrics()["learning_queue_stuck_jobs"] == 1
    checked = run(guarded, "check")
    assert f"jobs that can never be taken: 1 ({fault}), such as {job_id}" in checked.stdout
    guarded.owner.execute(
        "update learning_submission_jobs set status = 'queued', visible_at = now(), lease_key = null, leased_until = null"
        " where submission_id = %s",
        [stuck],
    )
    until_completed(guarded, [stuck])
    fleet.until_state("ok")


def test_a_stopped_fleet_leaves_no_lease_of_a_parked_job(guarded: Site) -> None:
    """A stop with a refused row ends with exit code 0."""
    refused_id, other = guarded.enter_texts(2)
    refuse(guarded.owner, refused_id, "23514", "every")
    fleet = guarded.start_with({"worker_concurrency": 2, **STUB})
    until_completed(guarded, [other])
    until(lambda: refused_jobs(fleet))
    fleet.process.send_signal(signal.SIGTERM)
    assert fleet.exit_code() == 0
