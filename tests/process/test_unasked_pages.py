"""Pages that need no model: no call, no permit and no gate for them, and nothing of a document is lost or read twice."""

import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from testkit.bare_worker import BareWorker
from testkit.drawn_pages import draw_page, pdf_bytes
from testkit.refusals import install_refusals, refuse
from testkit.school import VISION_MODEL, School, counted, enter_one, is_idle
from testkit.submissions import Submission
from testkit.waiting import until
from worker.ipc.contract import Activity, Counter, EventKind
from worker.ipc.scoreboard import AdmissionRecord, ControlRecord

pytestmark = pytest.mark.postgres

PAGES = 6
ALL = "1 2 3 4 5 6"
SPARING: dict[str, Any] = {
    "learning_vision_adapter": "testkit.adapters.sparing",
    "learning_feedback_adapter": "worker.adapters.stub",
}
NO_VISION = AdmissionRecord(vision_calls=0)


@pytest.fixture(scope="module")
def document(demo: tuple[Submission, ...]) -> Submission:
    whole = next(each for each in demo if each.kind == "file")
    return replace(whole, content=pdf_bytes([draw_page(f"seen {page}", seed=1) for page in range(1, PAGES + 1)]))


def finish(school: School, submission_id: UUID, environ: Mapping[str, str]) -> dict[Counter, int]:
    with school.worker(environ, **SPARING) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        counters = worker.record().counters
        return {**counted(worker), **{each: counters[each] for each in (Counter.CHECKPOINTS, Counter.STEPS_BEGUN)}}


def text_of(school: School, submission_id: UUID) -> list[str]:
    """The page's text where no model was asked for it, and else a question mark."""
    pages = school.submission(submission_id)["text_body"].split("\n\n")
    return [page if page.startswith("page ") else "?" for page in pages]


def kept(school: School, submission_id: UUID) -> int:
    return len(school.job(submission_id)["payload"].get("cached_pages", ()))


def call_of(school: School, worker: BareWorker, number: int) -> None:
    until(lambda: counted(worker).get(Counter.VISION_CALLS) == number and school.is_called(VISION_MODEL), what=f"call {number}")


def test_a_document_that_needs_no_model_is_read_without_a_call(school: School, document: Submission) -> None:
    """While another worker has the only permit, the document is completed in one commit, and no call is counted."""
    with school.place_taken(VISION_MODEL, replace(document, content=pdf_bytes([draw_page("held", seed=1)]))):
        before = school.calls(VISION_MODEL)
        submission_id = enter_one(school, document)
        with school.worker({"UNASKED": ALL}, **SPARING) as worker:
            until(lambda: school.results(submission_id) == ["completed"])
            until(lambda: is_idle(worker))
            assert counted(worker) == {Counter.COMPLETED: 1, Counter.FEEDBACK_CALLS: 1}
            assert worker.record().counters[Counter.CHECKPOINTS] == 1
            settled = next(event for event in worker.read_events() if event.kind is EventKind.SETTLED)
            assert Activity.VISION not in settled.steps
        assert school.calls(VISION_MODEL) == before
    assert school.submission(submission_id)["text_body"] == "\n\n".join(f"page {page}" for page in range(1, PAGES + 1))


def test_a_document_that_needs_no_model_passes_a_closed_gate(school: School, document: Submission) -> None:
    """A worker that has leased the document finishes it although the vision model's gate is closed."""
    submission_id = enter_one(school, document)
    school.change_job('payload = payload || \'{"cached_text_md": "old", "cached_from": "another"}\'', submission_id)
    with school.admitted(NO_VISION, {"UNASKED": ALL}, **SPARING) as worker:
        until(lambda: school.results(submission_id) == ["completed"] and is_idle(worker))
        assert Counter.RELEASED not in counted(worker)


def test_a_model_is_called_only_for_the_pages_that_need_it(school: School, document: Submission) -> None:
    """Two of six pages are asked for. The pages keep their order, and unasked pages in a row share a commit.

    The lease is renewed by the commits: one renewal alone is for the first call, and one for the feedback.
    """
    submission_id = enter_one(school, document)
    done = finish(school, submission_id, {"UNASKED": "1 2 4 6"})
    assert (done[Counter.VISION_CALLS], school.calls(VISION_MODEL)) == (2, 2)
    assert text_of(school, submission_id) == ["page 1", "page 2", "?", "page 4", "?", "page 6"]
    assert done[Counter.CHECKPOINTS] == len(["1 and 2", "3", "4", "5", "all"])
    assert done[Counter.STEPS_BEGUN] == len(["vision", "feedback"])


def test_a_permit_is_taken_only_before_the_first_call(school: School, document: Submission) -> None:
    """At a closed gate the pages that need no model are read and kept, and the job waits at the first one that does."""
    submission_id = enter_one(school, document)
    school.change_job('payload = payload || \'{"cached_text_md": "old", "cached_from": "another"}\'', submission_id)
    with school.admitted(NO_VISION, {"UNASKED": "1 2"}, **SPARING) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1 and is_idle(worker))
        job = school.job(submission_id)
        assert (job["status"], job["retry_count"], job["payload"]["cached_pages"]) == ("queued", 0, ["page 1", "page 2"])
        assert (school.permits(), school.calls(VISION_MODEL)) == ([], 0)
        worker.admit(AdmissionRecord())
        until(lambda: school.results(submission_id) == ["completed"] and is_idle(worker))
        assert (counted(worker)[Counter.PAGES_REUSED], counted(worker)[Counter.VISION_CALLS]) == (2, PAGES - 2)


@pytest.mark.parametrize(("call", "pages"), [(1, 2), (2, 4)])
def test_a_killed_worker_costs_the_page_of_its_call(school: School, document: Submission, call: int, pages: int) -> None:
    """All pages before the one that was asked for are kept, whether a model was asked for them or not."""
    environ = {"UNASKED": "1 2 4 6"}
    if call > 1:
        school.simulator.fault("slow", model=VISION_MODEL, times=call - 1, seconds=0)
    school.simulator.fault("hang", model=VISION_MODEL)
    submission_id = enter_one(school, document)
    with school.worker(environ, **SPARING) as worker:
        call_of(school, worker, call)
        assert kept(school, submission_id) == pages
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    done = finish(school, submission_id, environ)
    assert (done[Counter.VISION_CALLS], done[Counter.PAGES_REUSED]) == (3 - call, pages)
    assert text_of(school, submission_id) == ["page 1", "page 2", "?", "page 4", "?", "page 6"]
    assert school.results(submission_id) == ["completed"]


def test_pages_that_are_read_slowly_renew_the_lease(school: School, document: Submission) -> None:
    """Six pages without a call take 132 s, twice as long as the first lease. They are committed before it ends."""
    submission_id = enter_one(school, document)
    done = finish(school, submission_id, {"UNASKED": ALL, "PAGE_SECONDS": "22"})
    assert done[Counter.CHECKPOINTS] > 1
    assert Counter.REJECTED_BY_FENCE not in done
    assert text_of(school, submission_id) == [f"page {page}" for page in range(1, PAGES + 1)]


def test_a_stop_ends_between_two_pages_without_a_call(school: School, document: Submission) -> None:
    """A worker without time for a further page gives the job back with the pages that a model was called for, uncounted."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=1)
    submission_id = enter_one(school, document)
    with school.worker({"UNASKED": "2 3 4 5 6"}, **SPARING) as worker:
        call_of(school, worker, 1)
        worker.control(ControlRecord(leasing_slots=1, is_draining=True, drain_by_seconds=0))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status() == 0
    job = school.job(submission_id)
    assert (job["status"], job["retry_count"], kept(school, submission_id)) == ("queued", 0, 1)
    assert finish(school, submission_id, {"UNASKED": "2 3 4 5 6"})[Counter.PAGES_REUSED] == 1


def is_queued(school: School, submission_id: UUID) -> bool:
    return bool(school.job(submission_id)["status"] == "queued")


@pytest.mark.second_tier  # a lone worker tries for half a minute
def test_a_refused_page_without_a_call_uses_no_attempt(school: School, document: Submission) -> None:
    """The database refuses the text of a document for which no model was called: the job is held, as nothing was in vain."""
    install_refusals(school.owner)
    submission_id = enter_one(school, document)
    refuse(school.owner, submission_id, "23514", "checkpoint")
    with school.worker({"UNASKED": ALL}, **SPARING) as worker:
        until(lambda: school.leases(submission_id) and is_idle(worker) and is_queued(school, submission_id), within_seconds=60)
        job = school.job(submission_id)
        assert (job["retry_count"], job["payload"].get("expiries")) == (0, None)
