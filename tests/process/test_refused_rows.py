"""The database refuses writes of one row: other jobs go on, no worker ends, and the job fails with the SQLSTATE or is parked."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from uuid import UUID

import pytest

from testkit.bare_worker import BareWorker
from testkit.refusals import MISSING, SLOW, accept, install_refusals, refuse
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, School, counted, enter_one, is_idle
from testkit.submissions import Submission, text_submissions
from testkit.waiting import until
from tests.tiers import in_two_tiers
from worker.ipc.contract import Counter, Event, EventKind
from worker.queue.refusals import TRIES_BEFORE_THE_END

pytestmark = pytest.mark.postgres

INNOCENTS = 40
ROW_CODES = ("22003", "22021", "23505", "23514", "54000", "54001", "P0001", "XX001", "ZZ999")
SUSPECT_CODES = ("40001", "40P01", "42501", "55P03", "57014", "XX000", MISSING)
SHORT_LEASE: Mapping[str, float] = {"worker_lease_seconds": 5, "ai_timeout_feedback": 2, "terminate_grace_seconds": 0.1}


@pytest.fixture
def guarded(school: School) -> Iterator[School]:
    """A school whose database can refuse single rows."""
    install_refusals(school.owner)
    yield school
    install_refusals(school.owner)


def enter_texts(school: School, count: int) -> list[UUID]:
    return school.enter(*text_submissions(count, seed=1))


def statuses(school: School, *submission_ids: UUID) -> set[str]:
    rows = school.all("select analysis_status from learning_submissions where id = any(%s)", list(submission_ids))
    return {row["analysis_status"] for row in rows}


def refusals(worker: BareWorker) -> list[Event]:
    return [event for event in worker.read_events() if event.kind is EventKind.ROW_REFUSED]


# The lease


@pytest.mark.parametrize("code", in_two_tiers([*ROW_CODES, *SUSPECT_CODES], {"23514", MISSING}))
def test_jobs_behind_a_row_that_cannot_be_leased_are_done(guarded: School, code: str) -> None:
    """The first row of the queue refuses its lease: the jobs behind it are done, and at last it fails with its SQLSTATE."""
    refused_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, refused_id, code, "lease")
    sqlstate = "42883" if code == MISSING else code
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, *others) == {"completed"})
        until(lambda: guarded.job(refused_id)["status"] == "failed")
        assert worker.exit_status(0) is None
    job, submission = guarded.job(refused_id), guarded.submission(refused_id)
    assert (job["error_code"], submission["error_code"]) == (f"database_{sqlstate}", "vision_failed")
    assert [guarded.results(each) for each in others] == [["completed"]] * 3


def test_many_refused_rows_do_not_hide_the_others(guarded: School) -> None:
    """Three hundred rows at the head refuse their lease, and two workers do the forty behind them."""
    entered = enter_texts(guarded, 300 + INNOCENTS)
    for each in entered[:300]:
        refuse(guarded.owner, each, "P0001", "every")
    with ExitStack() as stack:
        workers = [stack.enter_context(guarded.worker()) for _ in range(2)]
        until(lambda: statuses(guarded, *entered[300:]) == {"completed"})
        assert [worker.exit_status(0) for worker in workers] == [None, None]
    assert statuses(guarded, *entered[:300]) == {"pending"}


def test_a_row_that_refuses_everything_is_reported_and_tried_again(guarded: School) -> None:
    """Nothing can be written: the row is in the way of no other job, and it is done when the database accepts it again."""
    refused_id, other = enter_texts(guarded, 2)
    refuse(guarded.owner, refused_id, "23514", "every")
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, other) == {"completed"})
        until(lambda: refusals(worker))
        assert {(event.job_id, event.error_class) for event in refusals(worker)} == {
            (guarded.job(refused_id)["id"], "database_23514")
        }
        accept(guarded.owner, refused_id)
        until(lambda: statuses(guarded, refused_id) == {"completed"})


@pytest.mark.second_tier
def test_without_other_jobs_a_refused_row_is_never_failed(guarded: School) -> None:
    """If no other row can show that the row alone is at fault, as under a trigger on all rows, no submission is failed."""
    entered = enter_texts(guarded, 3)
    for each in entered:
        refuse(guarded.owner, each, "P0001", "lease")
    with guarded.worker() as worker:
        until(lambda: len(refusals(worker)) >= 3 * TRIES_BEFORE_THE_END)
        assert statuses(guarded, *entered) == {"pending"}
        for each in entered:
            accept(guarded.owner, each)
        until(lambda: statuses(guarded, *entered) == {"completed"})


def test_an_expired_lease_that_is_refused_is_passed_over(guarded: School) -> None:
    """Expired leases come first, so that a refused one would hide the whole queue."""
    refused_id, *others = enter_texts(guarded, 4)
    guarded.change_job("status = 'leased', lease_key = gen_random_uuid(), leased_until = now() - interval '1 second'", refused_id)
    refuse(guarded.owner, refused_id, "23514", "lease")
    with guarded.worker():
        until(lambda: statuses(guarded, *others) == {"completed"})


@pytest.mark.second_tier
@pytest.mark.parametrize("write", ["lease", "complete"])
def test_a_row_with_a_slow_trigger_ends_no_worker(guarded: School, write: str) -> None:
    """Each statement for it ends by the statement timeout. The other jobs are done, and the worker stays within its deadlines."""
    slow_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, slow_id, SLOW, write)
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, *others) == {"completed"}, within_seconds=120)
        assert worker.exit_status(0) is None


@pytest.mark.second_tier
@pytest.mark.parametrize("code", ["55P03", MISSING])
def test_a_lone_worker_gives_a_refused_job_back(guarded: School, code: str) -> None:
    """No other worker can show that one row alone is refused: the job is put back long before its lease ends, uncounted."""
    refused_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, refused_id, code, "complete")
    with guarded.worker(None, worker_lease_seconds=600):
        until(lambda: statuses(guarded, *others) == {"completed"}, within_seconds=60)
        job = guarded.job(refused_id)
        assert (job["status"], job["retry_count"], job["payload"].get("expiries")) == ("queued", 0, None)
        until(lambda: guarded.job(refused_id)["error_code"], within_seconds=60)
    assert guarded.job(refused_id)["error_code"] == ("database_42883" if code == MISSING else "database_55P03")


# The read


@pytest.mark.parametrize("code", ["22021", "XX001"])
def test_a_submission_that_cannot_be_read_fails(guarded: School, code: str) -> None:
    """A damaged submission fails with its SQLSTATE, also when it is read in the transaction that ends the job before it."""
    first, damaged, last = enter_texts(guarded, 3)
    refuse(guarded.owner, damaged, code, "read")
    with guarded.worker() as worker:
        until(lambda: guarded.is_final(first, damaged, last) and is_idle(worker))
        assert worker.exit_status(0) is None
    assert guarded.job(damaged)["error_code"] == f"database_{code}"
    assert [guarded.results(each) for each in (first, damaged, last)] == [["completed"], ["failed"], ["completed"]]
    assert guarded.calls(FEEDBACK_MODEL) == 2


# The result


@pytest.mark.parametrize("code", in_two_tiers(ROW_CODES, {"23514", "54000", "ZZ999"}))
def test_a_refused_result_fails_its_job_alone(guarded: School, code: str) -> None:
    """The database refuses a result: the job fails with the SQLSTATE after one call, and the worker does the next job."""
    refused_id, other = enter_texts(guarded, 2)
    refuse(guarded.owner, refused_id, code, "complete")
    with guarded.worker() as worker:
        until(lambda: guarded.is_final(refused_id, other) and is_idle(worker))
        totals = counted(worker)
    job, submission = guarded.job(refused_id), guarded.submission(refused_id)
    assert (job["status"], job["error_code"]) == ("failed", f"database_{code}")
    assert (submission["error_code"], submission["feedback_last_error"]) == ("feedback_failed", f"database_{code}")
    assert guarded.results(other) == ["completed"]
    assert totals == {Counter.COMPLETED: 1, Counter.FAILED_FEEDBACK: 1, Counter.FEEDBACK_CALLS: 2}


def test_a_trigger_that_refuses_all_results_fails_one_job(guarded: School) -> None:
    """The first one may be a fault of its row. The others are put aside and are completed when the trigger is corrected."""
    entered = enter_texts(guarded, 5)
    for each in entered:
        refuse(guarded.owner, each, "P0001", "complete")
    with guarded.worker() as worker:
        until(lambda: [guarded.job(each)["error_code"] for each in entered] == ["database_P0001", *["database_P0001_all"] * 4])
        assert [guarded.job(each)["status"] for each in entered] == ["failed", *["queued"] * 4]
        for each in entered:
            accept(guarded.owner, each)
            guarded.change_job("visible_at = now()", each)
        until(lambda: statuses(guarded, *entered[1:]) == {"completed"})
        assert worker.exit_status(0) is None


def test_refused_results_in_a_row_end_when_another_is_written(guarded: School) -> None:
    """Two rows alone are at fault. The second one fails at its next refusal, after the result of a third job."""
    first, second, other = enter_texts(guarded, 3)
    for each in (first, second):
        refuse(guarded.owner, each, "23514", "complete")
    with guarded.worker():
        until(lambda: statuses(guarded, other) == {"completed"})
        guarded.change_job("visible_at = now()", second)
        until(lambda: statuses(guarded, first, second) == {"failed"})
    assert guarded.job(second)["error_code"] == "database_23514"
    assert guarded.calls(FEEDBACK_MODEL) == 4


@pytest.mark.parametrize("write", ["lease", "complete"])
def test_a_row_is_refused_behind_a_pooler_too(guarded: School, write: str) -> None:
    """There each statement is a pipeline, and the session's locks belong to others."""
    refused_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, refused_id, "23514", write)
    with guarded.worker(None, database_pooled="true") as worker:
        until(lambda: statuses(guarded, *others) == {"completed"})
        until(lambda: guarded.job(refused_id)["error_code"] == "database_23514")
        assert worker.exit_status(0) is None


def test_no_permit_is_left_after_a_refused_result(guarded: School) -> None:
    """A permit is a lock of the session, and the session goes on after the refusal."""
    refused_id = enter_one(guarded, next(text_submissions(1, seed=1)))
    refuse(guarded.owner, refused_id, "23514", "complete")
    with guarded.worker() as worker:
        until(lambda: guarded.is_final(refused_id) and is_idle(worker))
        assert guarded.permits() == []


def test_a_refused_failure_is_parked(guarded: School) -> None:
    """Result and failure are refused: the job is put aside without another call, and fails when the database accepts that."""
    refused_id, other = enter_texts(guarded, 2)
    refuse(guarded.owner, refused_id, "P0001", "complete", "fail_submission")
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, other) == {"completed"})
        until(lambda: guarded.job(refused_id)["error_code"])
        job = guarded.job(refused_id)
        assert (job["status"], job["error_code"], job["lease_key"]) == ("queued", "database_P0001", None)
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: guarded.job(refused_id)["retry_count"] == 2)
        accept(guarded.owner, refused_id)
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: statuses(guarded, refused_id) == {"failed"})
        assert worker.exit_status(0) is None
        assert counted(worker)[Counter.FEEDBACK_CALLS] == 2
    assert guarded.results(refused_id) == ["failed"]


@pytest.mark.second_tier
def test_a_job_that_accepts_no_end_stops_no_other(guarded: School) -> None:
    """Not even the job can be put aside: its lease ends by itself, other jobs are done, and the model is called once for it."""
    refused_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, refused_id, "23514", "complete", "fail", "queue", "delete")
    with guarded.worker(None, **SHORT_LEASE) as worker:
        until(lambda: statuses(guarded, *others) == {"completed"})
        until(lambda: len(refusals(worker)) >= 2)
        assert worker.exit_status(0) is None
        assert counted(worker)[Counter.FEEDBACK_CALLS] == 4


@pytest.mark.parametrize(("write", "code"), [("renew", "23514"), ("renew", "54000")])
def test_a_refused_checkpoint_fails_the_job(guarded: School, photo: Submission, write: str, code: str) -> None:
    """A text that cannot be stored is not read again and again."""
    refused_id = enter_one(guarded, photo)
    refuse(guarded.owner, refused_id, code, write)
    with guarded.worker() as worker:
        until(lambda: guarded.is_final(refused_id) and is_idle(worker))
        assert worker.exit_status(0) is None
    assert guarded.submission(refused_id)["error_code"] == "vision_failed"
    assert guarded.job(refused_id)["error_code"] == f"database_{code}"
    assert guarded.calls(VISION_MODEL) <= 1


def test_a_refused_retry_fails_the_job(guarded: School) -> None:
    """The platform's mark_retry raises: the worker goes on and the job fails."""
    refused_id = enter_one(guarded, next(text_submissions(1, seed=1)))
    refuse(guarded.owner, refused_id, "P0001", "retry")
    guarded.simulator.fault("thinking_only", model=FEEDBACK_MODEL)
    with guarded.worker() as worker:
        until(lambda: guarded.is_final(refused_id) and is_idle(worker))
        assert worker.exit_status(0) is None
    assert guarded.job(refused_id)["error_code"] == "database_P0001"
