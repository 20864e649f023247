"""Real workers on a schema of 2026: the tokens of each answer are recorded once, whatever becomes of the job."""

import signal
from collections import Counter as Tally
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from testkit.class_tasks import begin_attempt
from testkit.database import Database, temporary_database
from testkit.pg_proxy import proxy_before
from testkit.refusals import accept, install_refusals, refuse
from testkit.school import FEEDBACK_MODEL, VISION_MODEL, School, counted, enter_one, finish, is_idle
from testkit.submissions import Submission
from testkit.waiting import until
from worker.ipc.contract import Counter, EventKind

pytestmark = pytest.mark.postgres

COUNTING = {
    "learning_vision_adapter": "tests.platform_adapters.counting",
    "learning_feedback_adapter": "tests.platform_adapters.counting",
}
OCR, FEEDBACK = ("ocr", "visual", "primary"), ("feedback", "text", "primary")
JUDGED = ("feedback", "visual", "primary")
REPAIR = ("feedback", "text", "repair")


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn, year=2026) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def pages(demo: tuple[Submission, ...]) -> Submission:
    """A document of three pages."""
    return next(each for each in demo if each.kind == "file")


def events(school: School, submission_id: UUID) -> list[dict[str, Any]]:
    return school.all("select * from public.ai_usage_events where submission_id = %s order by id", submission_id)


def kinds(school: School, submission_id: UUID) -> Tally[tuple[str, str, str]]:
    return Tally((row["stage"], row["modality"], row["call_kind"]) for row in events(school, submission_id))


# Our own adapters


def test_each_answer_is_recorded(school: School, photo: Submission, typed: Submission) -> None:
    """A photo costs a reading and a feedback, a typed text the feedback alone, with the server's numbers."""
    entered = school.enter(photo, typed)
    with school.worker() as worker:
        until(lambda: school.is_final(*entered) and is_idle(worker))
        assert worker.record().counters[Counter.USAGE_RECORDED] == 3
    assert [kinds(school, each) for each in entered] == [Tally([OCR, FEEDBACK]), Tally([FEEDBACK])]
    rows = events(school, entered[0])
    assert [row["model"] for row in rows] == [VISION_MODEL, FEEDBACK_MODEL]
    assert all(row["usage_known"] and row["total_tokens"] == row["input_tokens"] + row["output_tokens"] > 0 for row in rows)
    assert {row["student_sub"] for row in rows} == {school.submission(entered[0])["student_sub"]}


def test_failed_tries_are_recorded_too(school: School, photo: Submission) -> None:
    """Each attempt of a feedback asks twice. The text that was read once costs nothing again."""
    submission_id = enter_one(school, photo)
    school.simulator.fault("truncated", model=FEEDBACK_MODEL, times=4)
    finish(school, submission_id, worker_max_retries=1)
    assert school.submission(submission_id)["analysis_status"] == "failed"
    assert kinds(school, submission_id) == Tally({OCR: 1, FEEDBACK: 2, REPAIR: 2})


def test_a_call_without_an_answer_is_not_recorded(school: School, typed: Submission) -> None:
    """A server without room has answered nothing."""
    submission_id = enter_one(school, typed)
    school.simulator.fault("status_503", model=FEEDBACK_MODEL)
    with school.worker() as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1)
        school.change_job("visible_at = now()", submission_id)
        until(lambda: school.is_final(submission_id))
    assert kinds(school, submission_id) == Tally([FEEDBACK])


def kill_on_the_second_page(school: School) -> None:
    """Let a worker die in the call for the second page of the only job, and reclaim its lease."""
    school.simulator.fault("slow", model=VISION_MODEL, seconds=0)
    school.simulator.fault("hang", model=VISION_MODEL)
    with school.worker() as worker:
        until(lambda: counted(worker).get(Counter.VISION_CALLS) == 2 and school.is_called(VISION_MODEL))
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)


def test_a_killed_worker_has_recorded_its_pages(school: School, pages: Submission) -> None:
    """Each page is committed with its tokens, so the death of the worker loses those of the running call alone."""
    submission_id = enter_one(school, pages)
    kill_on_the_second_page(school)
    assert kinds(school, submission_id) == Tally({OCR: 1})
    finish(school, submission_id)
    assert kinds(school, submission_id) == Tally({OCR: 3, FEEDBACK: 1})


def test_a_killed_worker_has_recorded_its_judgements(school: School, pages: Submission) -> None:
    """Pages that are judged and not read are committed with their tokens too."""
    submission_id = enter_one(school, pages)
    school.change_job("payload = payload || %s", submission_id, Jsonb({"analysis_mode": "visual_direct"}))
    kill_on_the_second_page(school)
    assert kinds(school, submission_id) == Tally({JUDGED: 1})
    finish(school, submission_id)
    assert kinds(school, submission_id) == Tally({JUDGED: 3})


def test_a_worker_killed_after_the_reading_has_recorded_it(school: School, photo: Submission) -> None:
    """The text that the next worker uses again was paid once."""
    school.simulator.fault("hang", model=FEEDBACK_MODEL)
    submission_id = enter_one(school, photo)
    with school.worker() as worker:
        until(lambda: school.is_called(FEEDBACK_MODEL))
        worker.signal(signal.SIGKILL)
        worker.exit_status()
        school.reclaim_lease(worker)
    finish(school, submission_id)
    assert kinds(school, submission_id) == Tally([OCR, FEEDBACK])
    assert school.calls(VISION_MODEL) == 1


def test_a_kept_answer_is_recorded_when_it_is_written(school: School, typed: Submission) -> None:
    """The database refuses the result at first. The answer waits with its tokens, which are recorded once."""
    install_refusals(school.owner)
    submission_id = enter_one(school, typed)
    refuse(school.owner, submission_id, "P0001", "complete")
    with school.worker() as worker:
        until(lambda: "answer" in school.job(submission_id)["payload"] and is_idle(worker))
    assert events(school, submission_id) == []
    accept(school.owner, submission_id)
    school.change_job("visible_at = now()", submission_id)
    finish(school, submission_id)
    assert (school.results(submission_id), kinds(school, submission_id)) == (["completed"], Tally([FEEDBACK]))
    assert school.calls(FEEDBACK_MODEL) == 1


# Foreign adapters


def test_foreign_results_and_exceptions_have_events(school: School, photo: Submission) -> None:
    """Two stages of a feedback, the first of which was answered before the try that failed."""
    submission_id = enter_one(school, photo)
    with school.worker({"PLATFORM_USAGE": "fails once"}, **COUNTING) as worker:
        until(lambda: counted(worker).get(Counter.RELEASED) == 1)
        school.change_job("visible_at = now()", submission_id)
        until(lambda: school.is_final(submission_id))
    analysis = ("analysis", "text", "primary")
    assert kinds(school, submission_id) == Tally({OCR: 1, analysis: 2, FEEDBACK: 1})


@pytest.mark.parametrize(("behaviour", "good", "bad"), [("spoilt", 3, 3), ("nonsense", 1, 1)])
def test_bad_events_cost_no_result(school: School, photo: Submission, behaviour: str, good: int, bad: int) -> None:
    """Events that the database would refuse are left out and counted, and the others are recorded."""
    submission_id = enter_one(school, photo)
    with school.worker({"PLATFORM_USAGE": behaviour}, **COUNTING) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert worker.record().counters[Counter.USAGE_INVALID] == bad
    assert (school.results(submission_id), len(events(school, submission_id))) == (["completed"], good)


# The database


def test_a_refused_record_costs_no_result(school: School, typed: Submission) -> None:
    """The results are written, the refusal is counted and logged, and a later job is recorded again."""
    school.owner.execute("alter table public.ai_usage_events add constraint later check (model = 'another')")
    refused = enter_one(school, typed)
    with school.worker() as worker:
        until(lambda: school.is_final(refused) and is_idle(worker))
        school.owner.execute("alter table public.ai_usage_events drop constraint later")
        later = enter_one(school, typed)
        until(lambda: school.is_final(later) and is_idle(worker))
        sent = [event for event in worker.read_events() if event.kind is EventKind.USAGE_REFUSED]
        counters = worker.record().counters
    assert (school.results(refused), school.results(later)) == (["completed"], ["completed"])
    assert [event.error_class for event in sent] == ["database_23514"]
    assert (counters[Counter.USAGE_REFUSED], counters[Counter.USAGE_RECORDED]) == (1, 1)
    assert (events(school, refused), kinds(school, later)) == ([], Tally([FEEDBACK]))


def test_a_login_without_the_function_records_nothing(school: School, typed: Submission) -> None:
    """A role of the web side may take jobs and has no right to the function: its results are written as in 2025-12."""
    submission_id = enter_one(school, typed)
    with school.worker(learning_database_url=school.database.limited_dsn) as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        assert worker.record().counters[Counter.USAGE_REFUSED] == 0
    assert (school.results(submission_id), events(school, submission_id)) == (["completed"], [])


def test_the_record_takes_no_round_trip(school: School, photo: Submission) -> None:
    """Two photos take as many as with a login that records nothing. The poll at the end is part of the last settlement or not."""
    counts = []
    for dsn in (school.database.limited_dsn, school.database.worker_dsn):
        with proxy_before(dsn) as proxy, school.worker(learning_database_url=proxy.dsn, worker_poll_interval=60.0) as worker:
            until(lambda: is_idle(worker))
            entered, before = school.enter(photo, photo), proxy.round_trips
            worker.wake()
            until(lambda: school.is_final(*entered) and is_idle(worker))  # noqa: B023
            counts.append(proxy.round_trips - before)
    assert abs(counts[1] - counts[0]) <= 1
    assert [kinds(school, each) for each in entered] == [Tally([OCR, FEEDBACK])] * 2


# Practice attempts


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_practice_attempt_ends_with_its_usage(school: School, typed: Submission, *, is_refused: bool) -> None:
    """Attempt, result and events are one transaction, which begins again without the events if they are refused."""
    submission_id = enter_one(school, typed)
    attempt_id = begin_attempt(school.owner, submission_id, ["c"])
    words = {"practice_attempt_id": str(attempt_id), "criteria": ["c"], "analysis_mode": "text_direct"}
    school.change_job("payload = payload || %s", submission_id, Jsonb(words))
    if is_refused:
        school.owner.execute("alter table public.ai_usage_events add constraint later check (model = 'another')")
    environ = {"LEDGER": str(school.directory / "ledger"), "PLATFORM_USAGE": "yes"}
    with school.worker(environ, learning_feedback_adapter="testkit.adapters.platform_practice") as worker:
        until(lambda: school.is_final(submission_id) and is_idle(worker))
        counters = worker.record().counters
    school.owner.execute("alter table public.ai_usage_events drop constraint if exists later")
    attempt = school.one("select status from practice_attempts where submission_id = %s", submission_id)
    assert (school.results(submission_id), attempt["status"]) == (["completed"], "completed")
    assert (counters[Counter.USAGE_RECORDED], counters[Counter.USAGE_REFUSED]) == ((0, 1) if is_refused else (1, 0))
    assert len(events(school, submission_id)) == (0 if is_refused else 1)


def test_pages_that_are_judged_have_usage(school: School, photo: Submission) -> None:
    """A result without a text has events as any other."""
    submission_id = enter_one(school, photo)
    school.change_job("payload = payload || %s", submission_id, Jsonb({"analysis_mode": "visual_direct"}))
    environ = {"LEDGER": str(school.directory / "ledger"), "PLATFORM_USAGE": "yes"}
    with school.worker(environ, learning_feedback_adapter="testkit.adapters.platform_practice"):
        until(lambda: school.is_final(submission_id))
    assert (school.results(submission_id), kinds(school, submission_id)) == (
        ["completed"],
        Tally([JUDGED]),
    )
