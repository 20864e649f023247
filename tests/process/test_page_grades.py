"""The grade of each page outlives a crash, and reaches the metadata, the log and the feedback, without a word of the page."""

import json
import signal
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from supervisor.event_log import EventLog
from testkit.bare_worker import BareWorker
from testkit.drawn_pages import draw_page, jpeg_bytes, pdf_bytes
from testkit.inputs.files import encoded, read
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, School, counted, enter_one, finish, is_idle
from testkit.submissions import Submission
from testkit.waiting import until
from worker.adapters.remarks import GERMAN
from worker.ipc.contract import Counter, Event, EventKind

pytestmark = pytest.mark.postgres

WORDS = ("Ameise", "Biene", "Zitronenfalter")
RETRIED = {"page": 1, "grade": "doubtful", "reasons": ["retried", "truncated"], "notes": []}
CUT_ANSWER: dict[str, Any] = {"model": VISION_MODEL, "times": 1}


def good(page: int, *notes: str) -> dict[str, Any]:
    return {"page": page, "grade": "good", "reasons": [], "notes": list(notes)}


def drawn(word: str) -> Image.Image:
    return draw_page(word, seed=1)


@pytest.fixture(scope="module")
def document(demo: tuple[Submission, ...]) -> Submission:
    whole = next(each for each in demo if each.kind == "file")
    pages = [drawn(WORDS[0]), Image.new("RGB", (1000, 1400), "white"), drawn(WORDS[1]), drawn(WORDS[2])]
    return replace(whole, content=pdf_bytes(pages))


def die_in_call(school: School, worker: BareWorker, model: str) -> None:
    until(lambda: school.is_called(model), what=f"a call of {model}")
    worker.signal(signal.SIGKILL)
    worker.exit_status()
    school.reclaim_lease(worker, max_crashes=5)


def payload(school: School, submission_id: UUID) -> dict[str, Any]:
    content: dict[str, Any] = school.job(submission_id)["payload"]
    return content


def doubts(worker: BareWorker) -> list[tuple[int, str]]:
    return [(event.page, event.error_class) for event in worker.read_events() if event.kind is EventKind.PAGE_DOUBTFUL]


def test_grades_outlive_crashes(school: School, document: Submission) -> None:
    """A worker dies in the third page's call, the next in the feedback. The result still names the page that was retried."""
    school.simulator.fault("truncated", **CUT_ANSWER)
    submission_id = enter_one(school, document)
    with school.worker(worker_max_crashes=5) as worker:
        until(lambda: counted(worker).get(Counter.RETRIED_VISION) == 1)
        school.simulator.fault("slow", model=VISION_MODEL, times=1, seconds=0)
        school.simulator.fault("hang", model=VISION_MODEL)
        until(lambda: "2" in payload(school, submission_id).get("cached_page_grades", {}))
        assert payload(school, submission_id)["cached_page_grades"] == {"1": RETRIED, "2": good(2, "blank")}
        assert doubts(worker) == [(1, "retried,truncated")]
        die_in_call(school, worker, VISION_MODEL)
    school.simulator.fault("hang", model=FEEDBACK_MODEL)
    with school.worker(worker_max_crashes=5) as worker:
        until(lambda: "cached_raw_metadata" in payload(school, submission_id))
        kept = payload(school, submission_id)
        assert kept["cached_raw_metadata"]["page_grades"] == [RETRIED, good(2, "blank"), good(3), good(4)]
        assert "cached_page_grades" not in kept
        die_in_call(school, worker, FEEDBACK_MODEL)
    done = finish(school, submission_id, worker_max_crashes=5)
    assert Counter.OCR_REUSED in done
    assert school.submission(submission_id)["feedback_md"].endswith(GERMAN.doubt([1]))


def test_the_analysis_gets_no_further_key(school: School, document: Submission) -> None:
    """The platform's schema forbids further keys, so the result names doubtful pages in its feedback alone."""
    school.simulator.fault("truncated", **CUT_ANSWER)
    submission_id = enter_one(school, document)
    finish(school, submission_id)
    submission = school.submission(submission_id)
    assert submission["analysis_json"].keys() == {"schema", "score", "criteria_results"}
    assert submission["feedback_md"].endswith(GERMAN.doubt([1]))


def test_good_pages_leave_no_trace_in_the_result(school: School, document: Submission) -> None:
    """Without doubt the feedback is the model's, and nothing is logged. The blank page costs no call."""
    submission_id = enter_one(school, document)
    with school.worker() as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert doubts(worker) == []
        assert counted(worker)[Counter.VISION_CALLS] == len(WORDS)
    assert "Hinweis" not in school.submission(submission_id)["feedback_md"]


def test_a_pale_page_is_doubtful(school: School, demo: tuple[Submission, ...]) -> None:
    """The note of a picture is a reason, in the language of the setting."""
    photo = next(each for each in demo if each.kind == "image")
    marked = read(jpeg_bytes(drawn(WORDS[0]), WORDS[0]))
    pale = marked.convert("L").point(lambda level: 240 if level > 150 else 230)
    submission_id = enter_one(school, replace(photo, content=encoded(pale, "PNG")))
    with school.worker(ai_prompt_language="en") as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert [(page, "low_contrast" in reasons) for page, reasons in doubts(worker)] == [(1, True)]
    assert school.submission(submission_id)["feedback_md"].endswith(
        "*Note: page 1 was hard to read. The feedback on it may be inaccurate.*"
    )


def test_no_word_of_a_page_is_in_a_grade(school: School, demo: tuple[Submission, ...]) -> None:
    """Grades in payload, metadata and events hold codes and numbers, and never what a page says."""
    school.simulator.fault("truncated", **CUT_ANSWER)
    school.simulator.fault("hang", model=FEEDBACK_MODEL)
    photo, text = next(each for each in demo if each.kind == "image"), " ".join(WORDS)
    submission_id = enter_one(school, replace(photo, content=jpeg_bytes(drawn(text), text)))
    with school.worker() as worker:
        until(lambda: "cached_raw_metadata" in payload(school, submission_id))
        kept = payload(school, submission_id)
        written = json.dumps(kept["cached_raw_metadata"]) + "".join(event.encode().decode() for event in worker.read_events())
        assert kept["cached_text_md"].strip() == text
        assert kept["cached_raw_metadata"]["page_grades"] == [RETRIED]
        assert not any(word in written for word in WORDS)


def test_the_log_names_the_page() -> None:
    """The line has the page and the codes."""
    lines: list[str] = []
    event = Event(kind=EventKind.PAGE_DOUBTFUL, page=3, error_class="retried,blurred")
    EventLog("INFO", lines.append).event(0, Event.decode(event.encode()))
    assert "page_doubtful" in lines[0]
    assert "page=3" in lines[0]
    assert "error=retried,blurred" in lines[0]
