"""A worker with the adapters for Ollama judges pages as pictures, and conversations: what is stored, and what a death costs."""

import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from testkit.bare_worker import BareWorker
from testkit.class_tasks import open_task
from testkit.database import Database, temporary_database
from testkit.drawn_pages import draw_page, pdf_bytes
from testkit.inputs.hard_pages import BLURRED
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, School, counted, enter_one, finish, is_idle
from testkit.submissions import Submission
from testkit.waiting import until
from worker.adapters.remarks import GERMAN
from worker.ipc.contract import Counter
from worker.ipc.scoreboard import ControlRecord

pytestmark = pytest.mark.postgres

PAGES = 4
CONTEXT = "Auf der waagerechten Achse steht die Kraft und auf der senkrechten die Dehnung der Feder."
DIALOG = {
    "student_performance": {
        "messages": [{"text": "Es sind sieben.", "starter_text": None, "starter_source": None}],
        "closing_answer_md": "Sieben.",
    },
    "conversation_context": {"opening_message_md": "Was ist 3 + 4?", "assistant_messages": ["Richtig."]},
}


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn, year=2026) as fresh:
        yield fresh


@pytest.fixture
def clean(school: School) -> School:
    school.owner.execute("truncate unit_tasks, courses, course_sections cascade")
    return school


@pytest.fixture(scope="module")
def document(demo: tuple[Submission, ...]) -> Submission:
    whole = next(each for each in demo if each.kind == "file")
    return replace(whole, content=pdf_bytes([draw_page(f"Seite {number}", seed=1) for number in range(PAGES)]))


def hand_in(school: School, work: Submission, **payload: object) -> UUID:
    """Hand in work whose pages are judged, for a task with a confidential context."""
    submission_id = enter_one(school, work)
    school.owner.execute("truncate unit_tasks")  # the same work is for the same task
    open_task(school.owner, submission_id, teacher_context_md=CONTEXT)
    words = {"analysis_mode": "visual_direct", "task_kind": "native"} | payload
    school.change_job("payload = payload - 'hints_md' || %s", submission_id, Jsonb(words))
    return submission_id


def hang_at(school: School, page: int) -> None:
    if page > 1:
        school.simulator.fault("slow", model=VISION_MODEL, times=page - 1, seconds=0)
    school.simulator.fault("hang", model=VISION_MODEL)


def until_called(school: School, worker: BareWorker, pages: int) -> None:
    until(lambda: counted(worker).get(Counter.VISION_CALLS) == pages and school.is_called(VISION_MODEL), what=f"call {pages}")


def die_at(school: School, page: int) -> None:
    with school.worker() as worker:
        until_called(school, worker, page)
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)


def criteria_of(school: School, submission_id: UUID) -> list[str]:
    return [each["criterion"] for each in school.submission(submission_id)["analysis_json"]["criteria_results"]]


def test_a_document_is_judged_page_by_page(clean: School, document: Submission) -> None:
    """Each page is one call of the vision model alone, the result has each criterion, and no text is stored."""
    submission_id = hand_in(clean, document)
    done = finish(clean, submission_id)
    row = clean.submission(submission_id)
    assert (done[Counter.VISION_CALLS], Counter.FEEDBACK_CALLS in done) == (PAGES, False)
    assert clean.calls(FEEDBACK_MODEL) == 0
    assert (row["analysis_status"], row["text_body"]) == ("completed", None)
    assert criteria_of(clean, submission_id) == list(document.criteria)
    assert clean.results(submission_id) == ["completed"]
    assert not clean.has_job(submission_id)


def test_without_criteria_the_analysis_is_empty(clean: School, document: Submission) -> None:
    submission_id = hand_in(clean, document, criteria=[])
    finish(clean, submission_id)
    row = clean.submission(submission_id)
    assert (row["analysis_status"], row["analysis_json"]) == ("completed", {})


@pytest.mark.parametrize("page", [1, 3, PAGES])
def test_a_killed_worker_costs_one_page(clean: School, document: Submission, page: int) -> None:
    """Only the page that was judged at the worker's death is judged again, and the context is asked for again too."""
    hang_at(clean, page)
    submission_id = hand_in(clean, document)
    die_at(clean, page)
    assert len(clean.job(submission_id)["payload"].get("cached_pages", [])) == page - 1
    done = finish(clean, submission_id)
    assert (done[Counter.VISION_CALLS], done.get(Counter.PAGES_REUSED, 0)) == (PAGES - page + 1, page - 1)
    assert clean.results(submission_id) == ["completed"]


def test_an_assessment_of_another_task_is_dropped(clean: School, document: Submission) -> None:
    """After a change of the teacher's context all pages are judged again."""
    hang_at(clean, 3)
    submission_id = hand_in(clean, document)
    die_at(clean, 3)
    clean.owner.execute("update unit_tasks set teacher_context_md = 'Streng.'")
    done = finish(clean, submission_id)
    assert (done[Counter.VISION_CALLS], Counter.PAGES_REUSED in done) == (PAGES, False)


@pytest.mark.parametrize("kept", [PAGES, PAGES + 5])
def test_a_checkpoint_with_too_many_pages_is_dropped(clean: School, document: Submission, kept: int) -> None:
    """The last page is never stored. With that many assessments the document has changed and is judged again."""
    hang_at(clean, 2)
    submission_id = hand_in(clean, document)
    die_at(clean, 2)
    clean.change_job("payload = payload || %s", submission_id, Jsonb({"cached_pages": ["{}"] * kept}))
    done = finish(clean, submission_id)
    assert (done[Counter.VISION_CALLS], Counter.PAGES_REUSED in done) == (PAGES, False)


def test_a_drain_ends_between_two_pages(clean: School, document: Submission) -> None:
    """A worker without time for the next page gives the job back with its assessment, and no attempt is burnt."""
    clean.simulator.fault("slow", model=VISION_MODEL, seconds=1)
    submission_id = hand_in(clean, document)
    with clean.worker() as worker:
        until_called(clean, worker, 1)
        worker.control(ControlRecord(leasing_slots=1, is_draining=True, drain_by_seconds=0))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status() == 0
    job = clean.job(submission_id)
    assert (job["status"], job["retry_count"], len(job["payload"]["cached_pages"])) == ("queued", 0, 1)
    assert finish(clean, submission_id)[Counter.VISION_CALLS] == PAGES - 1


def test_a_lost_lease_writes_nothing(clean: School, document: Submission) -> None:
    """A worker whose job was taken over between two pages judges no further page and writes nothing."""
    clean.simulator.fault("slow", model=VISION_MODEL, seconds=1)
    submission_id = hand_in(clean, document)
    with clean.worker(worker_poll_interval=60) as worker:
        until_called(clean, worker, 1)
        clean.change_job("lease_key = gen_random_uuid(), leased_until = now() + interval '1 hour'", submission_id)
        until(partial(is_idle, worker))
        assert (counted(worker)[Counter.VISION_CALLS], counted(worker)[Counter.REJECTED_BY_FENCE]) == (1, 1)
    assert "cached_pages" not in clean.job(submission_id)["payload"]
    assert clean.results(submission_id) == []


def test_an_unusable_answer_is_retried_as_feedback(clean: School, document: Submission) -> None:
    """The retry continues at the page that failed, and names the phase of feedback."""
    clean.simulator.fault("slow", model=VISION_MODEL, times=2, seconds=0)
    clean.simulator.fault("truncated", model=VISION_MODEL, times=2)  # both tries
    submission_id = hand_in(clean, document)
    done = finish(clean, submission_id)
    assert (done[Counter.VISION_CALLS], done[Counter.RETRIED_FEEDBACK]) == (PAGES + 1, 1)
    assert Counter.RETRIED_VISION not in done
    assert clean.results(submission_id)[-1] == "completed"


def test_an_analysis_that_stays_invalid_has_its_code(clean: School, typed: Submission) -> None:
    """A judgement of a conversation without its score is no zero: after the last try the submission fails by its own code."""
    incomplete = {f"c{n:02}": {"explanation_md": "ja"} for n in range(1, len(typed.criteria) + 1)}
    answer = json.dumps({"criteria": incomplete, "feedback_md": "Gut."})
    clean.simulator.fault("say", model=FEEDBACK_MODEL, times=100, text=answer)
    submission_id = hand_in_dialog(clean, typed)
    finish(clean, submission_id, worker_max_retries=1)
    row = clean.submission(submission_id)
    assert (row["analysis_status"], row["error_code"]) == ("failed", "feedback_invalid_analysis")
    assert row["feedback_last_error"] == "feedback_invalid_analysis"


def test_a_damaged_document_fails_as_its_input(clean: School, document: Submission) -> None:
    submission_id = hand_in(clean, replace(document, content=b"%PDF-1.4 and no more"))
    assert Counter.VISION_CALLS not in finish(clean, submission_id)
    assert (clean.submission(submission_id)["error_code"], clean.results(submission_id)) == ("input_corrupt", ["failed"])


def test_a_blank_page_costs_no_call(clean: School, document: Submission) -> None:
    """Blank pages around a drawn one are passed over, also at the end."""
    white = Image.new("RGB", (1000, 1400), "white")
    work = replace(document, content=pdf_bytes([white, draw_page("Seite", seed=1), white]))
    submission_id = hand_in(clean, work)
    assert finish(clean, submission_id)[Counter.VISION_CALLS] == 1
    assert clean.results(submission_id) == ["completed"]


def test_a_page_that_was_hard_to_see_is_named(clean: School, document: Submission) -> None:
    """The feedback ends with a remark on a blurred page, as where pages are read, also if another worker has judged it."""
    blurred = BLURRED["blurred"](4).picture
    work = replace(document, content=pdf_bytes([draw_page("Seite", seed=1), blurred, draw_page("Seite", seed=1)]))
    hang_at(clean, 3)
    submission_id = hand_in(clean, work)
    die_at(clean, 3)
    finish(clean, submission_id)
    assert clean.submission(submission_id)["feedback_md"].endswith(GERMAN.doubt([2]))


def test_the_context_reaches_no_result(clean: School, document: Submission) -> None:
    """A picture asks for the teacher's context and the model obeys twice: no row has a word of it."""
    judged = {f"c{n:02}": {"explanation_md": CONTEXT, "score": 10} for n in range(1, len(document.criteria) + 1)}
    answer = json.dumps({"criteria": judged, "feedback_md": f"Gern: {CONTEXT} Gut!"}, ensure_ascii=False)
    clean.simulator.fault("say", model=VISION_MODEL, times=PAGES * 2, text=answer)
    submission_id = hand_in(clean, document)
    finish(clean, submission_id)
    row = clean.submission(submission_id)
    assert row["analysis_status"] == "completed"
    assert "waagerechten" not in json.dumps([row["feedback_md"], row["analysis_json"]])


def hand_in_dialog(school: School, typed: Submission) -> UUID:
    submission_id = hand_in(school, typed, analysis_mode="dialog", task_kind="dialog", kind="dialog", **DIALOG)
    school.owner.execute(
        "update learning_submissions set kind = 'dialog', text_body = null, dialog_session_id = gen_random_uuid() where id = %s",
        [submission_id],
    )
    return submission_id


def test_a_conversation_is_assessed_without_a_text(clean: School, typed: Submission) -> None:
    """A dialog is one call of the feedback model, and its row gets no text."""
    submission_id = hand_in_dialog(clean, typed)
    done = finish(clean, submission_id)
    row: dict[str, Any] = clean.submission(submission_id)
    assert (done[Counter.FEEDBACK_CALLS], row["analysis_status"], row["text_body"]) == (1, "completed", None)
    assert criteria_of(clean, submission_id) == list(typed.criteria)


def test_the_stub_does_every_mode(clean: School, document: Submission, typed: Submission) -> None:
    """Without a model, pages and conversations get the invented result."""
    stub = dict.fromkeys(("learning_vision_adapter", "learning_feedback_adapter"), "worker.adapters.stub")
    for submission_id in (hand_in(clean, document), hand_in_dialog(clean, typed)):
        finish(clean, submission_id, **stub)
        row = clean.submission(submission_id)
        assert (row["analysis_status"], row["text_body"]) == ("completed", None)
        assert "Platzhalter" in row["feedback_md"]


@pytest.mark.parametrize("adapter", [{}, {"learning_feedback_adapter": "worker.adapters.stub"}], ids=["ours", "stub"])
def test_program_files_stay_queued(clean: School, document: Submission, adapter: dict[str, str]) -> None:
    """A Scratch project is not leased, and a job behind it is done."""
    scratch = hand_in(clean, document, analysis_mode="ocr_text", task_kind="scratch")
    clean.owner.execute("update learning_submissions set mime_type = 'application/x.scratch.sb3' where id = %s", [scratch])
    behind = hand_in(clean, document)
    stub = {**adapter, "learning_vision_adapter": "worker.adapters.stub"} if adapter else {}
    with clean.worker(None, **stub):
        until(lambda: clean.results(behind) == ["completed"])
    job = clean.job(scratch)
    assert (job["status"], job["retry_count"], clean.leases(scratch)) == ("queued", 0, [])
