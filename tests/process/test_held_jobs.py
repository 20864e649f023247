"""Failures that are not the job's fault hold it: no attempt is used, and the work is done when the surroundings are back."""

from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from testkit.bare_worker import BareWorker
from testkit.drawn_pages import draw_page, pdf_bytes
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, School, counted, enter_one, finish, is_idle
from testkit.submissions import Submission
from testkit.waiting import until
from worker.core.evidence import HeldFailure
from worker.core.faults import Suspicion
from worker.ipc.contract import Counter, EventKind, Step
from worker.ipc.scoreboard import AdmissionRecord

pytestmark = pytest.mark.postgres

NOWHERE = "http://127.0.0.1:9"
DAY_SECONDS = 86_400
PAGES, PHOTOS = 20, 14


def held(worker: BareWorker) -> int:
    """Jobs held so far, some of them several times."""
    return worker.record().counters[Counter.HELD]


def until_held(worker: BareWorker, times: int) -> None:
    until(lambda: held(worker) >= times, what=f"{times} holds")


def jobs(school: School) -> list[tuple[str, int, str | None]]:
    rows = school.all("select status, retry_count, error_code from learning_submission_jobs")
    return [(row["status"], row["retry_count"], row["error_code"]) for row in rows]


def let_run(school: School, *submission_ids: UUID) -> None:
    """End the delays of held jobs."""
    for each in submission_ids:
        school.change_job("visible_at = now()", each)


# The surroundings

AWAY: dict[str, tuple[dict[str, Any], str]] = {
    "no model server": ({"ollama_base_url": NOWHERE}, "ServerUnreachable"),
    "no object store": (
        {"storage_verify_root": "", "supabase_url": NOWHERE, "supabase_service_role_key": "key"},
        "StoreUnreachable",
    ),
}


@pytest.mark.parametrize(("settings", "error_class"), AWAY.values(), ids=AWAY.keys())
def test_photos_wait_for_what_is_away(school: School, photo: Submission, settings: dict[str, Any], error_class: str) -> None:
    """A worker that meets its first photos while a server is away holds them, without any retry. Later all are completed."""
    entered = school.enter(*[photo] * PHOTOS)
    with school.worker(worker_max_retries=0, **settings) as worker:
        until_held(worker, PHOTOS + 5)
        assert set(counted(worker)) == {Counter.RELEASED}
        until(lambda: is_idle(worker))
    assert jobs(school) == [("queued", 0, error_class)] * PHOTOS
    let_run(school, *entered)
    with school.worker(worker_max_retries=0) as worker:
        until(lambda: school.is_final(*entered))
    assert [school.results(each) for each in entered] == [["completed"]] * PHOTOS


@pytest.mark.parametrize(("fault", "error_class"), [("status_404", "ModelMissing"), ("status_503", "Unavailable")])
def test_a_text_waits_for_its_model(school: School, typed: Submission, fault: str, error_class: str) -> None:
    """A model that is not there, or has no room, uses no attempt, and the event and the row name the class."""
    submission_id = enter_one(school, typed)
    school.simulator.fault(fault, model=FEEDBACK_MODEL, times=2)
    with school.worker(worker_max_retries=0) as worker:
        until_held(worker, 1)
        assert jobs(school) == [("queued", 0, error_class)]
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        settled = [event for event in worker.read_events() if event.kind is EventKind.SETTLED]
    assert [(event.outcome, event.error_class) for event in settled] == [("released_held", error_class)] * 2 + [("completed", "")]


def test_a_job_held_at_a_closed_gate_is_passed_over(school: School, photo: Submission, typed: Submission) -> None:
    """An outdated text in its payload makes it look ready for the open gate. It is held once, and the text behind it is done."""
    stale = enter_one(school, photo)
    school.change_job("payload = payload || %s", stale, Jsonb({"cached_text_md": "old", "cached_from": "another model"}))
    settings: dict[str, Any] = {"storage_verify_root": "", "supabase_url": NOWHERE, "supabase_service_role_key": "key"}
    with school.admitted(AdmissionRecord(vision_calls=0), **settings) as worker:
        until_held(worker, 1)
        before = school.job(stale)["visible_at"]
        text = enter_one(school, typed)
        until(lambda: school.results(text) == ["completed"] and is_idle(worker))
        assert (held(worker), school.job(stale)["visible_at"]) == (1, before)


def test_a_job_held_while_both_gates_were_closed_is_found_again(school: School, typed: Submission) -> None:
    """The only open gate closes during its call and opens later. No request was made in between, and the job is found again."""
    submission_id = enter_one(school, typed)
    school.simulator.fault("hang", model=FEEDBACK_MODEL)
    with school.admitted(AdmissionRecord(vision_calls=0), ai_timeout_feedback=1) as worker:
        until(lambda: school.is_called(FEEDBACK_MODEL))
        worker.admit(AdmissionRecord(vision_calls=0, feedback_calls=0))
        until(lambda: held(worker) == 1 and is_idle(worker))
        worker.admit(AdmissionRecord(vision_calls=0))
        until(lambda: school.results(submission_id) == ["completed"])


def test_only_its_age_ends_a_held_job(school: School, photo: Submission) -> None:
    """WORKER_MAX_JOB_AGE_SECONDS fails it, and the row's error code says that it was held and why."""
    submission_id = enter_one(school, photo)
    school.change_job("created_at = now() - interval '2 days'", submission_id)
    with school.worker(ollama_base_url=NOWHERE, worker_max_job_age_seconds=DAY_SECONDS) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert counted(worker) == {Counter.FAILED_VISION: 1, Counter.HELD_TOO_LONG: 1}
        (settled,) = [event for event in worker.read_events() if event.kind is EventKind.SETTLED]
    assert jobs(school) == [("failed", 0, "held_too_long:ServerUnreachable")]
    assert school.submission(submission_id)["error_code"] == "vision_failed"
    assert (settled.outcome, settled.error_class) == ("held_too_long", "ServerUnreachable")


# Suspects


def test_a_lone_job_is_given_the_benefit_of_the_doubt(school: School, typed: Submission) -> None:
    """A server error for the only job in a quiet hour is held again and again, and completed when it passes."""
    submission_id = enter_one(school, typed)
    school.simulator.fault("status_500", model=FEEDBACK_MODEL, times=3)
    with school.worker(worker_max_retries=0) as worker:
        for times in (1, 2, 3):
            until_held(worker, times)
            let_run(school, submission_id)
        until(lambda: school.is_final(submission_id))
    assert school.results(submission_id) == ["completed"]


def test_a_probe_that_was_answered_convicts_a_dying_job(school: School, typed: Submission) -> None:
    """The monitor's request was answered between two failures, so each second one uses an attempt, until none is left."""
    submission_id = enter_one(school, typed)
    school.simulator.fault("status_500", model=FEEDBACK_MODEL, times=100)
    with school.worker(worker_max_retries=1) as worker:
        for probes in (1, 2):
            until_held(worker, probes)
            until(lambda: is_idle(worker))
            assert school.job(submission_id)["payload"]["suspect"]["group"] == "died"
            worker.admit(AdmissionRecord(feedback_probes=probes))
            let_run(school, submission_id)
        until(lambda: school.is_final(submission_id))
        assert held(worker) == 2
    assert jobs(school) == [("failed", 1, "feedback_failed")]
    assert school.calls(FEEDBACK_MODEL) == 4


def test_a_probe_convicts_no_job_beside_others_that_failed(school: School, typed: Submission) -> None:
    """They failed before it, and none was answered since: the model answers probes and fails every call."""
    submission_id = enter_one(school, typed)
    school.simulator.fault("status_500", model=FEEDBACK_MODEL, times=4)
    with school.admitted(AdmissionRecord(feedback_suspects=4), worker_max_retries=0) as worker:
        for probes in (1, 2, 3, 4):
            until_held(worker, probes)
            until(lambda: is_idle(worker))
            worker.admit(AdmissionRecord(feedback_probes=probes, feedback_suspects=4))
            let_run(school, submission_id)
        until(lambda: school.is_final(submission_id))
    assert school.results(submission_id) == ["completed"]


def test_calls_of_other_jobs_convict_a_job(school: School, typed: Submission) -> None:
    """A text at which the server always fails is held once, and uses its attempt after another text was answered."""
    bad, good = (replace(typed, content=text) for text in ("the word is xyzzy", "two plus two is four"))
    suspect = enter_one(school, bad)
    school.simulator.fault("status_500", model=FEEDBACK_MODEL, times=100, containing="xyzzy")
    with school.worker(worker_max_retries=0) as worker:
        until_held(worker, 1)
        school.change_job("visible_at = now() + interval '1 hour'", suspect)
        other = enter_one(school, good)
        until(lambda: school.results(other) == ["completed"])
        let_run(school, suspect)
        until(lambda: school.is_final(suspect, other))
        assert held(worker) == 1
    assert school.submission(suspect)["error_code"] == "feedback_failed"


def test_another_instance_knows_nothing(school: School, typed: Submission) -> None:
    """Counts of another instance or of before a restart are no evidence."""
    submission_id = enter_one(school, typed)
    held_failure = HeldFailure(Suspicion.DIED, "ServerError", Step.FEEDBACK, 999, answered=-5, in_flight=0, died=0, probes=-5)
    school.change_job("payload = payload || %s", submission_id, Jsonb({"suspect": held_failure.as_json()}))
    school.simulator.fault("status_500", model=FEEDBACK_MODEL)
    with school.worker(worker_max_retries=0) as worker:
        until(lambda: school.is_final(submission_id))
        assert held(worker) == 1
    assert school.results(submission_id) == ["completed"]


# Pages


@cache
def long_document(whole: Submission) -> Submission:
    return replace(whole, content=pdf_bytes([draw_page(f"page {number}", seed=1) for number in range(1, PAGES + 1)]))


def test_pages_have_attempts_of_their_own(school: School, demo: tuple[Submission, ...]) -> None:
    """A document of twenty pages, of which every fifth fails once, is completed with a single retry."""
    document = long_document(next(each for each in demo if each.kind == "file"))
    submission_id = enter_one(school, document)
    for _ in range(4):
        school.simulator.fault("slow", model=VISION_MODEL, times=4, seconds=0)
        school.simulator.fault("truncated", model=VISION_MODEL)
        school.simulator.fault("slow", model=VISION_MODEL, times=1, seconds=0)
    done = finish(school, submission_id, worker_max_retries=1, learning_feedback_adapter="worker.adapters.stub")
    assert (done[Counter.VISION_CALLS], done[Counter.RETRIED_VISION]) == (PAGES + 4, 4)
    assert school.results(submission_id) == ["completed"]


# The ladder


def rungs(worker: BareWorker) -> list[tuple[str, str]]:
    return [(event.outcome, event.error_class) for event in worker.read_events() if event.kind is EventKind.NEXT_RUNG]


def test_each_retry_of_a_page_differs(school: School, photo: Submission) -> None:
    """Four attempts at a page differ in temperature, seed, prompt and picture. The log names each rung and why."""
    submission_id = enter_one(school, photo)
    school.simulator.fault("truncated", model=VISION_MODEL, times=3)
    with school.worker(worker_max_retries=3) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        reported = rungs(worker)
    calls = [call for call in school.simulator.calls() if call["model"] == VISION_MODEL]
    assert [(call["temperature"], call["seed"]) for call in calls] == [(0, 1), (0.3, 3), (0.7, 5), (0.7, 7)]
    pictures, prompts = [call["image_sha256"] for call in calls], [call["prompt_sha256"] for call in calls]
    assert (len(set(pictures[:3])), len(set(pictures)), len(set(prompts))) == (1, 2, 2)
    assert reported == [
        ("temperature_0.3", "AnswerTruncated"),
        ("temperature_0.7_strict", "AnswerTruncated"),
        ("smaller_or_reworded", "AnswerTruncated"),
    ]
    assert school.results(submission_id) == ["completed"]


def test_each_retry_of_a_text_differs(school: School, typed: Submission) -> None:
    """Four attempts at a feedback differ in temperature, seed and closing sentence."""
    submission_id = enter_one(school, typed)
    school.simulator.fault("thinking_only", model=FEEDBACK_MODEL, times=3)
    with school.worker(worker_max_retries=3) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert [name for name, _ in rungs(worker)] == ["temperature_0.3", "temperature_0.7_strict", "smaller_or_reworded"]
    calls = school.simulator.calls()
    assert [(call["temperature"], call["seed"]) for call in calls] == [(0, 1), (0.3, 3), (0.7, 5), (0.7, 7)]
    assert len({call["prompt_sha256"] for call in calls}) == 3
    assert school.results(submission_id) == ["completed"]
