"""A worker and the modes of 2026: which method of the adapter is called with what, what is stored, and what a failure leaves."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from testkit.bare_worker import BareWorker
from testkit.class_tasks import begin_attempt, open_task
from testkit.database import Database, temporary_database
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.refusals import accept, install_refusals, refuse
from testkit.school import FEEDBACK_MODEL, HELD, VISION_MODEL, WAITED_FOR, School, counted, enter_one, is_idle
from testkit.submissions import Submission
from testkit.waiting import until
from worker.ipc.contract import Counter, ErrorCode, EventKind, ExitCode
from worker.ipc.scoreboard import AdmissionRecord
from worker.ollama.address import server_name
from worker.queue.dead_leases import ReclaimResult
from worker.queue.permits import Permits

pytestmark = pytest.mark.postgres

ADAPTERS = dict.fromkeys(("learning_vision_adapter", "learning_feedback_adapter"), "testkit.adapters.platform_practice")
TASK: dict[str, Any] = {"instruction_md": "of the table", "teacher_context_md": "context", "model_solution_md": "solution"}
DIALOG = {
    "student_performance": {
        "messages": [{"text": "my round", "starter_text": None, "starter_source": None}],
        "closing_answer_md": "my end",
    },
    "conversation_context": {"opening_message_md": "hello", "assistant_messages": ["and then?"]},
}
MODES = ("text_direct", "ocr_text", "visual_direct", "dialog")
METHODS = {"text_direct": "analyze", "ocr_text": "analyze", "visual_direct": "analyze_visual", "dialog": "analyze_dialog"}
LONG_SECONDS = 60.0
LOCK_KEYS: LiteralString = """
    select classid::bigint from pg_locks where locktype = 'advisory' and granted and objid > 0
       and database = (select oid from pg_database where datname = current_database())
"""
WAITS: LiteralString = "select granted from pg_locks where locktype = 'advisory' and not granted"
WITHOUT_PRACTICE: LiteralString = "alter function learning_worker_fail_practice_attempt rename to of_a_later_platform"
WITH_PRACTICE: LiteralString = "alter function of_a_later_platform rename to learning_worker_fail_practice_attempt"
MAX_MESSAGES = 1000  # far more than a job takes
FEWEST_MESSAGES = 50  # of its statements


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn, year=2026) as fresh:
        yield fresh


@dataclass(frozen=True, slots=True)
class Class:
    """A school with the platform's adapters of 2026 and a class that hands in work of every mode."""

    school: School
    typed: Submission
    photo: Submission

    @property
    def ledger(self) -> Path:
        return self.school.directory / "ledger"

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls of the adapters, in order."""
        return [json.loads(line) for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    def methods(self) -> list[str]:
        return [call["method"] for call in self.calls()]

    def environ(self, **more: str) -> dict[str, str]:
        return {"LEDGER": str(self.ledger), **more}

    def hand_in(self, mode: str, **payload: object) -> UUID:
        """Hand in work of this mode, as the platform of 2026 enters it, for a task that the student may see."""
        submission_id = enter_one(self.school, self.typed if mode in {"text_direct", "dialog"} else self.photo)
        words: dict[str, object] = {"analysis_mode": mode, "task_kind": "dialog" if mode == "dialog" else "native"}
        if mode == "dialog":
            words |= {"kind": "dialog", **DIALOG}
            self.school.owner.execute(
                "update learning_submissions set kind = 'dialog', text_body = null, dialog_session_id = gen_random_uuid() "
                "where id = %s",
                [submission_id],
            )
        open_task(self.school.owner, submission_id, **TASK)
        self.school.change_job("payload = payload - 'hints_md' || %s", submission_id, Jsonb(words | payload))
        return submission_id

    def practise(self, mode: str = "text_direct", criteria: list[str] | None = None, **payload: object) -> UUID:
        """Hand in work for a practice attempt."""
        submission_id = self.hand_in(mode, **payload)
        found = self.school.job(submission_id)["payload"]["criteria"] if criteria is None else criteria
        attempt_id = begin_attempt(self.school.owner, submission_id, found)
        self.school.change_job(
            "payload = payload || %s", submission_id, Jsonb({"practice_attempt_id": str(attempt_id), "criteria": found})
        )
        return submission_id

    def attempt(self, submission_id: UUID) -> tuple[Any, ...]:
        """Return the attempt's status, code and class of result, and the status of its item."""
        row = self.school.one(
            "select a.status, a.error_code, a.classification, i.status as item from practice_attempts a "
            "join practice_session_items i on i.id = a.item_id where a.submission_id = %s",
            submission_id,
        )
        return tuple(row.values())

    def finish(self, submission_id: UUID, environ: dict[str, str] | None = None, **settings: object) -> dict[Counter, int]:
        """Run a worker until the submission is final, and return the worker's totals."""
        with self.school.worker(environ or self.environ(), **ADAPTERS, **settings) as worker:
            until(lambda: self.school.is_final(submission_id) and is_idle(worker))
            assert self.school.permits() == []
            return counted(worker)


@pytest.fixture
def pupils(school: School, typed: Submission, photo: Submission) -> Class:
    school.owner.execute("truncate unit_tasks, courses, course_sections, practice_session_items, practice_states cascade")
    return Class(school, typed, photo)


# Calls and results


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_has_its_call_and_its_text(pupils: Class, mode: str) -> None:
    """Each mode calls its method once with the task of the payload and the table, and stores the text that the mode has."""
    submission_id = pupils.hand_in(mode)
    handed_in = pupils.school.submission(submission_id)
    payload = pupils.school.job(submission_id)["payload"]
    pupils.finish(submission_id)
    row, call = pupils.school.submission(submission_id), pupils.calls()[-1]
    assert pupils.methods() == (["extract"] if mode == "ocr_text" else []) + [METHODS[mode]]
    assert (call["instruction_md"], call["criteria"]) == (payload["instruction_md"], payload["criteria"])
    assert call.get("teacher_context_md") == (None if mode == "dialog" else "context")
    assert {name: call.get(name) for name in DIALOG} == (DIALOG if mode == "dialog" else dict.fromkeys(DIALOG))
    assert row["text_body"] == {"text_direct": handed_in["text_body"], "ocr_text": "# scratch.evidence.v2"}.get(mode)
    assert (row["analysis_status"], row["feedback_md"]) == ("completed", f"by {METHODS[mode]}")
    assert pupils.school.results(submission_id) == ["completed"]
    assert not pupils.school.has_job(submission_id)


@pytest.mark.parametrize(
    ("words", "methods"),
    [
        ({"analysis_mode": None, "task_kind": None}, ["extract", "analyze"]),  # as in 2025-12
        ({"analysis_mode": None, "task_kind": "visual"}, ["analyze_visual"]),
        ({"analysis_mode": "TEXT_DIRECT"}, ["extract", "analyze"]),
        ({"analysis_mode": "Visual_Direct"}, ["analyze_visual"]),
    ],
)
def test_a_picture_is_read_or_judged_by_the_mode(pupils: Class, words: dict[str, Any], methods: list[str]) -> None:
    """The mode decides, then the kind of task, and a job of 2025-12 is done as in 2025-12."""
    pupils.finish(pupils.hand_in("ocr_text", **words))
    assert pupils.methods() == methods


def test_the_mode_may_stand_in_the_row(pupils: Class) -> None:
    """Without a mode in the payload, that of `internal_metadata` counts."""
    submission_id = pupils.hand_in("ocr_text", analysis_mode=None, task_kind=None)
    pupils.school.owner.execute('update learning_submissions set internal_metadata = \'{"analysis_mode": "visual_direct"}\'')
    pupils.finish(submission_id)
    assert pupils.methods() == ["analyze_visual"]


def test_the_table_stands_in_for_the_payload(pupils: Class) -> None:
    """A payload without an instruction gets that of the table, and a dialog without any gets an empty one."""
    pupils.finish(pupils.hand_in("text_direct", instruction_md=None))
    pupils.school.owner.execute("truncate unit_tasks")
    dialog = pupils.hand_in("dialog", instruction_md=None)
    pupils.school.owner.execute("update unit_tasks set instruction_md = null")
    pupils.finish(dialog)
    assert [call["instruction_md"] for call in pupils.calls()] == ["of the table", ""]


def test_a_hidden_task_leaves_the_context_out(pupils: Class) -> None:
    """After the end of a membership the feedback is made from the payload alone."""
    submission_id = pupils.hand_in("text_direct")
    pupils.school.owner.execute("update course_memberships set ended_at = now()")
    pupils.finish(submission_id)
    assert pupils.calls()[0]["teacher_context_md"] is None
    assert pupils.school.results(submission_id) == ["completed"]


# Failures


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["Transient", "Permanent"])
def test_a_failed_call_is_one_of_feedback(pupils: Class, mode: str, kind: str) -> None:
    """In every mode the submission fails, or is tried again, as feedback: also where the vision model judges the pages."""
    submission_id = pupils.hand_in(mode)
    handed_in = pupils.school.submission(submission_id)["text_body"]
    environ = pupils.environ(PLATFORM_FAULT=f"Feedback{kind}Error")
    with pupils.school.worker(environ, **ADAPTERS) as worker:
        until(lambda: _released_or_final(pupils, worker, submission_id))
        row, job = pupils.school.submission(submission_id), pupils.school.job(submission_id)
    assert row["text_body"] == handed_in
    assert row["vision_last_error"] is None
    if kind == "Permanent":
        assert (row["analysis_status"], row["error_code"]) == ("failed", "feedback_failed")
        assert (job["status"], job["error_code"]) == ("failed", "feedback_failed")
    else:
        assert (row["analysis_status"], job["status"], job["error_code"]) == ("pending", "queued", "timeout")


@pytest.mark.parametrize("mode", ["visual_direct", "dialog"])
def test_a_slow_call_ends_at_the_limit_of_foreign_calls(pupils: Class, mode: str) -> None:
    """In every mode a call without an end becomes a timeout of the job, which uses no attempt, and the worker lives on."""
    submission_id = pupils.hand_in(mode)
    settings = {**ADAPTERS, "ai_foreign_timeout_seconds": 1}
    with pupils.school.worker(pupils.environ(PLATFORM_FAULT="hang"), **settings) as worker:
        until(lambda: _released_or_final(pupils, worker, submission_id))
        job, row = pupils.school.job(submission_id), pupils.school.submission(submission_id)
        assert worker.exit_status(0) is None
    assert (job["status"], job["retry_count"], job["error_code"]) == ("queued", 0, "ForeignTimeout")
    assert row["analysis_status"] == "pending"


def _released_or_final(pupils: Class, worker: BareWorker, submission_id: UUID) -> bool:
    is_held = counted(worker).get(Counter.RELEASED, 0) > 0
    return (is_held or pupils.school.is_final(submission_id)) and is_idle(worker)


@pytest.mark.parametrize("mode", MODES)
def test_a_job_that_kills_fails_as_feedback(pupils: Class, mode: str) -> None:
    """At its second death in the feedback call a job is quarantined, in every mode as one that needed feedback only."""
    submission_id = pupils.hand_in(mode)
    answers = []
    for number in (1, 2):
        with pupils.school.worker(pupils.environ(PLATFORM_FAULT="hang"), **ADAPTERS) as worker:
            until(lambda: pupils.methods().count(METHODS[mode]) == number)  # noqa: B023  asked at once
            worker.signal(signal.SIGKILL)
            worker.exit_status()
            answers.append(pupils.school.reclaim_lease(worker))
    assert answers == [ReclaimResult.RECLAIMED, ReclaimResult.QUARANTINED]
    assert pupils.school.submission(submission_id)["error_code"] == ErrorCode.FEEDBACK_FAILED
    assert pupils.methods().count("extract") == (mode == "ocr_text")  # its text was committed before


# Gates and permits


@pytest.mark.parametrize(
    ("mode", "closed"),
    [("dialog", "feedback_calls"), ("text_direct", "feedback_calls"), ("visual_direct", "vision_calls")],
)
def test_a_job_waits_at_the_gate_of_its_model(pupils: Class, mode: str, closed: str) -> None:
    """Each mode waits for its own model alone: pages for the vision model, a dialog for the feedback model."""
    waiting = pupils.hand_in(mode)
    pupils.school.owner.execute("truncate unit_tasks")
    other = pupils.hand_in("dialog" if mode == "visual_direct" else "visual_direct")
    with pupils.school.admitted(AdmissionRecord(**{closed: 0}), pupils.environ(), **ADAPTERS) as worker:
        until(lambda: pupils.school.results(other) == ["completed"] and is_idle(worker))
        assert pupils.school.job(waiting)["status"] == "queued"
        assert pupils.school.job(waiting)["retry_count"] == 0
        worker.admit(AdmissionRecord())
        until(lambda: pupils.school.results(waiting) == ["completed"] and is_idle(worker))


@pytest.mark.parametrize(
    ("mode", "model"),
    [
        *[(mode, FEEDBACK_MODEL) for mode in ("text_direct", "ocr_text", "dialog", "practice")],
        ("visual_direct", VISION_MODEL),
    ],
)
def test_a_call_holds_the_permit_of_its_model(pupils: Class, mode: str, model: str) -> None:
    """During the feedback call one permit is held, that of the model, and a stop waits for the end of the job."""
    submission_id = pupils.practise() if mode == "practice" else pupils.hand_in(mode)
    key = Permits.of(server_name(pupils.school.ollama_url), model, 1).key
    with pupils.school.worker(pupils.environ(PLATFORM_FAULT="wait"), **ADAPTERS) as worker:
        until(lambda: any(call["method"].startswith("analyze") for call in pupils.calls()))
        assert [row["classid"] for row in pupils.school.all(LOCK_KEYS)] == [key % 2**32]
        worker.signal(signal.SIGTERM)
        pupils.ledger.with_suffix(".go").touch()
        assert worker.exit_status() == ExitCode.DONE
    assert (pupils.school.results(submission_id), pupils.school.permits()) == (["completed"], [])


def test_pages_take_a_permit_beside_a_stub_that_reads_none(pupils: Class) -> None:
    """The feedback adapter calls the vision model, so its permit does not depend on the vision adapter."""
    submission_id = pupils.hand_in("visual_direct")
    adapters = ADAPTERS | {"learning_vision_adapter": "worker.adapters.stub"}
    key = Permits.of(server_name(pupils.school.ollama_url), VISION_MODEL, 1).key
    with pupils.school.worker(pupils.environ(PLATFORM_FAULT="wait"), **adapters) as worker:
        until(lambda: "analyze_visual" in pupils.methods())
        assert [row["classid"] for row in pupils.school.all(LOCK_KEYS)] == [key % 2**32]
        pupils.ledger.with_suffix(".go").touch()
        until(lambda: pupils.school.is_final(submission_id) and is_idle(worker))


@pytest.mark.parametrize(
    ("mode", "model"), [("visual_direct", VISION_MODEL), ("dialog", FEEDBACK_MODEL), ("practice", FEEDBACK_MODEL)]
)
def test_a_stop_ends_the_wait_for_a_permit(pupils: Class, mode: str, model: str) -> None:
    """While the only permit of its model is taken, a job waits without a call, and a stop returns it without an attempt."""
    submission_id = pupils.practise() if mode == "practice" else pupils.hand_in(mode)
    key = Permits.of(server_name(pupils.school.ollama_url), model, 1).key
    pupils.school.owner.execute("select pg_advisory_lock(%s::int, 1)", [key])
    try:
        with pupils.school.worker(pupils.environ(), **ADAPTERS) as worker:
            until(lambda: WAITED_FOR in [row["granted"] for row in pupils.school.all(WAITS)])
            worker.signal(signal.SIGTERM)
            assert worker.exit_status() == ExitCode.DONE
    finally:
        pupils.school.owner.execute("select pg_advisory_unlock_all()")
    job = pupils.school.job(submission_id)
    assert (job["status"], job["retry_count"], job["error_code"], pupils.calls()) == ("queued", 0, None, [])


# Practice attempts


@pytest.mark.parametrize(
    ("scores", "classification"), [("10 10 10 10", "secure"), ("5 5 5 5", "partial"), ("0 1 2 3", "insufficient")]
)
def test_a_result_ends_the_practice_attempt(pupils: Class, scores: str, classification: str) -> None:
    """Submission, attempt and item end in one transaction, by the platform's rules, and the solution is in the context."""
    submission_id = pupils.practise(criteria=["a", "b", "c", "d"])
    pupils.finish(submission_id, pupils.environ(PLATFORM_SCORES=scores))
    assert pupils.attempt(submission_id) == ("completed", None, classification, "feedback")
    assert pupils.school.results(submission_id) == ["completed"]
    assert not pupils.school.has_job(submission_id)
    assert pupils.calls()[0]["teacher_context_md"] == "context\n\nVerbindliche Musterlösung:\nsolution"


@pytest.mark.parametrize(
    ("criteria", "environ", "code"),
    [
        ([], {}, "practice_analysis_invalid"),
        (["a"], {"PLATFORM_SCORES": "11"}, "practice_analysis_invalid"),
        (["a"], {"PRACTICE_BUG": "KeyError"}, "practice_not_completed"),
        (["a"], {"PRACTICE_BUG": "SystemExit"}, "practice_not_completed"),
        (["a"], {"PRACTICE_BUG": "concealed"}, "practice_not_completed"),
        (["a"], {"PRACTICE_BUG": "commits"}, "practice_not_completed"),
        (["a"], {"PLATFORM_FAULT": "FeedbackPermanentError"}, "feedback_failed"),
    ],
)
def test_a_failure_lets_the_pupil_answer_again(pupils: Class, criteria: list[str], environ: dict[str, str], code: str) -> None:
    """Whatever fails, attempt and job have the code, nothing of the result is written and the item is active again."""
    submission_id = pupils.practise(criteria=criteria)
    totals = pupils.finish(submission_id, pupils.environ(**environ))
    row, job = pupils.school.submission(submission_id), pupils.school.job(submission_id)
    assert pupils.attempt(submission_id) == ("failed", code, None, "active")
    assert (job["status"], job["error_code"]) == ("failed", code)
    is_invalid = code.startswith("practice")
    assert row["error_code"] == ("feedback_invalid_analysis" if is_invalid else "feedback_failed")
    assert (row["feedback_md"], pupils.school.results(submission_id)) == (None, ["failed"])
    assert Counter.COMPLETED not in totals


def test_a_practice_attempt_that_kills_is_ended_by_a_worker(pupils: Class) -> None:
    """The monitor has no functions for practice: it returns the job, and the next worker fails it together with its attempt."""
    submission_id = pupils.practise(criteria=["a"])
    for number in (1, 2):
        with pupils.school.worker(pupils.environ(PLATFORM_FAULT="hang"), **ADAPTERS) as worker:
            until(lambda: len(pupils.calls()) == number)  # noqa: B023  asked at once
            worker.signal(signal.SIGKILL)
            worker.exit_status()
            assert pupils.school.reclaim_lease(worker) == ReclaimResult.RECLAIMED
    assert pupils.attempt(submission_id) == ("pending", None, None, "awaiting_analysis")
    assert pupils.finish(submission_id) == {Counter.QUARANTINED: 1}
    assert pupils.attempt(submission_id) == ("failed", "worker_crashed", None, "active")
    assert pupils.school.results(submission_id) == ["failed"]


def test_a_practice_attempt_taken_over_is_not_ended(pupils: Class) -> None:
    """A worker that lost the lease during the call ends neither job nor attempt."""
    submission_id = pupils.practise(criteria=["a"])
    environ = pupils.environ(PLATFORM_FAULT="wait")
    with pupils.school.worker(environ, **ADAPTERS) as worker:
        until(pupils.calls)
        pupils.school.change_job("lease_key = gen_random_uuid(), leased_until = now() + interval '1 hour'", submission_id)
        pupils.ledger.with_suffix(".go").touch()
        until(lambda: counted(worker).get(Counter.REJECTED_BY_FENCE) == 1)
    assert pupils.attempt(submission_id) == ("pending", None, None, "awaiting_analysis")
    assert pupils.school.results(submission_id) == []


def test_without_the_functions_an_attempt_stays_queued(pupils: Class) -> None:
    """Without the platform's package nothing could end the attempt: no model is called, and no attempt of the job is used."""
    submission_id, other = pupils.practise(), enter_one(pupils.school, pupils.typed)
    with pupils.school.worker() as worker:
        until(lambda: pupils.school.results(other) == ["completed"] and is_idle(worker))
        job = pupils.school.job(submission_id)
    assert (job["status"], job["retry_count"], pupils.school.submission(submission_id)["error_code"]) == ("queued", 0, None)
    assert pupils.attempt(submission_id)[0] == "pending"


def test_an_attempt_is_found_by_the_first_search(pupils: Class) -> None:
    """A worker knows the functions of the database before it searches, so that no pupil waits for its second poll."""
    submission_id = pupils.practise(criteria=["a"])
    pupils.finish(submission_id, worker_poll_interval=LONG_SECONDS)
    assert pupils.attempt(submission_id)[0] == "completed"


@pytest.mark.parametrize("is_able", [True, False])
def test_an_attempt_whose_job_cannot_be_leased_ends_with_it(pupils: Class, *, is_able: bool) -> None:
    """The database refuses the lease of one row: job and attempt fail together, and where no worker can end it, neither does."""
    install_refusals(pupils.school.owner)
    submission_id, others = pupils.practise(criteria=["a"]), [enter_one(pupils.school, pupils.typed) for _ in range(2)]
    refuse(pupils.school.owner, submission_id, "23514", "lease")
    with pupils.school.worker(pupils.environ(), **(ADAPTERS if is_able else {})) as worker:
        until(lambda: {status for each in others for status in pupils.school.results(each)} == {"completed"})
        if is_able:
            until(lambda: pupils.school.job(submission_id)["status"] == "failed" and is_idle(worker))
    expected = ("failed", "database_23514", None, "active") if is_able else ("pending", None, None, "awaiting_analysis")
    assert pupils.attempt(submission_id) == expected


@pytest.mark.parametrize(("crashes", "end"), [(0, "completed"), (2, "failed")])
def test_an_attempt_whose_functions_vanish_after_the_lease_stays_queued(
    pupils: Class, proxy: PgProxy, crashes: int, end: str
) -> None:
    """The lease commits as the connection breaks, and the next one finds no functions: nothing is called, and nothing fails."""
    submission_id = pupils.practise(criteria=["a"], crashes=crashes)
    proxy.lose_answer_to("for update skip locked", partial(pupils.school.owner.execute, WITHOUT_PRACTICE))
    try:
        with pupils.school.worker(pupils.environ(), **ADAPTERS, learning_database_url=proxy.dsn) as worker:
            until(lambda: any(each.kind is EventKind.SETTLED for each in worker.read_events()) and is_idle(worker))
            settled = [(each.outcome, each.error_class) for each in worker.read_events() if each.kind is EventKind.SETTLED]
            job = pupils.school.job(submission_id)
    finally:
        pupils.school.owner.execute(WITH_PRACTICE)
    assert (settled, proxy.answers_lost) == ([("released_held", "practice_functions_missing")], 1)
    assert (job["status"], job["retry_count"], pupils.methods()) == ("queued", 0, [])
    pupils.finish(submission_id)
    assert pupils.attempt(submission_id)[0] == end


# The database


@pytest.fixture
def proxy(school: School) -> Iterator[PgProxy]:
    with proxy_before(school.database.worker_dsn) as before:
        yield before


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_practice", [False, True])
def test_a_refused_result_is_kept_and_written(pupils: Class, mode: str, *, is_practice: bool) -> None:
    """A database that takes no result keeps the answer, also one without a text. It is written later without a call."""
    install_refusals(pupils.school.owner)
    submission_id = pupils.practise(mode) if is_practice else pupils.hand_in(mode)
    refuse(pupils.school.owner, submission_id, "P0001", "complete")
    with pupils.school.worker(pupils.environ(), **ADAPTERS) as worker:
        until(lambda: pupils.school.job(submission_id)["error_code"] == "database_P0001_all" and is_idle(worker))
        assert "answer" in pupils.school.job(submission_id)["payload"]
        accept(pupils.school.owner, submission_id)
        pupils.school.change_job("visible_at = now()", submission_id)
        until(lambda: pupils.school.results(submission_id) == ["completed"] and is_idle(worker))
    assert pupils.methods().count(METHODS[mode]) == 1
    assert not is_practice or pupils.attempt(submission_id)[0] == "completed"


@pytest.mark.parametrize("mode", ["visual_direct", "dialog"])
def test_a_result_without_a_text_is_rehearsed_without_one(pupils: Class, mode: str) -> None:
    """After a refusal the write of the next job is rehearsed. A text would be refused there, though the result is not."""
    install_refusals(pupils.school.owner)
    refused = pupils.hand_in("text_direct")
    pupils.school.owner.execute("truncate unit_tasks")
    refuse(pupils.school.owner, refused, "P0001", "complete")
    with pupils.school.worker(pupils.environ(), **ADAPTERS) as worker:
        until(lambda: "answer" in pupils.school.job(refused)["payload"] and is_idle(worker))
        other = pupils.hand_in(mode)
        worker.wake()
        until(lambda: pupils.school.results(other) == ["completed"] and is_idle(worker))


def test_a_lost_connection_costs_the_permit_of_the_lease(pupils: Class, proxy: PgProxy) -> None:
    """A permit came with the lease. If its session ends while the task is read, the call is made with another one."""
    first = pupils.hand_in("text_direct")
    pupils.school.owner.execute("truncate unit_tasks")
    second = pupils.hand_in("text_direct")
    settings = {**ADAPTERS, "learning_database_url": proxy.dsn, "worker_poll_interval": LONG_SECONDS}
    with pupils.school.worker(pupils.environ(PLATFORM_FAULT="wait"), **settings) as worker:
        until(pupils.calls)
        proxy.lose_answer_to("public.unit_tasks")
        pupils.ledger.with_suffix(".go").touch()
        until(lambda: proxy.answers_lost == 1)
        pupils.ledger.with_suffix(".go").unlink()
        until(lambda: len(pupils.calls()) == 2)
        assert pupils.school.permits() == [HELD]
        pupils.ledger.with_suffix(".go").touch()
        until(lambda: pupils.school.is_final(first, second) and is_idle(worker))


@pytest.mark.parametrize(
    ("mode", "round_trips"), [("text_direct", 3), ("dialog", 3), ("visual_direct", 3), ("ocr_text", 5), ("practice", 8)]
)
def test_a_mode_costs_few_round_trips(pupils: Class, proxy: PgProxy, mode: str, round_trips: int) -> None:
    """The read of the task is the only further round trip beside the lease, the submission, the calls and the settlement.

    The transaction of a practice attempt takes five more.
    """
    settings = {**ADAPTERS, "learning_database_url": proxy.dsn, "worker_poll_interval": LONG_SECONDS}
    with pupils.school.worker(pupils.environ(), **settings) as worker:
        until(lambda: is_idle(worker))
        submission_id = pupils.practise() if mode == "practice" else pupils.hand_in(mode)
        before = proxy.round_trips
        worker.wake()
        until(lambda: pupils.school.is_final(submission_id) and is_idle(worker))
        first_lease, first_read, last_look = 1, 1, 1
        assert proxy.round_trips - before - first_lease - first_read - round_trips in {0, last_look}


@pytest.mark.parametrize("statement", ["BEGIN", "update_completed", "complete_practice", "COMMIT"])
def test_a_lost_acknowledgement_ends_an_attempt_once(pupils: Class, proxy: PgProxy, statement: str) -> None:
    """Each statement of the transaction may be the last before the connection breaks, also the one that commits it."""
    submission_id = pupils.practise(criteria=["a"])
    proxy.lose_answer_to(statement)
    totals = pupils.finish(submission_id, learning_database_url=proxy.dsn)
    assert proxy.answers_lost == 1
    assert totals == {Counter.COMPLETED: 1, Counter.FEEDBACK_CALLS: 1}
    assert pupils.attempt(submission_id) == ("completed", None, "partial", "feedback")
    assert pupils.school.results(submission_id) == ["completed"]


@pytest.mark.parametrize(
    ("pooled", "step"),
    [("auto", 9), pytest.param("auto", 1, marks=pytest.mark.third_tier), pytest.param("true", 1, marks=pytest.mark.third_tier)],
)
def test_an_attempt_is_ended_once_whatever_message_is_the_last(pupils: Class, proxy: PgProxy, pooled: str, step: int) -> None:
    """The connection is cut after the k-th message: job and attempt end once, after one call, for every k in the soak."""
    settings = {**ADAPTERS, "learning_database_url": proxy.dsn, "worker_poll_interval": LONG_SECONDS, "database_pooled": pooled}
    with pupils.school.worker(pupils.environ(), **settings) as worker:
        until(lambda: is_idle(worker))
        rounds = next(k for k in range(1, MAX_MESSAGES, step) if not _is_cut_after(pupils, proxy, worker, k))
        assert Counter.REJECTED_BY_FENCE not in counted(worker)
    assert rounds > FEWEST_MESSAGES


def _is_cut_after(pupils: Class, proxy: PgProxy, worker: BareWorker, k: int) -> bool:
    """Return False if the job was over before message k."""
    pupils.school.owner.execute("truncate unit_tasks, practice_states")
    submission_id, calls = pupils.practise(criteria=["a"]), len(pupils.calls())
    proxy.strike_after(k)
    until(lambda: _is_at_rest(pupils, worker, submission_id), what=f"the end of an attempt cut off after message {k}")
    has_struck = proxy.has_struck
    proxy.spare()
    assert pupils.attempt(submission_id) == ("completed", None, "partial", "feedback"), f"message {k}"
    assert pupils.school.results(submission_id) == ["completed"], f"message {k}"
    assert (len(pupils.calls()) - calls, len(pupils.school.leases(submission_id))) == (1, 1), f"message {k}"
    assert pupils.school.one("select review_count from practice_states")["review_count"] == 1
    return has_struck


def _is_at_rest(pupils: Class, worker: BareWorker, submission_id: UUID) -> bool:
    if pupils.school.is_final(submission_id):
        return is_idle(worker)
    worker.wake()
    return False
