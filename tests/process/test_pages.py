"""Documents of several pages: what becomes of the pages that were read when the worker, the connection or the time ends."""

import signal
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from PIL import Image
from psycopg.types.json import Jsonb

from testkit.bare_worker import BareWorker
from testkit.drawn_marks import draw_mark
from testkit.drawn_pages import draw_page, pdf_bytes, png_bytes
from testkit.inputs.files import encoded
from testkit.school import VISION_MODEL, School, counted, enter_one, finish, is_idle
from testkit.submissions import BUCKET, Submission
from testkit.waiting import until
from worker.ipc.contract import Counter
from worker.ipc.scoreboard import ControlRecord

pytestmark = pytest.mark.postgres

PAGES = 20
WORDS = tuple(f"page {number}" for number in range(1, PAGES + 1))
TEXT = "\n\n".join(WORDS)
ONLY_READING: dict[str, Any] = {"learning_feedback_adapter": "worker.adapters.stub"}


@cache
def rendered(word: str) -> bytes:
    """A page as the web side renders it, which the simulator reads as this word."""
    return png_bytes(draw_page(word, seed=1), word)


@pytest.fixture(scope="module")
def document(demo: tuple[Submission, ...]) -> Submission:
    whole = next(each for each in demo if each.kind == "file")
    return replace(whole, content=pdf_bytes([draw_page(word, seed=1) for word in WORDS]))


def enter_rendered(school: School, document: Submission) -> UUID:
    """The same document with its pages beside it, so that each has a text that is known."""
    submission_id = enter_one(school, document)
    render(school, submission_id)
    return submission_id


def render(school: School, submission_id: UUID) -> None:
    keys = [f"{BUCKET}/derived/{submission_id}/page_{number:04}.png" for number in range(1, PAGES + 1)]
    for key, word in zip(keys, WORDS, strict=True):
        path = school.storage_root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rendered(word))
    school.owner.execute(
        "update learning_submissions set internal_metadata = %s where id = %s", [Jsonb({"page_keys": keys}), submission_id]
    )


def hang_at(school: School, page: int) -> None:
    """Makes the model hang at this page of the next document."""
    if page > 1:
        school.simulator.fault("slow", model=VISION_MODEL, times=page - 1, seconds=0)
    school.simulator.fault("hang", model=VISION_MODEL)


def until_called(school: School, worker: BareWorker, pages: int) -> None:
    until(lambda: counted(worker).get(Counter.VISION_CALLS) == pages and school.is_called(VISION_MODEL), what=f"call {pages}")


@pytest.mark.parametrize("is_rendered", [False, True], ids=["decoded", "rendered by the web side"])
def test_a_killed_worker_costs_one_page(school: School, document: Submission, *, is_rendered: bool) -> None:
    """Of twenty pages only the one that was being read at the worker's death is read again."""
    hang_at(school, 19)
    submission_id = enter_rendered(school, document) if is_rendered else enter_one(school, document)
    with school.worker(**ONLY_READING) as worker:
        until_called(school, worker, 19)
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    done = finish(school, submission_id, **ONLY_READING)
    assert (done[Counter.VISION_CALLS], done[Counter.PAGES_REUSED]) == (2, 18)
    assert school.calls(VISION_MODEL) == PAGES + 1
    assert school.results(submission_id) == ["completed"]
    assert not is_rendered or school.submission(submission_id)["text_body"] == TEXT


def test_a_drain_ends_between_two_pages(school: School, document: Submission) -> None:
    """A worker without time for the next page gives the job back with all that was read, and no attempt is burnt."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=1)
    submission_id = enter_rendered(school, document)
    with school.worker(**ONLY_READING) as worker:
        until_called(school, worker, 1)
        worker.control(ControlRecord(leasing_slots=1, is_draining=True, drain_by_seconds=0))
        worker.signal(signal.SIGTERM)
        assert worker.exit_status() == 0
    job = school.job(submission_id)
    assert (job["status"], job["retry_count"], job["payload"]["cached_pages"]) == ("queued", 0, [WORDS[0]])
    assert finish(school, submission_id, **ONLY_READING)[Counter.VISION_CALLS] == PAGES - 1
    assert school.submission(submission_id)["text_body"] == TEXT


def test_a_worker_without_its_lease_calls_no_model(school: School, document: Submission) -> None:
    """A worker whose lease has expired does not call the model, because a call has no fence."""
    submission_id = enter_one(school, document)
    with school.worker(learning_vision_adapter="testkit.adapters.sleepy", **ONLY_READING) as worker:
        until(lambda: Counter.REJECTED_BY_FENCE in counted(worker))
        assert counted(worker)[Counter.VISION_CALLS] == 1
    assert school.job(submission_id)["payload"]["cached_pages"] == ["a picture"]
    assert school.results(submission_id) == []


def test_a_retry_continues_at_the_page_that_failed(school: School, document: Submission) -> None:
    """An unusable answer to a page keeps the pages before it."""
    school.simulator.fault("slow", model=VISION_MODEL, times=4, seconds=0)
    school.simulator.fault("truncated", model=VISION_MODEL)
    submission_id = enter_rendered(school, document)
    done = finish(school, submission_id, **ONLY_READING)
    assert (done[Counter.VISION_CALLS], done[Counter.RETRIED_VISION]) == (PAGES + 1, 1)
    assert school.submission(submission_id)["text_body"] == TEXT


def test_pages_of_another_model_are_read_again(school: School, document: Submission) -> None:
    """Pages that were made from something else are not mixed with new ones."""
    submission_id = enter_rendered(school, document)
    pages = '{"cached_pages": ["another", "text"], "cached_pages_from": "another model"}'
    school.change_job("payload = payload || %s::jsonb", submission_id, pages)
    assert finish(school, submission_id, **ONLY_READING)[Counter.VISION_CALLS] == PAGES
    assert school.submission(submission_id)["text_body"] == TEXT


@pytest.mark.parametrize("kept", [PAGES, PAGES + 5])
@pytest.mark.parametrize("is_rendered", [False, True], ids=["decoded", "rendered by the web side"])
def test_a_checkpoint_with_too_many_pages_is_dropped(
    school: School, document: Submission, kept: int, *, is_rendered: bool
) -> None:
    """The last page is never stored alone. With that many stored pages the document has changed and is read again."""
    hang_at(school, 2)
    submission_id = enter_rendered(school, document) if is_rendered else enter_one(school, document)
    with school.worker(**ONLY_READING) as worker:
        until_called(school, worker, 2)
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    pages = Jsonb({"cached_pages": ["another text"] * kept})
    school.change_job("payload = payload || %s", submission_id, pages)
    done = finish(school, submission_id, **ONLY_READING)
    assert (done[Counter.VISION_CALLS], Counter.PAGES_REUSED in done) == (PAGES, False)
    assert school.results(submission_id) == ["completed"]
    assert "another" not in school.submission(submission_id)["text_body"]


def test_a_permit_lost_between_pages_is_replaced(school: School, document: Submission) -> None:
    """A connection that breaks while a page is read costs no page, and the next ones are read with a permit."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=1)
    submission_id = enter_rendered(school, document)
    with school.worker(**ONLY_READING) as worker:
        until_called(school, worker, 1)
        school.owner.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%slot%'")
        school.simulator.fault("hang", model=VISION_MODEL)
        until_called(school, worker, 2)
        assert school.permits() == [True]
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    assert finish(school, submission_id, **ONLY_READING)[Counter.PAGES_REUSED] == 1
    assert school.submission(submission_id)["text_body"] == TEXT


def test_a_lost_page_commit_is_noticed(school: School, document: Submission) -> None:
    """A worker whose job was taken over between two pages asks for no further page and writes nothing."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=1)
    submission_id = enter_rendered(school, document)
    with school.worker(worker_poll_interval=60, **ONLY_READING) as worker:
        until_called(school, worker, 1)
        school.change_job("lease_key = gen_random_uuid(), leased_until = now() + interval '1 hour'", submission_id)
        until(lambda: is_idle(worker))
        assert (counted(worker)[Counter.VISION_CALLS], counted(worker)[Counter.REJECTED_BY_FENCE]) == (1, 1)
    assert "cached_pages" not in school.job(submission_id)["payload"]


def broken(school: School, submission_id: UUID, pages: range) -> None:
    """Damage pages that the web side has rendered."""
    for number in pages:
        path = school.storage_root / f"{BUCKET}/derived/{submission_id}/page_{number:04}.png"
        path.write_bytes(path.read_bytes()[:200])


def break_original(school: School, submission_id: UUID) -> None:
    path = school.storage_root / school.submission(submission_id)["storage_key"]
    path.write_bytes(path.read_bytes()[:200])


def test_the_original_is_read_in_place_of_rendered_pages_that_are_gone(school: School, document: Submission) -> None:
    """A document whose rendered pages were deleted is completed, with one call for each page of the original."""
    submission_id = enter_rendered(school, document)
    for number in range(1, PAGES + 1):
        (school.storage_root / f"{BUCKET}/derived/{submission_id}/page_{number:04}.png").unlink()
    assert finish(school, submission_id, **ONLY_READING)[Counter.VISION_CALLS] == PAGES
    assert school.results(submission_id) == ["completed"]


def test_a_rendered_page_that_cannot_be_read_is_named(school: School, document: Submission) -> None:
    """Without an original it costs neither the other pages nor a call, and the text says which one is missing."""
    submission_id = enter_rendered(school, document)
    break_original(school, submission_id)
    broken(school, submission_id, range(1, 3))
    assert finish(school, submission_id, **ONLY_READING)[Counter.VISION_CALLS] == PAGES - 2
    missing = [f"[Seite {number} konnte nicht gelesen werden]" for number in (1, 2)]
    assert school.submission(submission_id)["text_body"] == "\n\n".join([*missing, *WORDS[2:]])


def test_a_document_without_a_readable_rendered_page_is_refused(school: School, document: Submission) -> None:
    """No text is made of remarks alone, and no model is asked."""
    submission_id = enter_rendered(school, document)
    break_original(school, submission_id)
    broken(school, submission_id, range(1, PAGES + 1))
    assert Counter.VISION_CALLS not in finish(school, submission_id, **ONLY_READING)
    assert school.results(submission_id) == ["failed"]
    assert school.submission(submission_id)["error_code"] == "input_corrupt"


def test_pages_of_the_original_are_not_mixed_with_rendered_ones(school: School, document: Submission) -> None:
    """A long page is several pages of the original, and one that the web side renders. So their numbers differ."""
    hang_at(school, 3)
    submission_id = enter_one(school, document)
    with school.worker(**ONLY_READING) as worker:
        until_called(school, worker, 3)
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    render(school, submission_id)
    done = finish(school, submission_id, **ONLY_READING)
    assert (done[Counter.VISION_CALLS], Counter.PAGES_REUSED in done) == (PAGES, False)
    assert school.submission(submission_id)["text_body"] == TEXT


LONG_SIZE, LONG_PIECES, LINE_PIXELS = (1080, 6000), 5, 60


def long_page(*, is_over_a_photo: bool) -> tuple[bytes, str]:
    """A scrolling screenshot whose lines are marks, of which a cut one is not read, and its text."""
    ground = (
        Image.effect_noise(LONG_SIZE, 90).point(lambda level: 128 + level // 2)
        if is_over_a_photo
        else Image.new("L", LONG_SIZE, 255)
    )
    lines = [f"Zeile {number} der langen Seite" for number in range(LONG_SIZE[1] // LINE_PIXELS - 1)]
    for number, line in enumerate(lines):
        draw_mark(ground, line, (90, number * LINE_PIXELS + 12), cell_px=4, columns=144)
    return encoded(ground, "JPEG", quality=95), "\n".join(lines)


@pytest.mark.second_tier
@pytest.mark.parametrize("is_over_a_photo", [False, True], ids=["screenshot", "over a photo"])
def test_a_long_page_is_read_once_and_in_order(school: School, photo: Submission, *, is_over_a_photo: bool) -> None:
    """Each line of a long page is once in the text, although the worker dies between two pieces, also where pieces overlap."""
    content, text = long_page(is_over_a_photo=is_over_a_photo)
    hang_at(school, 3)
    submission_id = enter_one(school, replace(photo, content=content, mime_type="image/jpeg"))
    with school.worker(**ONLY_READING) as worker:
        until_called(school, worker, 3)
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    done = finish(school, submission_id, **ONLY_READING)
    assert (done[Counter.VISION_CALLS], done[Counter.PAGES_REUSED]) == (LONG_PIECES - 2, 2)
    assert school.submission(submission_id)["text_body"] == text
