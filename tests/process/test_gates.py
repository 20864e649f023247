"""A worker and what the monitor admits: it calls no model behind a closed gate, and works on what may continue."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from testkit.bare_worker import BareWorker
from testkit.drawn_pages import draw_page, pdf_bytes
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, WAITED_FOR, School, counted, enter_one, is_idle
from testkit.site import Site
from testkit.submissions import Submission, text_submissions
from testkit.waiting import until
from worker.ipc.contract import CallOutcome, Counter, EventKind, Step
from worker.ipc.scoreboard import AdmissionRecord, MonitorRecord

OPEN, CLOSED = AdmissionRecord(), AdmissionRecord(vision_calls=0, feedback_calls=0)
NO_VISION, NO_FEEDBACK = AdmissionRecord(vision_calls=0), AdmissionRecord(feedback_calls=0)
LONG_SECONDS = 60.0


@pytest.fixture
def proxy(school: School) -> Iterator[PgProxy]:
    with proxy_before(school.database.worker_dsn) as before:
        yield before


def outcomes(worker: BareWorker) -> list[str]:
    return [event.outcome for event in worker.read_events() if event.kind is EventKind.SETTLED]


# The gate of a step


def test_a_job_at_a_closed_gate_is_released_for_another(school: School, photo: Submission) -> None:
    """After its checkpoint the job goes back to its place without an attempt, and another one is read. No picture is read
    twice.
    """
    school.simulator.fault("slow", model=VISION_MODEL, seconds=0.3)
    first, second = school.enter(photo, photo)
    entered_job = school.job(first)
    with school.worker() as worker:
        until(lambda: school.is_called(VISION_MODEL))
        worker.admit(NO_FEEDBACK)
        until(lambda: counted(worker).get(Counter.RELEASED) == 2 and is_idle(worker))
        job = school.job(first)
        assert (job["status"], job["retry_count"], job["visible_at"]) == ("queued", 0, entered_job["visible_at"])
        assert [school.job(each)["payload"]["cached_text_md"] for each in (first, second)] == [photo.expected_text] * 2
        assert (school.calls(FEEDBACK_MODEL), school.submission(first)["error_code"]) == (0, None)
        assert outcomes(worker) == ["released_gate", "released_gate"]
        worker.admit(OPEN)
        until(lambda: school.is_final(first, second) and is_idle(worker))
        assert counted(worker)[Counter.OCR_REUSED] == 2
    assert [school.results(each) for each in (first, second)] == [["completed"], ["completed"]]
    assert school.calls(VISION_MODEL) == 2


def test_jobs_without_a_vision_step_pass_a_closed_vision_gate(school: School, photo: Submission, typed: Submission) -> None:
    """While the vision model's gate is closed, jobs with typed text or finished OCR run, and pictures before them wait."""
    picture, was_read, text = school.enter(photo, photo, typed)
    school.owner.execute("update learning_submissions set analysis_status = 'extracted' where id = %s", [was_read])
    school.change_job('payload = payload || \'{"cached_text_md": "read"}\'', was_read)
    with school.admitted(NO_VISION) as worker:
        until(lambda: school.results(text) == school.results(was_read) == ["completed"] and is_idle(worker))
        assert school.leases(picture) == []
        worker.admit(OPEN)
        until(lambda: school.results(picture) == ["completed"])
    assert school.calls(VISION_MODEL) == 1


def test_an_unusable_checkpoint_leads_to_the_closed_gate_once(school: School, photo: Submission, typed: Submission) -> None:
    """A job with a text of another model meets the closed gate once, and does not block other jobs."""
    stale, later = school.enter(photo, photo)
    for submission_id in (stale, later):
        school.change_job('payload = payload || \'{"cached_text_md": "old", "cached_from": "another"}\'', submission_id)
    with school.admitted(NO_VISION) as worker:
        text = enter_one(school, typed)
        until(lambda: school.results(text) == ["completed"] and is_idle(worker))
        more = enter_one(school, typed)
        until(lambda: school.results(more) == ["completed"] and is_idle(worker))
        assert [len(school.leases(each)) for each in (stale, later)] == [1, 1]
        worker.admit(OPEN)
        until(lambda: school.is_final(stale, later, text, more))
    assert school.submission(stale)["text_body"] == photo.expected_text


def test_two_models_in_turn(school: School, photo: Submission) -> None:
    """All pictures are read while the one gate is open, and judged while the other one is, by one and the same worker."""
    entered = school.enter(photo, photo, photo)
    with school.admitted(NO_FEEDBACK) as worker:
        until(lambda: outcomes(worker) == ["released_gate"] * 3 and is_idle(worker))
        worker.admit(NO_VISION)
        until(lambda: school.is_final(*entered) and is_idle(worker))
        assert counted(worker) == {
            Counter.COMPLETED: 3,
            Counter.RELEASED: 3,
            Counter.OCR_REUSED: 3,
            Counter.VISION_CALLS: 3,
            Counter.FEEDBACK_CALLS: 3,
        }


def test_a_document_is_released_between_two_pages(school: School, demo: tuple[Submission, ...], typed: Submission) -> None:
    """A gate that closes during a page lets that page finish and keeps it. The rest is read when the gate opens."""
    whole = next(each for each in demo if each.kind == "file")
    document = replace(whole, content=pdf_bytes([draw_page(word, seed=1) for word in ("eins", "zwei", "drei")]))
    school.simulator.fault("slow", model=VISION_MODEL, seconds=0.3)
    submission_id = enter_one(school, document)
    with school.worker() as worker:
        until(lambda: school.is_called(VISION_MODEL))
        worker.admit(NO_VISION)
        until(lambda: outcomes(worker) == ["released_gate"])
        job = school.job(submission_id)
        assert (job["status"], job["retry_count"], len(job["payload"]["cached_pages"])) == ("queued", 0, 1)
        assert school.permits() == []
        text = enter_one(school, typed)
        until(lambda: school.results(text) == ["completed"])
        worker.admit(OPEN)
        until(lambda: school.results(submission_id) == ["completed"])
    assert school.calls(VISION_MODEL) == 3


def test_a_worker_behind_a_closed_gate_takes_no_permit(school: School, typed: Submission) -> None:
    """A gate that closes while a worker stands in line for the model sends it away with its job untouched."""
    with school.place_taken(FEEDBACK_MODEL, typed):
        submission_id = enter_one(school, typed)
        with school.worker() as worker:
            until(lambda: WAITED_FOR in school.permits())
            worker.admit(NO_FEEDBACK)
            until(lambda: outcomes(worker) == ["released_gate"])
            assert (school.job(submission_id)["status"], school.job(submission_id)["retry_count"]) == ("queued", 0)
    assert school.calls(FEEDBACK_MODEL) == 1


def test_a_stub_has_no_gate(school: School, photo: Submission) -> None:
    """A stub calls no model, so both gates may be closed."""
    submission_id = enter_one(school, photo)
    with school.admitted(CLOSED, ai_backend="stub"):
        until(lambda: school.results(submission_id) == ["completed"])


# Leave to lease


SHUT = {
    "both gates": CLOSED,
    "no slot": AdmissionRecord(slots=0),
    "a monitor that has fallen silent": AdmissionRecord(until_seconds=0.0),
}


@pytest.mark.parametrize("record", SHUT.values(), ids=SHUT.keys())
def test_a_worker_that_may_not_lease_sends_no_statement(
    school: School, proxy: PgProxy, typed: Submission, record: AdmissionRecord
) -> None:
    """While no job may continue, no worker sends a statement. As soon as one may, it is done."""
    submission_id = enter_one(school, typed)
    with school.admitted(record, learning_database_url=proxy.dsn) as worker:
        let_look(worker)
        assert (proxy.round_trips, school.leases(submission_id)) == (0, [])
        worker.admit(AdmissionRecord(slots=1, until_seconds=time.monotonic() + LONG_SECONDS))
        until(lambda: school.results(submission_id) == ["completed"])


def let_look(worker: BareWorker) -> None:
    """Waits until a worker that polls has come by from the start: the first time it may have been on its way."""
    for _ in range(2):
        seen_seconds = worker.record().alive_seconds
        until(lambda: worker.record().alive_seconds > seen_seconds and is_idle(worker))  # noqa: B023  asked at once


def test_a_worker_finishes_its_job_while_the_monitor_is_stopped(school: School, photo: Submission) -> None:
    """After its admission expires, a worker takes no further job and finishes both steps of its present one."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=0.3)
    first, second = school.enter(photo, photo)
    with school.worker() as worker:
        until(lambda: school.is_called(VISION_MODEL))
        worker.admit(AdmissionRecord(until_seconds=0.0))
        until(lambda: school.results(first) == ["completed"] and is_idle(worker))
        assert school.leases(second) == []


def test_a_worker_notices_an_opened_gate_without_a_wake_up(school: School, photo: Submission) -> None:
    """An idle worker polls again without a wake-up as soon as it may do more than at its last poll."""
    with school.admitted(NO_VISION, worker_poll_interval=LONG_SECONDS) as worker:
        worker.read_queue(MonitorRecord(polled_at_seconds=math.inf))
        until(lambda: is_idle(worker))
        submission_id, idle_since_seconds = enter_one(school, photo), worker.record().alive_seconds
        worker.wake()
        until(lambda: is_idle(worker) and worker.record().alive_seconds > idle_since_seconds)
        worker.admit(OPEN)
        until(lambda: school.results(submission_id) == ["completed"])


# Permits


def test_concurrent_calls_reach_the_admitted_number(school: School) -> None:
    """If one call is admitted, four workers with separate scoreboards use one of two permits."""
    entered = school.enter(*text_submissions(12, seed=1))
    one = AdmissionRecord(feedback_calls=1)
    with (
        school.admitted(one, ollama_num_parallel=2),
        school.admitted(one, ollama_num_parallel=2),
        school.admitted(one, ollama_num_parallel=2),
        school.admitted(one, ollama_num_parallel=2),
    ):
        until(lambda: school.is_final(*entered))
    assert school.simulator.state()["models"][FEEDBACK_MODEL]["max_in_flight"] == 1
    assert all(school.results(submission_id) == ["completed"] for submission_id in entered)


def test_two_instances_together_keep_the_limit_of_calls(site: Site) -> None:
    """Under two supervisors with three workers each, a model has OLLAMA_NUM_PARALLEL calls at once and never more."""
    site.simulator.reset_calls()
    parallel = 2
    for model in (VISION_MODEL, FEEDBACK_MODEL):
        site.simulator.fault("slow", model=model, times=2 * parallel, seconds=0.2)
    entered = [*site.enter_photos(6), *site.enter_texts(6)]
    for name in ("one", "two"):
        site.start(worker_concurrency=3, ollama_num_parallel=parallel, runtime_directory=site.directory / name)
    site.until_done_once(entered)
    models = site.simulator.state()["models"]
    assert [models[model]["max_in_flight"] for model in (VISION_MODEL, FEEDBACK_MODEL)] == [parallel, parallel]


# Events of calls


def test_each_model_call_is_reported(school: School, photo: Submission) -> None:
    """Each call sends one event with its step and its job, beside the job's own. A failed vision call sends one too."""
    school.simulator.fault("status_500", model=VISION_MODEL)
    submission_id = enter_one(school, photo)
    job_id = school.job(submission_id)["id"]
    with school.worker() as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        calls = [event for event in worker.read_events() if event.kind is EventKind.CALL]
    assert [(event.step, event.call.outcome) for event in calls if event.call] == [
        (Step.VISION, CallOutcome.FAILED),
        (Step.VISION, CallOutcome.ANSWERED),
        (Step.FEEDBACK, CallOutcome.ANSWERED),
    ]
    assert {event.job_id for event in calls} == {job_id}


def test_a_stub_calls_no_model(school: School, photo: Submission) -> None:
    """Invented results are no calls."""
    submission_id = enter_one(school, photo)
    with school.worker(ai_backend="stub") as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert EventKind.CALL not in {event.kind for event in worker.read_events()}
