"""A worker process on its own: what becomes of jobs whatever happens to it, to the database or to the model server."""

import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest

from supervisor.event_log import EventLog
from testkit.bare_worker import BareWorker
from testkit.database import url
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.school import FEEDBACK_MODEL, HELD, VISION_MODEL, WAITED_FOR, School, counted, enter_one, finish, is_idle
from testkit.submissions import Submission, text_submissions
from testkit.waiting import until
from worker.ipc.contract import Activity, Counter, EventKind, ExitCode
from worker.ipc.scoreboard import AdmissionRecord, ControlRecord
from worker.queue.dead_leases import ReclaimResult
from worker.timeouts import LEASE_MARGIN_SECONDS

pytestmark = pytest.mark.postgres

SOON_SECONDS = 5.0
LONG_SECONDS = 60.0
LEFT: LiteralString = """
    select extract(epoch from leased_until - clock_timestamp())::float8 as seconds from learning_submission_jobs
    where status = 'leased'
"""
PLATFORM = {
    "learning_vision_adapter": "tests.platform_adapters.vision",
    "learning_feedback_adapter": "tests.platform_adapters.feedback",
}


def let_look(worker: BareWorker) -> None:
    """Waits until a worker that polls has come by the gate from the start: the first time it may have passed it before."""
    for _ in range(2):
        seen_seconds = worker.record().alive_seconds
        until(lambda: worker.record().alive_seconds > seen_seconds and is_idle(worker))  # noqa: B023  asked at once


# Work


def test_all_fourteen_submissions_end_with_one_result(school: School, demo: tuple[Submission, ...]) -> None:
    """All fourteen submissions end as they must, with the exact text, one vision call for each page and one result each."""
    entered = school.enter(*demo)
    with school.worker() as worker:
        until(lambda: school.is_final(*entered) and is_idle(worker))
        totals = counted(worker)
    for submission_id, submission in zip(entered, demo, strict=True):
        row = school.submission(submission_id)
        assert (row["analysis_status"], row["error_code"]) == (submission.expected_status, submission.expected_error_code)
        assert submission.expected_text in (None, row["text_body"])
        assert school.results(submission_id) == [submission.expected_status]
        assert len(school.leases(submission_id)) == 1
    images = [call["image_sha256"] for call in school.simulator.calls() if call["has_image"]]
    assert (len(images), len(set(images))) == (8, 8)  # five pictures and the three pages of the PDF
    assert totals == {
        Counter.COMPLETED: 13,
        Counter.FAILED_INPUT_CORRUPT: 1,
        Counter.VISION_CALLS: 8,
        Counter.FEEDBACK_CALLS: 13,
    }


def test_the_analysis_is_about_the_criteria(school: School, photo: Submission) -> None:
    """The stored document is criteria.v2, with one result for each criterion in the teacher's order."""
    submission_id = enter_one(school, photo)
    finish(school, submission_id)
    analysis = school.submission(submission_id)["analysis_json"]
    assert analysis["schema"] == "criteria.v2"
    assert [result["criterion"] for result in analysis["criteria_results"]] == list(photo.criteria)


def test_two_workers_share_one_permit(school: School) -> None:
    """With one permit two workers never call the same model at once, and no submission is processed twice."""
    entered = school.enter(*text_submissions(12, seed=1))
    with school.worker() as first, school.worker() as second:
        until(lambda: school.is_final(*entered))
        until(lambda: is_idle(first) and is_idle(second))
        done = [counted(worker).get(Counter.COMPLETED, 0) for worker in (first, second)]
    assert sum(done) == 12
    assert school.simulator.state()["models"][FEEDBACK_MODEL]["max_in_flight"] == 1
    assert all(school.results(submission_id) == ["completed"] for submission_id in entered)


def test_an_idle_worker_is_woken(school: School, typed: Submission) -> None:
    """A wake-up ends the wait at once, however long the poll interval is."""
    with school.worker(worker_poll_interval=LONG_SECONDS) as worker:
        until(lambda: is_idle(worker))
        submission_id = enter_one(school, typed)
        worker.wake()
        until(lambda: school.is_final(submission_id))


# Sudden death


def test_death_while_reading_loses_nothing(school: School, photo: Submission) -> None:
    """A worker killed during OCR leaves its job and key in its scoreboard. After the reclaim the job is completed once."""
    school.simulator.fault("hang", model=VISION_MODEL)
    submission_id = enter_one(school, photo)
    with school.worker() as worker:
        until(lambda: school.is_called(VISION_MODEL))
        worker.signal(signal.SIGKILL)
        assert worker.exit_status() == -signal.SIGKILL
        job, record = school.job(submission_id), worker.record()
        assert (record.activity, record.job_id, record.lease_key) == (Activity.VISION, job["id"], job["lease_key"])
        assert school.reclaim_lease(worker) is ReclaimResult.RECLAIMED
    assert school.job(submission_id)["payload"]["crashes"] == 1
    assert finish(school, submission_id)[Counter.COMPLETED] == 1
    assert school.results(submission_id) == ["completed"]
    assert school.submission(submission_id)["text_body"] == photo.expected_text


def test_no_page_is_read_twice(school: School, photo: Submission) -> None:
    """A worker killed after the checkpoint leaves its text to the next, which asks the vision model nothing."""
    school.simulator.fault("hang", model=FEEDBACK_MODEL)
    submission_id = enter_one(school, photo)
    with school.worker() as worker:
        until(lambda: school.is_called(FEEDBACK_MODEL))
        worker.signal(signal.SIGKILL)
        assert worker.exit_status() == -signal.SIGKILL
        assert school.job(submission_id)["payload"]["cached_text_md"] == photo.expected_text
        school.reclaim_lease(worker)
    school.simulator.reset_calls()
    assert finish(school, submission_id) == {Counter.COMPLETED: 1, Counter.OCR_REUSED: 1, Counter.FEEDBACK_CALLS: 1}
    assert school.calls(VISION_MODEL) == 0
    assert school.results(submission_id) == ["completed"]
    assert school.submission(submission_id)["text_body"] == photo.expected_text


def test_another_model_reads_again(school: School, photo: Submission) -> None:
    """A checkpoint that another vision model made is not used: the text must be of the model that is set."""
    school.simulator.fault("thinking_only", model=FEEDBACK_MODEL)
    submission_id = enter_one(school, photo)
    with school.worker(worker_backoff_seconds=LONG_SECONDS) as worker:
        until(lambda: school.job(submission_id)["retry_count"] == 1)
        assert counted(worker)[Counter.VISION_CALLS] == 1
    school.change_job("visible_at = now()", submission_id)
    school.change_job("payload = jsonb_set(payload, '{cached_from}', '\"another\"')", submission_id)
    assert finish(school, submission_id)[Counter.VISION_CALLS] == 1


def test_a_job_that_kills_is_quarantined(school: School, photo: Submission) -> None:
    """At its second death a job fails for good, with the code of the step it died in, and is leased no more."""
    submission_id = enter_one(school, photo)
    school.simulator.fault("hang", model=VISION_MODEL, times=2)
    answers = []
    for _ in range(2):
        with school.worker() as worker:
            until(lambda: school.is_called(VISION_MODEL))
            worker.signal(signal.SIGKILL)
            worker.exit_status()
            answers.append(school.reclaim_lease(worker))
        until(lambda: not school.is_called(VISION_MODEL))
    assert answers == [ReclaimResult.RECLAIMED, ReclaimResult.QUARANTINED]
    assert (school.submission(submission_id)["error_code"], school.job(submission_id)["error_code"]) == (
        "vision_failed",
        "worker_crashed",
    )


def test_a_worker_quarantines_a_job_that_reached_the_limit_before(school: School, photo: Submission) -> None:
    """A job whose payload has the maximum of crashes fails without a call to a model."""
    submission_id = enter_one(school, photo)
    school.change_job("payload = payload || '{\"crashes\": 2}'", submission_id)
    assert finish(school, submission_id) == {Counter.QUARANTINED: 1}
    assert school.simulator.calls() == []


RESET: tuple[LiteralString, LiteralString] = (
    "update learning_submissions set analysis_status = 'pending', error_code = null",
    "update learning_submission_jobs set status = 'queued', retry_count = 0, visible_at = now()",
)


@pytest.mark.parametrize("is_reclaimed", [True, False], ids=["by the monitor", "by a worker"])
def test_a_quarantined_job_that_is_put_back_is_a_fresh_one(school: School, typed: Submission, *, is_reclaimed: bool) -> None:
    """The platform's script sets status and retry_count alone. The deaths of before must not fail the job again."""
    submission_id = enter_one(school, typed)
    if is_reclaimed:
        school.simulator.fault("hang", model=FEEDBACK_MODEL)
        with school.worker() as worker:
            until(lambda: school.is_called(FEEDBACK_MODEL))
            worker.signal(signal.SIGKILL)
            worker.exit_status()
            assert school.reclaim_lease(worker, max_crashes=1) is ReclaimResult.QUARANTINED
        school.simulator.clear_faults()
    else:
        school.change_job('payload = payload || \'{"crashes": 2, "expiries": 1}\'', submission_id)
        assert finish(school, submission_id) == {Counter.QUARANTINED: 1}
    for statement in RESET:
        school.owner.execute(statement)
    with school.worker() as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
    assert school.results(submission_id) == ["failed", "completed"]


# Stopping


def test_an_idle_worker_stops_at_once(school: School) -> None:
    """SIGTERM ends the wait for work. The worker exits with code 0 long before its next poll."""
    with school.worker(worker_poll_interval=LONG_SECONDS) as worker:
        until(lambda: is_idle(worker))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status(SOON_SECONDS) == ExitCode.DONE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_worker_ignores_the_signals_of_a_terminal(school: School, typed: Submission, number: int) -> None:
    """Ctrl-C reaches every process of a terminal. A worker continues until its supervisor stops it."""
    with school.worker() as worker:
        until(lambda: is_idle(worker))
        worker.signal(number)
        submission_id = enter_one(school, typed)
        until(lambda: school.is_final(submission_id))


def test_a_job_is_finished_before_the_stop(school: School, typed: Submission) -> None:
    """SIGTERM during a model call lets the job come to its end, takes no other one, and the exit code is 0."""
    school.simulator.fault("slow", model=FEEDBACK_MODEL, seconds=0.3)
    first, second = school.enter(typed, typed)
    with school.worker() as worker:
        until(lambda: school.is_called(FEEDBACK_MODEL))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status() == ExitCode.DONE
    assert school.results(first) == ["completed"]
    assert (school.job(second)["status"], school.leases(second)) == ("queued", [])


def test_a_drain_leaves_time_for_the_whole_job(school: School, photo: Submission) -> None:
    """While the drain has time for another step, a job goes through both steps after the request to stop."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=0.3)
    submission_id = enter_one(school, photo)
    with school.worker() as worker:
        until(lambda: school.is_called(VISION_MODEL))
        worker.control(ControlRecord(1, is_draining=True, drain_by_seconds=time.monotonic() + LONG_SECONDS))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status() == ExitCode.DONE
    assert school.results(submission_id) == ["completed"]


def test_a_job_without_time_for_its_next_step_is_released(school: School, photo: Submission) -> None:
    """The text is kept, the job returns to its place, no attempt is used, and the exit code is 0."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=0.3)
    submission_id = enter_one(school, photo)
    entered_job = school.job(submission_id)
    with school.worker(terminate_grace_seconds=1) as worker:
        until(lambda: school.is_called(VISION_MODEL))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status() == ExitCode.DONE
        assert counted(worker)[Counter.RELEASED] == 1
    job = school.job(submission_id)
    assert (job["status"], job["retry_count"], job["visible_at"]) == ("queued", 0, entered_job["visible_at"])
    assert job["payload"]["cached_text_md"] == photo.expected_text
    assert (school.submission(submission_id)["error_code"], school.calls(FEEDBACK_MODEL)) == (None, 0)


@pytest.mark.parametrize("control", [ControlRecord(leasing_slots=0), ControlRecord(leasing_slots=1, is_draining=True)])
def test_a_closed_gate_keeps_jobs_in_the_queue(school: School, typed: Submission, control: ControlRecord) -> None:
    """A slot that may not lease, or that drains, takes no job. As soon as it may, it does."""
    with school.worker() as worker:
        until(lambda: is_idle(worker))
        worker.control(control)
        let_look(worker)  # it may have been about to lease
        submission_id = enter_one(school, typed)
        let_look(worker)
        assert school.leases(submission_id) == []
        worker.control(ControlRecord(leasing_slots=1))
        until(lambda: school.is_final(submission_id))


def test_without_its_supervisor_an_idle_worker_ends(school: School) -> None:
    """The end of the lifeline ends the wait for work, with a code of its own."""
    with school.worker(worker_poll_interval=LONG_SECONDS) as worker:
        until(lambda: is_idle(worker))
        worker.cut_lifeline()
        assert worker.exit_status(SOON_SECONDS) == ExitCode.SUPERVISOR_GONE


# Errors of a model server


@pytest.mark.parametrize("fault", ["truncated", "thinking_only"])
@pytest.mark.parametrize(("model", "step"), [(VISION_MODEL, "vision"), (FEEDBACK_MODEL, "feedback")])
def test_unusable_answers_use_attempts(school: School, photo: Submission, fault: str, model: str, step: str) -> None:
    """After WORKER_MAX_RETRIES further tries the submission fails with its step's code. The job's row stays."""
    submission_id = enter_one(school, photo)
    is_asked_twice = (fault, step) == ("truncated", "feedback")  # a second time within each attempt
    school.simulator.fault(fault, model=model, times=6 if is_asked_twice else 3)
    totals = finish(school, submission_id, worker_max_retries=2)
    row, job = school.submission(submission_id), school.job(submission_id)
    assert (row["analysis_status"], row["error_code"]) == ("failed", f"{step}_failed")
    assert (job["status"], job["error_code"], job["retry_count"]) == ("failed", f"{step}_failed", 2)
    assert totals[Counter[f"RETRIED_{step.upper()}"]] == 2
    assert totals[Counter[f"FAILED_{step.upper()}"]] == 1
    assert school.calls(model) == (6 if is_asked_twice else 3)
    assert school.calls(VISION_MODEL) == (3 if model == VISION_MODEL else 1)


def test_a_later_try_completes(school: School, photo: Submission) -> None:
    """An error that passes leaves no trace in the result."""
    submission_id = enter_one(school, photo)
    school.simulator.fault("thinking_only", model=FEEDBACK_MODEL, times=2)
    finish(school, submission_id, worker_max_retries=2)
    row = school.submission(submission_id)
    assert (row["analysis_status"], row["error_code"], row["text_body"]) == ("completed", None, photo.expected_text)
    assert school.results(submission_id) == ["completed"]


def test_a_retry_waits_and_is_shown_on_the_submission(school: School, photo: Submission) -> None:
    """Between two tries the job waits for WORKER_BACKOFF_SECONDS, and the submission has the step that is tried again.

    The line of the log has the reason and the time of the next try.
    """
    submission_id = enter_one(school, photo)
    school.simulator.fault("truncated", model=VISION_MODEL)
    with school.worker(worker_backoff_seconds=LONG_SECONDS) as worker:
        until(lambda: school.job(submission_id)["retry_count"] == 1)
        until(lambda: is_idle(worker))
        (settled,) = [event for event in worker.read_events() if event.kind is EventKind.SETTLED]
    job = school.one("select status, extract(epoch from visible_at - now())::float as due from learning_submission_jobs")
    lines: list[str] = []
    EventLog("INFO", lines.append).event(0, settled)
    assert "outcome=vision_retrying error=AnswerTruncated" in lines[0]
    retry_at = datetime.fromisoformat(lines[0].split("retry_at=")[1].split()[0])
    due_at = school.one("select visible_at from learning_submission_jobs")["visible_at"]
    assert abs(retry_at - due_at) < timedelta(seconds=10)
    assert job["status"] == "queued"
    assert LONG_SECONDS - 10 < job["due"] <= LONG_SECONDS
    assert school.submission(submission_id)["error_code"] == "vision_retrying"


@pytest.mark.parametrize("model", [VISION_MODEL, FEEDBACK_MODEL])
def test_a_full_server_uses_no_attempt(school: School, photo: Submission, model: str) -> None:
    """A 503 releases the job for a few seconds without an attempt. The text that was read before is kept."""
    submission_id = enter_one(school, photo)
    school.simulator.fault("status_503", model=model)
    with school.worker(worker_max_retries=0) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1)
        job = school.job(submission_id)
        assert (job["status"], job["retry_count"], job["error_code"]) == ("queued", 0, "Unavailable")
        assert school.submission(submission_id)["error_code"] is None
        school.change_job("visible_at = now()", submission_id)
        until(lambda: school.is_final(submission_id))
    assert school.results(submission_id) == ["completed"]
    assert school.calls(VISION_MODEL) == (2 if model == VISION_MODEL else 1)


# Jobs that cannot be done


def test_an_invisible_submission_fails_with_its_error(school: School, typed: Submission) -> None:
    """A wrong student in the payload hides the row: it is failed by the function, and the job stays for the operator."""
    submission_id = enter_one(school, typed)
    school.change_job("payload = jsonb_set(payload, '{student_sub}', '\"somebody else\"')", submission_id)
    assert finish(school, submission_id) == {Counter.FAILED_VISION: 1}
    row, job = school.submission(submission_id), school.job(submission_id)
    assert (row["analysis_status"], row["error_code"]) == ("failed", "vision_failed")
    assert (job["status"], job["error_code"]) == ("failed", "submission_not_visible")


@pytest.mark.parametrize("payload", ["[]", "null", "{}", '{"submission_id": 7}', '{"student_sub": "", "kind": "poem"}'])
def test_a_malformed_payload_fails(school: School, typed: Submission, payload: str) -> None:
    """No payload ends a worker: the submission fails, and the job's row stays for the operator."""
    submission_id = enter_one(school, typed)
    school.owner.execute("update learning_submission_jobs set payload = %s::jsonb", [payload])
    assert finish(school, submission_id) == {Counter.FAILED_VISION: 1}
    assert (school.submission(submission_id)["error_code"], school.job(submission_id)["error_code"]) == (
        "vision_failed",
        "payload_invalid",
    )


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_final_submission_is_left_alone(school: School, typed: Submission, status: str) -> None:
    """If the submission is already final, the job is deleted. Nothing is written and no model is called."""
    submission_id = enter_one(school, typed)
    school.owner.execute("update learning_submissions set analysis_status = %s", [status])
    school.owner.execute("delete from audit_results")
    before = school.submission(submission_id)
    assert finish(school, submission_id) == {}
    assert (school.has_job(submission_id), school.submission(submission_id)) == (False, before)
    assert (school.results(submission_id), school.simulator.calls()) == ([], [])


def test_a_missing_file_is_waited_for(school: School, photo: Submission) -> None:
    """A store that does not have the file yet holds the job. A file that differs from its row is the input's fault."""
    submission_id = enter_one(school, photo)
    path = school.storage_root / school.submission(submission_id)["storage_key"]
    path.rename(path.with_suffix(".away"))
    with school.worker(worker_max_retries=0) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED, 0) >= 2)
        path.write_bytes(b"another picture")
        until(lambda: school.is_final(submission_id) and is_idle(worker))
    assert school.submission(submission_id)["error_code"] == "input_corrupt"


# The database


def test_a_worker_rejects_a_superuser(school: School) -> None:
    """A role that row security does not hold for ends the worker with EX_CONFIG, before any lease, whatever it is called."""
    submission_id = enter_one(school, next(text_submissions(1, seed=1)))
    dsn = superuser(school)
    try:
        with school.worker(learning_database_url=dsn) as worker:
            assert worker.exit_status() == ExitCode.CONFIG
            assert [event.kind for event in worker.read_events()][-1] is EventKind.UNSUITABLE
    finally:
        school.owner.execute(psycopg.sql.SQL("drop role {}").format(superuser_name(school)))
    assert school.leases(submission_id) == []


def superuser(school: School) -> str:
    """Another name than `postgres`, which the settings refuse before anything is connected."""
    school.owner.execute(psycopg.sql.SQL("create role {} superuser login password 'secret'").format(superuser_name(school)))
    return url(school.database.admin_dsn, user=f"{school.database.name}_o'boss", password="secret")


def superuser_name(school: School) -> psycopg.sql.Identifier:
    return psycopg.sql.Identifier(f"{school.database.name}_o'boss")


def test_a_worker_rejects_a_missing_adapter(school: School) -> None:
    """A module that is not there ends the worker with EX_CONFIG and not in a circle of crashes."""
    with school.worker(learning_vision_adapter="tests.platform_adapters.nowhere") as worker:
        assert worker.exit_status() == ExitCode.CONFIG


TERMINATE: LiteralString = """
    select pg_terminate_backend(pid) from pg_stat_activity
     where usename = %s and application_name like 'learning-supervisor slot %%'
"""


@pytest.mark.parametrize("model", [VISION_MODEL, FEEDBACK_MODEL])
def test_a_broken_connection_during_a_call_costs_nothing(school: School, photo: Submission, model: str) -> None:
    """While the model works the connection is ended: the result is written once, over a new one, and nothing is asked twice."""
    school.simulator.fault("slow", model=model, seconds=0.3)
    submission_id = enter_one(school, photo)
    with school.worker() as worker:
        until(lambda: school.is_called(model))
        assert school.one(TERMINATE, f"{school.database.name}_worker") == {"pg_terminate_backend": True}
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert EventKind.CONNECTION_LOST in {event.kind for event in worker.read_events()}
        assert counted(worker)[Counter.COMPLETED] == 1
    assert school.results(submission_id) == ["completed"]
    assert (school.calls(VISION_MODEL), school.calls(FEEDBACK_MODEL)) == (1, 1)
    assert len(school.leases(submission_id)) == 1


@pytest.fixture
def proxy(school: School) -> Iterator[PgProxy]:
    with proxy_before(school.database.worker_dsn) as before:
        yield before


@pytest.mark.parametrize(
    "statement", ["status = 'leased'", "update_completed", "'cached_text_md'", "pg_try_advisory_lock", "analysis_status"]
)
def test_a_lost_acknowledgement_costs_nothing(school: School, proxy: PgProxy, photo: Submission, statement: str) -> None:
    """A statement that was committed but never acknowledged is not repeated in effect: one lease, one call each, one result."""
    submission_id = enter_one(school, photo)
    proxy.lose_answer_to(statement)
    assert finish(school, submission_id, learning_database_url=proxy.dsn) == {
        Counter.COMPLETED: 1,
        Counter.VISION_CALLS: 1,
        Counter.FEEDBACK_CALLS: 1,
    }
    assert proxy.answers_lost == 1
    assert school.results(submission_id) == ["completed"]
    assert len(school.leases(submission_id)) == 1


def test_a_result_for_a_lease_that_was_taken_over_is_dropped(school: School, typed: Submission) -> None:
    """A worker whose job was taken over during the model call writes nothing, counts the rejection and continues."""
    school.simulator.fault("slow", model=FEEDBACK_MODEL, seconds=0.3)
    submission_id = enter_one(school, typed)
    with school.worker() as worker:
        until(lambda: school.is_called(FEEDBACK_MODEL))
        assert school.permits() == [HELD]
        school.change_job("lease_key = gen_random_uuid(), leased_until = now() + interval '1 hour'", submission_id)
        until(lambda: counted(worker).get(Counter.REJECTED_BY_FENCE) == 1)
        assert (school.results(submission_id), school.job(submission_id)["status"]) == ([], "leased")
        assert school.permits() == []
        other = enter_one(school, typed)
        until(lambda: school.results(other) == ["completed"])


# Permits


@pytest.mark.parametrize("timeout_seconds", [15, 300])
def test_a_next_job_has_lease_and_permit_for_its_call(school: School, timeout_seconds: int) -> None:
    """Lease and permit that came with a settlement cover the call. The lease is renewed if the feedback may take longer."""
    for fault in ("slow", "hang"):  # the first job's call, and the next one's
        school.simulator.fault(fault, model=FEEDBACK_MODEL, seconds=0.01)
    school.enter(*text_submissions(2, seed=1))
    with school.worker(ai_timeout_feedback=timeout_seconds) as worker:
        until(lambda: counted(worker).get(Counter.FEEDBACK_CALLS) == 2)
        assert school.permits() == [HELD]
        assert school.one(LEFT)["seconds"] > timeout_seconds + LEASE_MARGIN_SECONDS
        worker.signal(signal.SIGKILL)


def test_a_worker_waits_for_a_permit_and_releases_it(school: School, typed: Submission) -> None:
    """A worker goes on as soon as the model has a place for it, here by a death, and holds none between jobs."""
    with school.place_taken(FEEDBACK_MODEL, typed) as holder:
        submission_id = enter_one(school, typed)
        with school.worker() as worker:
            until(lambda: WAITED_FOR in school.permits())
            assert (worker.record().activity, school.calls(FEEDBACK_MODEL)) == (Activity.PERMIT, 1)
            holder.signal(signal.SIGKILL)
            until(lambda: school.results(submission_id) == ["completed"] and is_idle(worker))
            assert school.permits() == []


def test_a_lease_lost_while_waiting_takes_no_permit(school: School, typed: Submission) -> None:
    """A worker whose job was taken over while it waited for a model leaves that model's place to others."""
    with school.place_taken(FEEDBACK_MODEL, typed) as holder:
        submission_id = enter_one(school, typed)
        with school.worker() as worker:
            until(lambda: WAITED_FOR in school.permits())
            school.change_job("lease_key = gen_random_uuid(), leased_until = now() + interval '1 hour'", submission_id)
            holder.signal(signal.SIGKILL)
            until(lambda: counted(worker).get(Counter.REJECTED_BY_FENCE) == 1 and is_idle(worker))
            assert (school.permits(), school.results(submission_id)) == ([], [])
    assert school.calls(FEEDBACK_MODEL) == 1


def test_a_stop_ends_the_wait_for_a_permit(school: School, typed: Submission) -> None:
    """A worker that is asked to stop in the line for a model returns its job in time, with no attempt burnt."""
    with school.place_taken(FEEDBACK_MODEL, typed):
        submission_id = enter_one(school, typed)
        with school.worker() as worker:
            until(lambda: WAITED_FOR in school.permits())
            worker.signal(signal.SIGTERM)
            assert worker.exit_status(SOON_SECONDS) == ExitCode.DONE
    job = school.job(submission_id)
    assert (job["status"], job["retry_count"], school.calls(FEEDBACK_MODEL)) == ("queued", 0, 1)


# Adapters of another package


@pytest.mark.parametrize(
    ("adapter", "feedback"),
    [
        ("tests.platform_adapters.feedback", "{instruction_md} | {hints_md} | {text}"),
        ("tests.platform_adapters.brief_feedback", "{text}"),
    ],
)
def test_the_platforms_adapters_run_unmodified(school: School, photo: Submission, adapter: str, feedback: str) -> None:
    """Modules of another package read the environment themselves and get the arguments in their signatures."""
    submission_id = enter_one(school, photo)
    settings = {**PLATFORM, "learning_feedback_adapter": adapter}
    with school.worker({"PLATFORM_VISION": "read by the platform"}, **settings) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert counted(worker) == {Counter.COMPLETED: 1, Counter.VISION_CALLS: 1, Counter.FEEDBACK_CALLS: 1}
    row, text = school.submission(submission_id), "read by the platform image/png 1"
    expected = feedback.format(instruction_md=photo.instruction_md, hints_md=photo.hints_md, text=text)
    assert (row["text_body"], row["feedback_md"]) == (text, expected)
    assert [result["criterion"] for result in row["analysis_json"]["criteria_results"]] == list(photo.criteria)


def test_a_text_of_a_foreign_adapter_is_not_read_twice(school: School, photo: Submission) -> None:
    """A checkpoint of a foreign adapter is used again if its module and the model's name are the same."""
    enter_one(school, photo)
    environ = {"PLATFORM_VISION": "read by the platform", "PLATFORM_FEEDBACK": "transient"}
    with school.worker(environ, **PLATFORM) as worker:
        until(lambda: counted(worker).get(Counter.FEEDBACK_CALLS) == 2 and is_idle(worker))
        totals = counted(worker)
    assert (totals[Counter.VISION_CALLS], totals[Counter.OCR_REUSED], totals[Counter.FEEDBACK_CALLS]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("step", "behaviour", "error_code"),
    [
        ("vision", "permanent", "vision_failed"),
        ("vision", "corrupt", "input_corrupt"),
        ("feedback", "permanent", "feedback_failed"),
    ],
)
def test_a_foreign_permanent_error_fails_at_once(
    school: School, photo: Submission, step: str, behaviour: str, error_code: str
) -> None:
    """Its name, or that of its base class, says that no later try can succeed."""
    submission_id = enter_one(school, photo)
    environ = {"PLATFORM_VISION": "read", f"PLATFORM_{step.upper()}": behaviour}
    with school.worker(environ, **PLATFORM, worker_max_retries=1) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert counted(worker)[Counter[f"{step.upper()}_CALLS"]] == 1
        assert failures(worker) == [(step, "input")]
    assert (school.submission(submission_id)["error_code"], school.job(submission_id)["retry_count"]) == (error_code, 0)


@pytest.mark.parametrize("step", ["vision", "feedback"])
@pytest.mark.parametrize(("behaviour", "bugs"), [("transient", 0), ("bug", 1)])
def test_a_foreign_transient_error_is_suspect(school: School, photo: Submission, step: str, behaviour: str, bugs: int) -> None:
    """A transient error, and any exception outside the contract, which is counted as a bug, holds the job."""
    submission_id = enter_one(school, photo)
    environ = {"PLATFORM_VISION": "read", f"PLATFORM_{step.upper()}": behaviour}
    with school.worker(environ, **PLATFORM, worker_max_retries=0) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1 and is_idle(worker))
        assert counted(worker).get(Counter.ADAPTER_BUGS, 0) == bugs
        assert failures(worker) == [(step, "suspect")]
    assert (school.submission(submission_id)["error_code"], school.job(submission_id)["retry_count"]) == (None, 0)


@pytest.mark.parametrize("behaviour", ["exit", "cancelled", "odd"])
def test_no_exception_of_a_foreign_adapter_ends_the_worker(school: School, typed: Submission, behaviour: str) -> None:
    """The death would count against the job: two of them fail it, although no model has judged the text."""
    submission_id = enter_one(school, typed)
    with school.worker({"PLATFORM_VISION": "read", "PLATFORM_FEEDBACK": behaviour}, **PLATFORM, worker_max_retries=0) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1 and is_idle(worker))
        assert worker.exit_status(0) is None
        assert "what the pupil wrote" not in f"{school.job(submission_id)} {worker.read_events()}"
    job = school.job(submission_id)
    assert (job["status"], job["retry_count"], job["payload"].get("crashes")) == ("queued", 0, None)


def test_a_blank_feedback_is_no_result(school: School, typed: Submission) -> None:
    """The pupil would see an empty page. The answer counts as one without a text and is tried again."""
    submission_id = enter_one(school, typed)
    with school.worker({"PLATFORM_VISION": "read", "PLATFORM_FEEDBACK": "blank"}, **PLATFORM, worker_max_retries=1) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert counted(worker)[Counter.FEEDBACK_CALLS] == 2
    row = school.submission(submission_id)
    assert (row["analysis_status"], row["feedback_last_error"]) == ("failed", "empty_answer")


def failures(worker: BareWorker) -> list[tuple[str | None, str]]:
    return [(event.step, event.outcome) for event in worker.read_events() if event.kind is EventKind.STEP_FAILED]


@pytest.mark.parametrize("behaviour", ["time", "list", "bytes"])
def test_an_answer_that_cannot_be_stored_is_a_bug(school: School, photo: Submission, behaviour: str) -> None:
    """An answer that PostgreSQL cannot store is counted as the adapter's bug, with its class. The worker continues."""
    submission_id = enter_one(school, photo)
    with school.worker({"PLATFORM_VISION": behaviour}, **PLATFORM) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1 and is_idle(worker))
        assert counted(worker)[Counter.ADAPTER_BUGS] == 1
    job = school.job(submission_id)
    assert (job["status"], job["error_code"], job["retry_count"]) == ("queued", "TypeError", 0)


@pytest.mark.unreadable
def test_no_number_is_stored_as_null(school: School, photo: Submission) -> None:
    """An adapter's NaN, which PostgreSQL refuses, costs a pupil nothing."""
    submission_id = enter_one(school, photo)
    with school.worker({"PLATFORM_VISION": "nan", "PLATFORM_FEEDBACK": "nan"}, **PLATFORM) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
    assert (school.results(submission_id), school.submission(submission_id)["analysis_json"]["score"]) == (["completed"], None)


def test_a_page_may_be_empty(school: School, photo: Submission) -> None:
    """No text and no metadata are a result too, and not a reason to read again."""
    submission_id = enter_one(school, photo)
    with school.worker({"PLATFORM_VISION": "nothing"}, **PLATFORM) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert counted(worker)[Counter.VISION_CALLS] == 1
    assert (school.submission(submission_id)["text_body"], school.results(submission_id)) == ("", ["completed"])


def test_no_exception_contains_a_pupils_text(school: School, photo: Submission) -> None:
    """A foreign exception's message stays in the worker: neither a row nor an event carries it, only its class."""
    submission_id = enter_one(school, photo)
    with school.worker({"PLATFORM_VISION": "bug"}, **PLATFORM) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1 and is_idle(worker))
        written = f"{school.submission(submission_id)} {school.job(submission_id)} {worker.read_events()}"
    assert "what the pupil wrote" not in written
    assert "ZeroDivisionError" in written


# Round trips


@pytest.mark.parametrize(("kind", "round_trips"), [("text", 2 + 1), ("image", 4 + 4), ("reused", 2 + 2), ("gated", 2 + 1)])
def test_a_job_costs_few_round_trips(school: School, proxy: PgProxy, photo: Submission, kind: str, round_trips: int) -> None:
    """The start of each model call, the checkpoint, and the settlement with the next job take one round trip each, with permits.

    A typed text that came with a settlement starts in the same round trip. The first lease and its submission come before, and
    one poll from the start of the queue comes after, unless the last settlement contained it. Only two jobs run, because psycopg
    prepares a statement at its sixth execution, with one more round trip. A closed gate costs none if the job does not need it.
    """
    submissions = text_submissions(2, seed=1) if kind in {"text", "gated"} else [photo] * 2
    settings: dict[str, Any] = {"learning_database_url": proxy.dsn, "worker_poll_interval": LONG_SECONDS}
    is_gated, gate = kind == "gated", AdmissionRecord(vision_calls=0)
    with school.admitted(gate, **settings) if is_gated else school.worker(None, **settings) as worker:
        until(lambda: is_idle(worker))
        entered = school.enter(*submissions)
        if kind == "reused":
            school.owner.execute("update learning_submissions set analysis_status = 'extracted'")
            school.owner.execute('update learning_submission_jobs set payload = payload || \'{"cached_text_md": "read"}\'')
        before = proxy.round_trips
        worker.wake()
        until(lambda: school.is_final(*entered) and is_idle(worker))
        first_lease, first_read, last_look = 1, 1, 1
        assert proxy.round_trips - before - first_lease - first_read - round_trips in {0, last_look}
