"""Usage events in the settling transaction, run as the worker's restricted role."""

import json
import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from testkit.database import Database, temporary_database
from testkit.filled_queue import STUDENT, Entered, FilledQueue, open_queue
from worker.core.outcome import Completed, Failed, Lease, Lost, Outcome, Released, Retried, parse_payload
from worker.core.usage import UsageEvent
from worker.ipc.contract import ErrorCode, Step
from worker.queue.checkpoints import OcrPage, OcrResult, write_checkpoint, write_pages
from worker.queue.connection import Connection, connect
from worker.queue.leases import LeaseRequest, lease_job
from worker.queue.permits import HeldPermit, send_give_back
from worker.queue.settle import Settlement, settle, settle_and_lease
from worker.queue.statements import statement
from worker.queue.usage import UsageWrite

pytestmark = pytest.mark.postgres

HOUR_SECONDS = 3600.0
ANALYSIS: dict[str, Any] = {"schema": "criteria.v2", "score": 4, "criteria_results": []}
COMPLETED = Completed("what was read", "well done", ANALYSIS)
OUTCOMES: dict[str, Outcome] = {
    "completed": COMPLETED,
    "failed": Failed(ErrorCode.FEEDBACK_FAILED, "feedback_failed", "SomeError"),
    "retried": Retried(Step.FEEDBACK, "SomeError", HOUR_SECONDS),
    "held": Released("held", HOUR_SECONDS, "SomeError"),
    "drained": Released("drain"),
}
TAKEN_AWAY = "revoke execute on function public.learning_worker_record_ai_usage from learning_worker"
REFUSED_BY_A_CHECK = "alter table public.ai_usage_events add constraint later check (stage <> 'ocr')"


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    """Give a schema of 2026 whose table of events also keeps the subject under which each was recorded."""
    with temporary_database(cluster_dsn, year=2026) as fresh:
        with open_queue(fresh) as queue:
            queue.owner.execute(
                "alter table public.ai_usage_events add subject text default current_setting('app.current_sub', true)"
            )
        yield fresh


@pytest.fixture
def queue(shared_database: Database) -> Iterator[FilledQueue]:
    with open_queue(shared_database) as cleared:
        yield cleared


@pytest.fixture
def changed_queue(cluster_dsn: str) -> Iterator[FilledQueue]:
    """Give a database of its own, whose function a test may break."""
    with temporary_database(cluster_dsn, year=2026) as fresh, open_queue(fresh) as queue:
        yield queue


def recorded(queue: FilledQueue) -> list[dict[str, Any]]:
    return [dict(row) for row in queue.owner.execute("select * from public.ai_usage_events order by id")]


def event(tokens: int = 10) -> UsageEvent:
    return UsageEvent(uuid4(), "some-model", "ocr", "visual", "primary", True, tokens, 5, tokens + 5)


def as_lease(entered: Entered) -> Lease:
    assert entered.lease_key is not None
    return Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)


def keys(queue: FilledQueue) -> list[UUID]:
    return [row["event_key"] for row in recorded(queue)]


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_every_outcome_records_its_usage(queue: FilledQueue, outcome: Outcome) -> None:
    """Each write records the events of its tries under the pupil's subject, also a failed or a released one."""
    entered, events = queue.enter(leased_for_seconds=HOUR_SECONDS), (event(1), event(2))
    assert settle(queue.worker, as_lease(entered), outcome, usage=UsageWrite(events))
    rows = recorded(queue)
    assert [row["event_key"] for row in rows] == [each.event_key for each in events]
    assert {(row["submission_id"], row["subject"]) for row in rows} == {(entered.submission_id, STUDENT)}
    assert {key: rows[0][key] for key in events[0].as_json() if key != "event_key"} == {
        key: value for key, value in events[0].as_json().items() if key != "event_key"
    }


def test_a_lost_lease_records_nothing(queue: FilledQueue) -> None:
    """The record is fenced as the write itself is."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    stranger = replace(as_lease(entered), lease_key=uuid4())
    for outcome in (*OUTCOMES.values(), Lost()):
        assert not settle(queue.worker, stranger, outcome, usage=UsageWrite((event(),)))
    assert recorded(queue) == []


def test_an_event_is_recorded_once(queue: FilledQueue) -> None:
    """A repeated write with the same key, as after a lost connection, adds nothing."""
    entered, events = queue.enter(leased_for_seconds=HOUR_SECONDS), (event(),)
    assert settle(queue.worker, as_lease(entered), Released("held", 0, "SomeError"), usage=UsageWrite(events))
    queue.owner.execute(
        "update learning_submission_jobs set status = 'leased', lease_key = %s where id = %s",
        [entered.lease_key, entered.job_id],
    )
    assert settle(queue.worker, as_lease(entered), COMPLETED, usage=UsageWrite(events))
    assert keys(queue) == [events[0].event_key]


def test_a_result_that_is_refused_records_nothing(changed_queue: FilledQueue) -> None:
    """Events and result are one transaction: without the result there is no event, and the error is the result's."""
    queue = changed_queue
    queue.owner.execute("alter table learning_submissions add check (feedback_md <> 'well done')")
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    with pytest.raises(psycopg.errors.CheckViolation):
        settle(queue.worker, as_lease(entered), COMPLETED, usage=usage)
    assert (recorded(queue), usage.refused, queue.worker.closed) == ([], "", True)


@pytest.mark.parametrize(("change", "sqlstate"), [(TAKEN_AWAY, "42501"), (REFUSED_BY_A_CHECK, "23514")])
@pytest.mark.parametrize("leases_next", [False, True])
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_a_refused_record_costs_no_outcome(
    changed_queue: FilledQueue, outcome: Any, change: str, sqlstate: str, *, leases_next: bool
) -> None:
    """The outcome is written without the events, on the same connection and once, and the next job is leased."""
    queue = changed_queue
    queue.owner.execute(change.encode())
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    following, next_key = queue.enter(), uuid4()
    backend_pid = queue.worker.info.backend_pid
    if leases_next:
        request = LeaseRequest(next_key, HOUR_SECONDS)
        settlement = settle_and_lease(queue.worker, as_lease(entered), outcome, None, request, usage)
        assert settlement.next_lease is not None
        assert settlement.next_lease.job_id in {following.job_id, entered.job_id}
    else:
        settlement = Settlement(settle(queue.worker, as_lease(entered), outcome, usage=usage))
    assert (settlement.is_written, usage.refused, recorded(queue)) == (True, sqlstate, [])
    assert (queue.worker.closed, queue.worker.info.backend_pid) == (False, backend_pid)


@contextmanager
def locked(queue: FilledQueue, lock: LiteralString, *values: object) -> Iterator[None]:
    """Hold a lock for which the worker waits only for a moment."""
    queue.worker.execute("set lock_timeout = '100ms'")
    with psycopg.connect(queue.database.admin_dsn) as locker:
        locker.execute(lock, values)
        yield


def test_a_lock_in_the_platform_s_function_costs_no_outcome(queue: FilledQueue) -> None:
    """The record waits as long as any statement for a lock. Then the outcome is written without the events."""
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    with locked(queue, "lock table ai_usage_events in access exclusive mode"):
        assert settle(queue.worker, as_lease(entered), COMPLETED, usage=usage)
    assert (usage.refused, recorded(queue)) == ("55P03", [])
    assert queue.submission(entered.submission_id)["analysis_status"] == "completed"


def test_a_lock_on_the_job_s_row_costs_no_event(queue: FilledQueue) -> None:
    """Record and outcome meet the same lock. The next try writes both."""
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    row = "select from learning_submission_jobs where id = %s for update"
    with locked(queue, row, entered.job_id), pytest.raises(psycopg.errors.LockNotAvailable):
        settle(queue.worker, as_lease(entered), COMPLETED, usage=usage)
    with connect(queue.database.worker_dsn, "test") as again:
        assert settle(again, as_lease(entered), COMPLETED, usage=usage)
    assert (usage.refused, keys(queue)) == ("", [usage.events[0].event_key])


def test_a_refusal_that_arrives_early_costs_no_outcome(changed_queue: FilledQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server sends an error at once, so it may arrive while the statements after the record are still sent."""
    queue = changed_queue
    queue.owner.execute(TAKEN_AWAY)

    def give_back_late(connection: Connection, held: HeldPermit | None) -> None:
        select.select([connection.fileno()], [], [], 2.0)
        send_give_back(connection, held)

    monkeypatch.setattr("worker.queue.settle.send_give_back", give_back_late)
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    assert settle(queue.worker, as_lease(entered), COMPLETED, usage=usage)
    assert (usage.refused, queue.worker.closed) == ("42501", False)


def test_usage_is_recorded_behind_a_pooler_too(queue: FilledQueue) -> None:
    """The record and the write are one transaction, without a statement that stays in the session."""
    entered, events = queue.enter(leased_for_seconds=HOUR_SECONDS), (event(),)
    with connect(queue.database.worker_dsn, "test", pooled="true") as pooled:
        assert settle(pooled, as_lease(entered), COMPLETED, usage=UsageWrite(events))
    assert keys(queue) == [events[0].event_key]
    assert queue.submission(entered.submission_id)["analysis_status"] == "completed"


def test_the_record_reads_one_job_by_its_key(queue: FilledQueue) -> None:
    """No statement on the queue's table may read it as a whole."""
    values = {"job_id": uuid4(), "lease_key": uuid4(), "usage": "[]"}
    queue.worker.execute("set enable_seqscan = off")  # the table of this test is short
    rows = queue.worker.execute(b"explain " + statement("record_usage").encode(), values).fetchall()
    plan = "\n".join(row["QUERY PLAN"] for row in rows)
    assert "Index Scan using learning_submission_jobs_pkey" in plan
    assert "Seq Scan" not in plan


def test_a_refused_record_behind_a_pooler_costs_no_outcome(changed_queue: FilledQueue) -> None:
    """The timeouts that begin each transaction there come before the record."""
    queue = changed_queue
    queue.owner.execute(TAKEN_AWAY)
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    with connect(queue.database.worker_dsn, "test", pooled="true") as pooled:
        assert settle(pooled, as_lease(entered), COMPLETED, usage=usage)
    assert (usage.refused, queue.submission(entered.submission_id)["analysis_status"]) == ("42501", "completed")


def test_a_lost_connection_refuses_no_record(queue: FilledQueue) -> None:
    """The end of the session is no word about the events, so they are recorded by the next try."""
    entered, usage = queue.enter(leased_for_seconds=HOUR_SECONDS), UsageWrite((event(),))
    queue.owner.execute("select pg_terminate_backend(%s)", [queue.worker.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        settle(queue.worker, as_lease(entered), COMPLETED, usage=usage)
    assert usage.refused == ""
    with connect(queue.database.worker_dsn, "test") as again:
        assert settle(again, as_lease(entered), COMPLETED, usage=usage)
    assert keys(queue) == [each.event_key for each in usage.events]


def test_pages_and_texts_are_committed_with_their_usage(queue: FilledQueue) -> None:
    """Each checkpoint is one transaction with its events, and a lost lease commits neither."""
    entered, first, second = queue.enter(leased_for_seconds=HOUR_SECONDS), event(1), event(2)
    lease, page = as_lease(entered), OcrPage(1, "a page", "made from")
    assert write_pages(queue.worker, lease, [page], HOUR_SECONDS, UsageWrite((first,)))
    assert write_checkpoint(queue.worker, lease, OcrResult("text", {}, "made from"), HOUR_SECONDS, None, UsageWrite((second,)))
    stranger = replace(lease, lease_key=uuid4())
    assert not write_pages(queue.worker, stranger, [page], HOUR_SECONDS, UsageWrite((event(3),)))
    assert keys(queue) == [first.event_key, second.event_key]
    assert queue.job(entered.job_id)["payload"]["cached_text_md"] == "text"


def test_a_kept_answer_keeps_its_usage(queue: FilledQueue) -> None:
    """The next worker gets the same events from the payload as the worker that called the model had."""
    entered, events = queue.enter(leased_for_seconds=HOUR_SECONDS), (event(), event(2))
    held = Released("refused", 0, "database_23514_all", answer=replace(COMPLETED, usage=events))
    assert settle(queue.worker, as_lease(entered), held)
    lease = lease_job(queue.worker, LeaseRequest(uuid4(), HOUR_SECONDS))
    assert lease is not None
    payload = parse_payload(lease)
    assert not isinstance(payload, Failed)
    assert payload.answer == replace(COMPLETED, usage=events)


def test_a_bad_event_costs_no_kept_answer(queue: FilledQueue) -> None:
    """Events that another version has written are left out, and the answer stays."""
    kept = COMPLETED.as_json() | {"usage": [event().as_json() | {"stage": "later"}, 7]}
    queue.enter(payload={"answer": json.loads(json.dumps(kept))})
    lease = lease_job(queue.worker, LeaseRequest(uuid4(), HOUR_SECONDS))
    assert lease is not None
    payload = parse_payload(lease)
    assert not isinstance(payload, Failed)
    assert payload.answer == COMPLETED
