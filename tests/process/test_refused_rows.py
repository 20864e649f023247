"""The database refuses writes of one row: other jobs go on, no worker ends, and the job fails with the SQLSTATE or is parked."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import LiteralString
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
LEFT = 600
LEAVE: LiteralString = """
    update learning_submission_jobs set payload = payload || '{"analysis_mode": "hologram"}' where submission_id = any(%s)
"""
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


def try_again(school: School, submission_id: UUID) -> None:
    """Let a worker lease a held job now, and wait until the job is held again."""
    leases = len(school.leases(submission_id)) + 1
    school.change_job("visible_at = now()", submission_id)
    until(partial(is_back, school, submission_id, leases))


def is_back(school: School, submission_id: UUID, leases: int) -> bool:
    """Report whether the job is queued after so many leases."""
    return len(school.leases(submission_id)) >= leases and school.job(submission_id)["status"] == "queued"


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


def test_a_refused_row_behind_many_jobs_that_stay_queued_is_found(guarded: School) -> None:
    """Six hundred jobs at the head that no worker here can do are tried one by one, before the row that refuses its lease."""
    *left, refused_id, other = enter_texts(guarded, LEFT + 2)
    guarded.owner.execute(LEAVE, [left])
    refuse(guarded.owner, refused_id, "P0001", "every")
    with guarded.worker():
        until(lambda: statuses(guarded, other) == {"completed"})
    assert statuses(guarded, refused_id, *left) == {"pending"}


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
def test_a_lone_worker_gives_a_refused_job_back(guarded: School) -> None:
    """No other worker can show that one row alone is refused: the job is put back long before its lease ends, uncounted.

    The results of the other jobs show it at the next rehearsal.
    """
    refused_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, refused_id, MISSING, "complete")
    with guarded.worker(None, worker_lease_seconds=600):
        until(lambda: statuses(guarded, *others) == {"completed"}, within_seconds=60)
        job = guarded.job(refused_id)
        assert (job["status"], job["retry_count"], job["payload"].get("expiries")) == ("queued", 0, None)
        until(lambda: guarded.job(refused_id)["error_code"] == "database_42883", within_seconds=60)
    assert (guarded.job(refused_id)["status"], guarded.calls(FEEDBACK_MODEL)) == ("failed", 4)


@pytest.mark.second_tier
def test_a_lone_refused_job_is_held_without_calls(guarded: School) -> None:
    """Without other work there is no evidence. One call is made, and later tries only rehearse until the database accepts it."""
    (refused_id,) = enter_texts(guarded, 1)
    refuse(guarded.owner, refused_id, MISSING, "complete")
    with guarded.worker(None, worker_lease_seconds=600):
        until(lambda: guarded.job(refused_id)["error_code"] == "database_42883_all", within_seconds=60)
        for _ in range(2):
            try_again(guarded, refused_id)
        assert (guarded.job(refused_id)["retry_count"], guarded.calls(FEEDBACK_MODEL)) == (0, 1)
        accept(guarded.owner, refused_id)
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: statuses(guarded, refused_id) == {"completed"})


@pytest.mark.second_tier
def test_a_job_whose_result_is_locked_is_held(guarded: School) -> None:
    """A lock ends some time: its job waits without an attempt and without another call to the model, and is done then."""
    locked_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, locked_id, "55P03", "complete")
    with guarded.worker(None, worker_lease_seconds=600):
        until(lambda: statuses(guarded, *others) == {"completed"}, within_seconds=60)
        try_again(guarded, locked_id)
        assert (guarded.job(locked_id)["error_code"], guarded.job(locked_id)["retry_count"]) == ("database_55P03_all", 0)
        assert guarded.calls(FEEDBACK_MODEL) == 4
        accept(guarded.owner, locked_id)
        guarded.change_job("visible_at = now()", locked_id)
        until(lambda: statuses(guarded, locked_id) == {"completed"})


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
    """The answer is kept while another result is written, and refused again: the job fails with the SQLSTATE after one call."""
    refused_id, other = enter_texts(guarded, 2)
    refuse(guarded.owner, refused_id, code, "complete")
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, other) == {"completed"} and is_idle(worker))
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: guarded.is_final(refused_id) and is_idle(worker))
        totals = counted(worker)
    job, submission = guarded.job(refused_id), guarded.submission(refused_id)
    assert (job["status"], job["error_code"]) == ("failed", f"database_{code}")
    assert (submission["error_code"], submission["feedback_last_error"]) == ("feedback_failed", f"database_{code.lower()}")
    assert guarded.results(other) == ["completed"]
    assert totals == {Counter.COMPLETED: 1, Counter.FAILED_FEEDBACK: 1, Counter.FEEDBACK_CALLS: 2}


@pytest.mark.parametrize("pooled", ["false", "true"])
def test_a_trigger_that_refuses_all_results_fails_no_job(guarded: School, pooled: str) -> None:
    """No result shows that one row alone is at fault. One call shows the refusal, and its answer is written after the repair."""
    entered = enter_texts(guarded, 5)
    for each in entered:
        refuse(guarded.owner, each, "P0001", "complete")
    with guarded.worker(None, database_pooled=pooled) as worker:
        until(lambda: {guarded.job(each)["error_code"] for each in entered} == {"database_P0001_all"})
        try_again(guarded, entered[0])
        assert {(guarded.job(each)["status"], guarded.job(each)["retry_count"]) for each in entered} == {("queued", 0)}
        assert guarded.calls(FEEDBACK_MODEL) == 1
        for each in entered:
            accept(guarded.owner, each)
            guarded.change_job("visible_at = now()", each)
        until(lambda: statuses(guarded, *entered) == {"completed"})
        assert worker.exit_status(0) is None
    assert guarded.calls(FEEDBACK_MODEL) == 5
    assert [guarded.results(each) for each in entered] == [["completed"]] * 5


def test_refused_results_in_a_row_end_when_another_is_written(guarded: School) -> None:
    """Two rows alone are at fault. Both fail after the result of a third job, without another call to the model."""
    first, second, other = enter_texts(guarded, 3)
    for each in (first, second):
        refuse(guarded.owner, each, "23514", "complete")
    with guarded.worker():
        until(lambda: statuses(guarded, other) == {"completed"})
        for each in (first, second):
            guarded.change_job("visible_at = now()", each)
        until(lambda: statuses(guarded, first, second) == {"failed"})
    assert {guarded.job(each)["error_code"] for each in (first, second)} == {"database_23514"}
    assert guarded.calls(FEEDBACK_MODEL) == 2


@pytest.mark.parametrize("write", ["lease", "complete"])
def test_a_row_is_refused_behind_a_pooler_too(guarded: School, write: str) -> None:
    """There each statement is a pipeline, and the session's locks belong to others."""
    refused_id, *others = enter_texts(guarded, 4)
    refuse(guarded.owner, refused_id, "23514", write)
    with guarded.worker(None, database_pooled="true") as worker:
        until(lambda: statuses(guarded, *others) == {"completed"})
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: guarded.job(refused_id)["error_code"] == "database_23514")
        assert worker.exit_status(0) is None


def test_no_permit_is_left_after_a_refused_result(guarded: School) -> None:
    """A permit is a lock of the session, which ends with the refused statement, a moment after the worker has gone on."""
    refused_id = enter_one(guarded, next(text_submissions(1, seed=1)))
    refuse(guarded.owner, refused_id, "23514", "complete")
    with guarded.worker() as worker:
        until(lambda: guarded.job(refused_id)["error_code"] == "database_23514_all" and is_idle(worker))
        until(lambda: guarded.permits() == [])


def test_a_refused_failure_is_parked(guarded: School) -> None:
    """Result and failure are refused: the job is put aside without another call, and fails when the database accepts that."""
    refused_id, other = enter_texts(guarded, 2)
    refuse(guarded.owner, refused_id, "P0001", "complete", "fail_submission")
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, other) == {"completed"})
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: guarded.job(refused_id)["error_code"] == "database_P0001")
        job = guarded.job(refused_id)
        assert (job["status"], job["lease_key"], job["retry_count"]) == ("queued", None, 1)
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


@pytest.mark.parametrize("code", in_two_tiers(["23514", MISSING], {"23514"}))
def test_a_job_that_accepts_no_end_costs_one_call_of_all_workers(guarded: School, code: str) -> None:
    """Each lease ends by itself, and a worker without memory of the row takes the job next. It learns of the refusal first."""
    (refused_id,) = enter_texts(guarded, 1)
    refuse(guarded.owner, refused_id, code, "complete", "fail", "queue", "delete")
    for _ in range(3):
        with guarded.worker() as worker:
            until(lambda: refusals(worker) and is_idle(worker), within_seconds=90)
        guarded.change_job("leased_until = now() - interval '1 second'", refused_id)
    assert (len(guarded.leases(refused_id)), guarded.calls(FEEDBACK_MODEL)) == (3, 1)


def test_an_answer_outlives_a_database_that_takes_no_end(guarded: School) -> None:
    """A trigger refuses every end of the job for a while. After the repair the next worker writes the answer of the only call."""
    (refused_id,) = enter_texts(guarded, 1)
    refuse(guarded.owner, refused_id, "P0001", "complete", "fail", "queue", "delete")
    with guarded.worker() as worker:
        until(lambda: refusals(worker) and is_idle(worker))
        accept(guarded.owner, refused_id)
        guarded.change_job("leased_until = now() - interval '1 second'", refused_id)
        until(lambda: guarded.is_final(refused_id))
    assert (guarded.results(refused_id), guarded.calls(FEEDBACK_MODEL)) == (["completed"], 1)


def test_a_result_that_is_refused_by_its_text_is_not_made_again(guarded: School) -> None:
    """No rehearsal shows this refusal. The reason in the row, which accepts no end, spares the next worker the call."""
    (refused_id,) = enter_texts(guarded, 1)
    refuse(guarded.owner, refused_id, "23514", "fail", "queue")
    guarded.owner.execute(
        "alter table learning_submissions add constraint refused check (feedback_md is null or feedback_md = 'rehearsal')"
    )
    try:
        for _ in range(3):
            with guarded.worker() as worker:
                until(lambda: refusals(worker) and is_idle(worker))
            guarded.change_job("leased_until = now() - interval '1 second'", refused_id)
    finally:
        guarded.owner.execute("alter table learning_submissions drop constraint refused")
    assert (len(guarded.leases(refused_id)), guarded.calls(FEEDBACK_MODEL)) == (3, 1)


@pytest.mark.parametrize(("write", "code"), [("renew", "23514"), ("renew", "54000")])
def test_a_refused_checkpoint_fails_the_job(guarded: School, photo: Submission, write: str, code: str) -> None:
    """Another photo shows that the row alone is at fault. A text that cannot be stored is not read again and again."""
    refused_id, other = guarded.enter(photo, photo)
    refuse(guarded.owner, refused_id, code, write)
    with guarded.worker() as worker:
        until(lambda: statuses(guarded, other) == {"completed"})
        guarded.change_job("visible_at = now()", refused_id)
        until(lambda: guarded.is_final(refused_id) and is_idle(worker))
        assert worker.exit_status(0) is None
    assert guarded.submission(refused_id)["error_code"] == "vision_failed"
    assert guarded.job(refused_id)["error_code"] == f"database_{code}"
    assert guarded.calls(VISION_MODEL) <= 2


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("code", in_two_tiers(["P0001", MISSING], {"P0001"}))
def test_a_trigger_that_refuses_all_checkpoints_holds_the_jobs(
    guarded: School, demo: tuple[Submission, ...], pages: int, code: str
) -> None:
    """One model call shows it, for single pages too. The other jobs go back without an attempt and are done later."""
    entered = guarded.enter(*[each for each in demo if each.mime_type == ("image/png" if pages == 1 else "application/pdf")] * 4)
    for each in entered:
        refuse(guarded.owner, each, code, "checkpoint")
    reason = "database_P0001_all" if code != MISSING else "database_42883_all"
    with guarded.worker() as worker:
        until(lambda: {guarded.job(each)["error_code"] for each in entered} == {reason}, within_seconds=60)
        first, *others = [guarded.job(each) for each in entered]
        assert first["retry_count"] == (1 if code != MISSING else 0)
        assert {(job["status"], job["retry_count"], job["payload"].get("expiries")) for job in others} == {("queued", 0, None)}
        assert statuses(guarded, *entered) == {"pending"}
        assert guarded.calls(VISION_MODEL) == 1
        for each in entered:
            accept(guarded.owner, each)
            guarded.change_job("visible_at = now()", each)
        until(lambda: statuses(guarded, *entered) == {"completed"})
        assert worker.exit_status(0) is None


@pytest.mark.second_tier
def test_a_page_whose_checkpoint_is_refused_is_put_back_before_its_lease_ends(guarded: School, photo: Submission) -> None:
    """The reason in the row spares the next worker a call to the model."""
    (refused_id,) = guarded.enter(photo)
    refuse(guarded.owner, refused_id, MISSING, "checkpoint")
    for leases in (1, 2):
        with guarded.worker(None, **SHORT_LEASE, ai_timeout_vision=2):
            until(partial(is_back, guarded, refused_id, leases), within_seconds=60)
        job = guarded.job(refused_id)
        assert (job["error_code"], job["retry_count"], len(guarded.leases(refused_id))) == ("database_42883_all", 0, leases)
        guarded.change_job("visible_at = now()", refused_id)
    assert guarded.calls(VISION_MODEL) == 1


def test_a_trigger_that_refuses_every_begin_of_a_step_holds_the_jobs(guarded: School) -> None:
    """All jobs go back without an attempt. A new worker fails none of these."""
    entered = enter_texts(guarded, 4)
    for each in entered:
        refuse(guarded.owner, each, "P0001", "renew")
    with guarded.worker(None, ai_backend="stub"):
        until(lambda: {guarded.job(each)["error_code"] for each in entered} == {"database_P0001_all"})
        assert {guarded.job(each)["retry_count"] for each in entered} == {0}
    with guarded.worker(None, ai_backend="stub"):
        try_again(guarded, entered[1])
        assert guarded.job(entered[1])["error_code"] == "database_P0001_all"
        for each in entered:
            accept(guarded.owner, each)
            guarded.change_job("visible_at = now()", each)
        until(lambda: statuses(guarded, *entered) == {"completed"})


def test_refused_checkpoints_in_a_row_end_when_another_is_written(guarded: School, photo: Submission) -> None:
    """Two rows alone are at fault. Both fail after the checkpoint of a third job, without another call to the model."""
    first, second, other = guarded.enter(photo, photo, photo)
    for each in (first, second):
        refuse(guarded.owner, each, "23514", "checkpoint")
    with guarded.worker():
        until(lambda: statuses(guarded, other) == {"completed"})
        for each in (first, second):
            guarded.change_job("visible_at = now()", each)
        until(lambda: statuses(guarded, first, second) == {"failed"})
    assert [guarded.job(each)["error_code"] for each in (first, second)] == ["database_23514"] * 2
    assert guarded.calls(VISION_MODEL) == 2


def test_a_checkpoint_that_is_refused_by_its_text_uses_attempts(guarded: School, photo: Submission) -> None:
    """No rehearsal shows this refusal. The page is read again as often as after any other error."""
    first, second = guarded.enter(photo, photo)
    guarded.owner.execute(
        "alter table learning_submission_jobs add constraint refused"
        " check (coalesce(payload ->> 'cached_text_md', 'rehearsal') = 'rehearsal')"
    )
    try:
        with guarded.worker(None, worker_max_retries=1):
            until(lambda: {guarded.job(each)["error_code"] for each in (first, second)} == {"database_23514_all"})
            assert [guarded.job(each)["retry_count"] for each in (first, second)] == [1, 1]
            for each in (first, second):
                guarded.change_job("visible_at = now()", each)
            until(lambda: statuses(guarded, first, second) == {"failed"})
    finally:
        guarded.owner.execute("alter table learning_submission_jobs drop constraint refused")
    assert guarded.calls(VISION_MODEL) == 4


def test_a_refused_retry_fails_the_job(guarded: School) -> None:
    """The platform's mark_retry raises: the worker goes on and the job fails."""
    refused_id = enter_one(guarded, next(text_submissions(1, seed=1)))
    refuse(guarded.owner, refused_id, "P0001", "retry")
    guarded.simulator.fault("thinking_only", model=FEEDBACK_MODEL)
    with guarded.worker() as worker:
        until(lambda: guarded.is_final(refused_id) and is_idle(worker))
        assert worker.exit_status(0) is None
    assert guarded.job(refused_id)["error_code"] == "database_P0001"
