"""Each statement of the queue, run as the worker's restricted role.

The functions of this database have no guard against a second result, so only the statements' fences prevent one.
"""

import asyncio
import json
import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from supervisor.event_log import EventLog
from supervisor.monitor.queue import reclaimer
from supervisor.monitor.queue.reclaimer import DEAD_INSTANCES_SECONDS, LeaseReclaimer
from supervisor.monitor.queue.refused_rows import RefusedRows
from testkit.database import Database, url
from testkit.filled_queue import STUDENT, Entered, FilledQueue, open_queue, owner_connection, worker_connection
from testkit.waiting import until
from worker.core.evidence import HeldFailure
from worker.core.faults import Suspicion
from worker.core.gates import ALL_OPEN, Gates
from worker.core.outcome import AlreadyFinal, Completed, Failed, Lease, Lost, Outcome, Released, Retried, parse_payload
from worker.ipc import channel
from worker.ipc.channel import LeaseReclaimedReport, ReclaimLeaseRequest
from worker.ipc.contract import ErrorCode, Step
from worker.queue import dead_leases
from worker.queue.bounded import WORKER_BOUNDS
from worker.queue.checkpoints import OcrPage, OcrResult, write_checkpoint, write_page, write_pages
from worker.queue.connection import (
    AsyncConnection,
    Connection,
    DatabaseUnavailable,
    RowRefused,
    UnsuitableDatabase,
    connect,
    outages_named,
)
from worker.queue.dead_leases import leases_of, reclaim_lease, reclaim_orphaned_lease
from worker.queue.leases import LeaseOwner, LeaseRequest, find_lease, lease_job
from worker.queue.permit_sessions import monitor_name, worker_name
from worker.queue.permits import NO_PERMITS, begin_step
from worker.queue.polls import COUNT_BOUND, QueueStats, listen, poll_queue, queue_stats
from worker.queue.settle import settle
from worker.queue.submissions import read_submission

pytestmark = pytest.mark.postgres

LEASE_SECONDS = 45.0
HOUR_SECONDS = 3600.0
ANALYSIS = {"schema": "criteria.v2", "score": 4, "criteria_results": []}
COMPLETED = Completed("what was read", "well done", ANALYSIS)
FAILED = Failed(ErrorCode.INPUT_CORRUPT, "input_corrupt", "VisionPermanentError")
RESULT = OcrResult("what was read", {"pages": 1}, "what it was made from")
HELD_FAILURE = HeldFailure(Suspicion.DIED, "SomeError", Step.VISION, instance=1, answered=0, in_flight=0, died=0, probes=0)
FIRST_PAGE = OcrPage(1, "the first page", "what it was made from")
Answer = TypeVar("Answer")
Write = Callable[[Connection, Lease], bool]


def take(queue: FilledQueue) -> Lease:
    lease = lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS))
    assert lease is not None
    return lease


def as_lease(entered: Entered) -> Lease:
    assert entered.lease_key is not None
    return Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)


def settling(outcome: Outcome) -> Write:
    return lambda connection, lease: settle(connection, lease, outcome)


# Leasing


def test_jobs_are_taken_in_the_order_they_became_visible(queue: FilledQueue) -> None:
    """The job that became visible first is leased first, in whatever order the rows were inserted."""
    entered = {age: queue.enter(visible_in_seconds=-age).job_id for age in (20, 40, 10, 30)}
    assert [take(queue).job_id for _ in entered] == [entered[age] for age in (40, 30, 20, 10)]


@pytest.mark.parametrize(
    "columns", [{"visible_in_seconds": HOUR_SECONDS}, {"leased_for_seconds": HOUR_SECONDS}, {"status": "failed"}]
)
def test_no_job_that_may_not_run_is_taken(queue: FilledQueue, columns: dict[str, Any]) -> None:
    """A delayed, a leased and a failed job are not leased and not changed."""
    queue.enter(**columns)
    before = queue.everything()
    assert lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS)) is None
    assert queue.everything() == before


def test_a_lease_is_the_workers_own_key_and_the_databases_time(queue: FilledQueue) -> None:
    """The row has the worker's key and an end by the database's clock, and the lease has the job's values."""
    entered, key = queue.enter(retry_count=2, payload={"hints_md": "none"}), uuid4()
    lease = lease_job(queue.worker, LeaseRequest(key, LEASE_SECONDS))
    job = queue.job(entered.job_id)
    assert (job["status"], job["lease_key"]) == ("leased", key)
    assert timedelta(seconds=LEASE_SECONDS - 5) < job["leased_for"] <= timedelta(seconds=LEASE_SECONDS)
    assert lease is not None
    place = queue.one("select visible_at::text as place from learning_submission_jobs where id = %s", [entered.job_id])["place"]
    assert lease == Lease(entered.job_id, entered.submission_id, key, job["payload"], 2, lease.age_seconds, place)
    assert 0 <= lease.age_seconds < 60


def test_an_expired_lease_is_taken_over_before_anything_else(queue: FilledQueue) -> None:
    """The job of a worker that vanished does not wait behind all others again."""
    queue.enter(visible_in_seconds=-HOUR_SECONDS)
    expired = queue.enter(leased_for_seconds=-1)
    assert take(queue).job_id == expired.job_id


@pytest.mark.parametrize("gates", [ALL_OPEN, Gates(vision=False, feedback=True)])
def test_an_expired_lease_of_a_living_sibling_is_left_to_it(queue: FilledQueue, gates: Gates) -> None:
    """The next job is leased instead. An expired lease without a key, and one of another worker, is taken over."""
    held, other = queue.enter(leased_for_seconds=-3), queue.enter(leased_for_seconds=-2)
    waiting = queue.enter(visible_in_seconds=-1)
    keyless = queue.enter(leased_for_seconds=-1)
    queue.owner.execute("update learning_submission_jobs set lease_key = null where id = %s", [keyless.job_id])
    siblings = (uuid4(), held.lease_key or uuid4())
    leased = [lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS, gates=gates, sibling_keys=siblings)) for _ in range(4)]
    assert [lease and lease.job_id for lease in leased] == [other.job_id, keyless.job_id, waiting.job_id, None]


@pytest.mark.parametrize(
    ("found", "counted"),
    [
        ("{}", 1),
        ('{"expiries": 2}', 3),
        ('{"expiries": 2.2}', 3),
        ('{"expiries": -7}', 1),
        ('{"expiries": "2"}', 1),
        ('{"expiries": null}', 1),
        ('{"expiries": [1]}', 1),
        ('{"expiries": 1e300}', 1001),
        ('{"expiries": 99999999999999999999}', 1001),
    ],
)
def test_an_expiry_is_counted_in_the_payload(queue: FilledQueue, found: str, counted: int) -> None:
    """Taking over an expired lease adds one to a valid count, and starts at one if there is none."""
    entered = queue.enter(payload=found, leased_for_seconds=-1)
    assert take(queue).payload["expiries"] == counted
    assert queue.job(entered.job_id)["payload"]["expiries"] == counted


@pytest.mark.parametrize("owner", ["worker", "monitor"])
def test_an_expiry_is_not_counted_while_its_owner_lives(queue: FilledQueue, owner: str) -> None:
    """A lease that ends while its worker or the monitor of its instance has a session was ended by nothing that the job did."""
    entered = queue.enter(leased_for_seconds=-1)
    key = str(entered.lease_key)
    instance, incarnation = int(key[:8], 16), int(key[-8:], 16)
    name = worker_name(0, 1, incarnation) if owner == "worker" else monitor_name(7, instance)
    with connect(queue.database.worker_dsn, name):
        assert "expiries" not in take(queue).payload


@pytest.mark.parametrize("payload", ["[]", '["expiries"]', '"text"', "7", "null", "true"])
def test_a_payload_that_is_no_object_can_be_leased(queue: FilledQueue, payload: str) -> None:
    """No payload makes the lease raise or is changed by it. The worker fails such a job itself."""
    entered = queue.enter(payload=payload, leased_for_seconds=-1)
    before = queue.job(entered.job_id)["payload"]
    assert take(queue).payload == before
    assert queue.job(entered.job_id)["payload"] == before


def test_only_expiries_are_counted_as_such(queue: FilledQueue) -> None:
    """A job that is leased for the first time, or after a release, has no expiry."""
    queue.enter()
    first = take(queue)
    settle(queue.worker, first, Released("drain"))
    assert "expiries" not in {**first.payload, **take(queue).payload}


def test_a_locked_row_is_skipped(queue: FilledQueue) -> None:
    """While another transaction locks the oldest job, the next one is leased at once, and then none."""
    oldest, next_one = queue.enter(visible_in_seconds=-2), queue.enter(visible_in_seconds=-1)
    with queue.owner.transaction():
        queue.owner.execute("select from learning_submission_jobs where id = %s for update", [oldest.job_id])
        assert take(queue).job_id == next_one.job_id
        assert lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS)) is None


def test_workers_never_share_a_job(queue: FilledQueue) -> None:
    """Six connections that lease until nothing is left take each job exactly once."""
    entered = {queue.enter(leased_for_seconds=-1 if n % 4 == 0 else None).job_id for n in range(40)}

    def take_all(_: int) -> list[UUID]:
        with worker_connection(queue.database) as worker:
            return [lease.job_id for lease in iter(lambda: lease_job(worker, LeaseRequest(uuid4(), LEASE_SECONDS)), None)]

    with ThreadPoolExecutor(6) as pool:
        taken = [job_id for each in pool.map(take_all, range(6)) for job_id in each]
    assert sorted(taken) == sorted(entered)


def test_a_lease_is_found_again_by_its_key(queue: FilledQueue) -> None:
    """A lease is found by its key after a lost acknowledgement, and not after it has ended."""
    queue.enter()
    lease = take(queue)
    found = find_lease(queue.worker, lease.lease_key)
    assert found is not None
    assert (found.job_id, found.submission_id, found.payload) == (lease.job_id, lease.submission_id, lease.payload)
    assert find_lease(queue.worker, uuid4()) is None
    settle(queue.worker, lease, Released("drain"))
    assert find_lease(queue.worker, lease.lease_key) is None


# Fences: each write after a lease names the job's id and its lease key

SETTLING: dict[str, Write] = {
    "complete": settling(COMPLETED),
    "fail": settling(FAILED),
    "retry": settling(Retried(Step.VISION, "VisionTransientError", 10)),
    "release": settling(Released("drain")),
    "hold": settling(Released("held", 5, "SomeError", HELD_FAILURE)),
    "delete": settling(AlreadyFinal()),
}
RENEWING: dict[str, Write] = {
    "renew": lambda connection, lease: begin_step(connection, lease, LEASE_SECONDS, NO_PERMITS).is_ours,
    "page": lambda connection, lease: write_page(connection, lease, FIRST_PAGE, LEASE_SECONDS),
    "checkpoint": lambda connection, lease: write_checkpoint(connection, lease, RESULT, LEASE_SECONDS),
}
WRITES = SETTLING | RENEWING
every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())


@every_write
def test_a_write_with_another_id_changes_nothing(queue: FilledQueue, write: Write) -> None:
    """The right key with the wrong id changes neither the job of the id nor that of the key."""
    mine, other = (queue.enter(leased_for_seconds=HOUR_SECONDS) for _ in range(2))
    before = queue.everything()
    assert not write(queue.worker, Lease(other.job_id, other.submission_id, as_lease(mine).lease_key, {}, 0))
    assert queue.everything() == before


@every_write
def test_an_expired_lease_that_was_not_taken_over_still_writes(queue: FilledQueue, write: Write) -> None:
    """The key decides, not the clock."""
    assert write(queue.worker, as_lease(queue.enter(leased_for_seconds=-HOUR_SECONDS)))


@every_write
def test_a_lease_that_was_taken_over_writes_nothing(queue: FilledQueue, write: Write) -> None:
    """A worker whose job was taken over is rejected and changes nothing. queue_machine.py proves it in any order of events."""
    slow = as_lease(queue.enter(leased_for_seconds=-1))
    take(queue)
    before = queue.everything()
    assert not write(queue.worker, slow)
    assert queue.everything() == before


def test_the_outcome_lost_writes_nothing(queue: FilledQueue) -> None:
    """A lost lease ends without a statement."""
    mine = as_lease(queue.enter(leased_for_seconds=HOUR_SECONDS))
    before = queue.everything()
    assert not settle(queue.worker, mine, Lost())
    assert queue.everything() == before


# What each write does


def test_completing_writes_the_result_and_ends_the_job(queue: FilledQueue) -> None:
    """Text, feedback and analysis are written once to the submission, and the job's row is deleted."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    assert settle(queue.worker, as_lease(entered), COMPLETED)
    row = queue.submission(entered.submission_id)
    assert (row["analysis_status"], row["text_body"], row["feedback_md"]) == ("completed", "what was read", "well done")
    assert (row["analysis_json"], row["error_code"], row["vision_attempts"]) == (ANALYSIS, None, 1)
    assert queue.results() == [(entered.submission_id, "completed")]
    assert queue.job_ids() == set()


def test_a_result_that_is_rejected_leaves_the_job(database: Database) -> None:
    """Result and deletion are one statement: if the result cannot be written, the job is not deleted."""
    with open_queue(database) as queue:
        queue.owner.execute("alter table learning_submissions add check (feedback_md <> 'well done')")
        entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
        before = queue.everything()
        with pytest.raises(psycopg.errors.CheckViolation):
            settle(queue.worker, as_lease(entered), COMPLETED)
        assert queue.everything() == before


def test_failing_keeps_the_row_for_the_administrator(queue: FilledQueue) -> None:
    """The submission has the platform's code. The job's row stays, with its own code and without a lease."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    assert settle(queue.worker, as_lease(entered), Failed(ErrorCode.VISION_FAILED, "submission_not_visible"))
    job, row = queue.job(entered.job_id), queue.submission(entered.submission_id)
    assert (job["status"], job["error_code"], job["lease_key"], job["leased_until"]) == (
        "failed",
        "submission_not_visible",
        None,
        None,
    )
    assert (row["analysis_status"], row["error_code"]) == ("failed", "vision_failed")
    assert row["vision_last_error"] == "submission_not_visible"


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_is_one_of_the_platforms(queue: FilledQueue, code: ErrorCode) -> None:
    """The platform's function accepts each code that a worker may use, and stores the code of the error."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    assert settle(queue.worker, as_lease(entered), Failed(code, code, "SomeError"))
    row = queue.submission(entered.submission_id)
    assert (row["error_code"], queue.job(entered.job_id)["error_code"]) == (code, code)
    last_error = "feedback_last_error" if code is ErrorCode.FEEDBACK_FAILED else "vision_last_error"
    assert row[last_error] == "some_error"


def test_a_code_that_the_function_rejects_leaves_the_job(queue: FilledQueue) -> None:
    """Failing is one statement too."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    before = queue.everything()
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        settle(queue.worker, as_lease(entered), Failed(cast(ErrorCode, "meteor"), "meteor"))
    assert queue.everything() == before


@pytest.mark.parametrize(("step", "attempts"), [(Step.VISION, 1), (Step.FEEDBACK, 0)])
def test_a_retry_counts_an_attempt_and_waits(queue: FilledQueue, step: Step, attempts: int) -> None:
    """The job is queued for later with one more retry, and the submission has the code of the step.

    The job has no error code, as on the platform. The next worker reads the class in the payload.
    """
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS, retry_count=1)
    assert settle(queue.worker, as_lease(entered), Retried(step, "SomeError", HOUR_SECONDS))
    job, row = queue.job(entered.job_id), queue.submission(entered.submission_id)
    assert (job["status"], job["retry_count"], job["error_code"], job["lease_key"]) == ("queued", 2, None, None)
    assert job["payload"]["last_error"] == "SomeError"
    assert lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS)) is None
    assert (row["analysis_status"], row["error_code"]) == ("pending", f"{step}_retrying")
    assert (row["vision_attempts"], row[f"{step}_last_error"]) == (attempts, "some_error")


def test_a_retry_without_a_wait_is_visible_at_once(queue: FilledQueue) -> None:
    """WORKER_BACKOFF_SECONDS may be 0."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    settle(queue.worker, as_lease(entered), Retried(Step.VISION, "SomeError", 0))
    lease = take(queue)
    assert (lease.retry_count, lease.error_code) == (1, "SomeError")


def test_a_later_hold_is_the_last_error(queue: FilledQueue) -> None:
    """The error code of a hold is newer than the class of the retry before it."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    settle(queue.worker, as_lease(entered), Retried(Step.VISION, "SomeError", 0))
    settle(queue.worker, take(queue), Released("held", 0, "Unavailable"))
    assert take(queue).error_code == "Unavailable"


def test_a_retry_after_a_refused_write_keeps_its_reason(queue: FilledQueue) -> None:
    """Its SQLSTATE is a mark in the row: `status` counts such jobs, and the next worker rehearses the write."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    settle(queue.worker, as_lease(entered), Retried(Step.VISION, "database_23514_all", 0))
    assert queue.job(entered.job_id)["error_code"] == "database_23514_all"


@pytest.mark.parametrize("last_error", [7, ["SomeError"], {"a": 1}, None, "x" * 300])
def test_a_last_error_may_be_anything(queue: FilledQueue, last_error: object) -> None:
    """A payload is the platform's, and no worker need have written what it has."""
    queue.enter(payload={"last_error": last_error})
    assert take(queue).error_code == ""


@pytest.mark.parametrize("payload", ["[]", "3", "null", '"text"'])
def test_any_payload_can_be_retried(queue: FilledQueue, payload: str) -> None:
    """A payload that is no object has no place for the class and stays as it is."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    queue.owner.execute("update learning_submission_jobs set payload = %s::jsonb where id = %s", [payload, entered.job_id])
    assert settle(queue.worker, as_lease(entered), Retried(Step.VISION, "SomeError", 0))
    assert queue.job(entered.job_id)["payload"] == json.loads(payload)


def test_a_release_keeps_the_position_in_the_queue(queue: FilledQueue) -> None:
    """A released job has no attempt counted, is leased next, and leaves no trace in the submission."""
    given_back = queue.enter(visible_in_seconds=-10)
    queue.enter(visible_in_seconds=-5)
    lease, submission = take(queue), queue.submission(given_back.submission_id)
    assert settle(queue.worker, lease, Released("drain"))
    again = take(queue)
    assert (again.job_id, again.retry_count) == (given_back.job_id, 0)
    assert queue.submission(given_back.submission_id) == submission


def test_a_hold_with_a_delay_lets_other_jobs_go_first(queue: FilledQueue) -> None:
    """A held job waits, without an attempt counted."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS, retry_count=1)
    settle(queue.worker, as_lease(entered), Released("held", HOUR_SECONDS, "Unavailable"))
    job = queue.job(entered.job_id)
    assert (job["status"], job["retry_count"], job["lease_key"]) == ("queued", 1, None)
    assert lease_job(queue.worker, LeaseRequest(uuid4(), LEASE_SECONDS)) is None


@pytest.mark.parametrize("delay_seconds", [0.0, HOUR_SECONDS])
def test_a_held_job_remembers_why(queue: FilledQueue, delay_seconds: float) -> None:
    """No attempt is counted, the row names the class, and the payload keeps the evidence beside what it had."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    before = queue.job(entered.job_id)
    assert settle(queue.worker, as_lease(entered), Released("held", delay_seconds, "SomeError", HELD_FAILURE))
    after = queue.job(entered.job_id)
    assert (after["status"], after["retry_count"], after["error_code"]) == ("queued", 0, "SomeError")
    assert after["payload"] == {**before["payload"], "suspect": HELD_FAILURE.as_json()}
    assert (after["visible_at"] == before["visible_at"]) is (delay_seconds == 0)


@pytest.mark.parametrize("payload", ["[]", "3", "null", '"text"'])
def test_any_payload_can_be_held(queue: FilledQueue, payload: str) -> None:
    """A payload that is no object has no place for the evidence and stays as it is."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    queue.owner.execute("update learning_submission_jobs set payload = %s::jsonb where id = %s", [payload, entered.job_id])
    assert settle(queue.worker, as_lease(entered), Released("held", 0, "SomeError", HELD_FAILURE))
    assert queue.job(entered.job_id)["payload"] == json.loads(payload)


@pytest.mark.parametrize("write", ["page", "checkpoint"])
def test_a_committed_page_gives_the_attempts_back(queue: FilledQueue, write: str) -> None:
    """Each page has attempts of its own, and the suspicion against the job ends."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    change = "update learning_submission_jobs set retry_count = 3, payload = payload || %s where id = %s"
    queue.owner.execute(change, [Jsonb({"suspect": HELD_FAILURE.as_json()}), entered.job_id])
    assert RENEWING[write](queue.worker, as_lease(entered))
    after = queue.job(entered.job_id)
    assert (after["retry_count"], "suspect" in after["payload"]) == (0, False)


def test_an_attempt_ends_the_suspicion(queue: FilledQueue) -> None:
    """The evidence for the next attempt begins anew."""
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    change = "update learning_submission_jobs set payload = payload || %s where id = %s"
    queue.owner.execute(change, [Jsonb({"suspect": HELD_FAILURE.as_json()}), entered.job_id])
    settle(queue.worker, as_lease(entered), Retried(Step.VISION, "SomeError", 0))
    after = queue.job(entered.job_id)
    assert (after["retry_count"], "suspect" in after["payload"]) == (1, False)


def test_deleting_the_job_leaves_the_submission(queue: FilledQueue) -> None:
    """If the submission is final already, only the job's row is deleted."""
    entered = queue.enter(analysis_status="completed", leased_for_seconds=HOUR_SECONDS)
    submission = queue.submission(entered.submission_id)
    assert settle(queue.worker, as_lease(entered), AlreadyFinal())
    assert queue.job_ids() == set()
    assert queue.submission(entered.submission_id) == submission
    assert queue.results() == []


def test_a_checkpoint_adds_to_the_payload_and_renews(queue: FilledQueue) -> None:
    """One write adds the text, its metadata and its fingerprint to the platform's keys and renews the lease."""
    entered = queue.enter(kind="image", payload={"hints_md": "kept"}, leased_for_seconds=1)
    assert write_checkpoint(queue.worker, as_lease(entered), RESULT, HOUR_SECONDS)
    job = queue.job(entered.job_id)
    assert (
        job["payload"].items()
        >= {
            "hints_md": "kept",
            "student_sub": STUDENT,
            "cached_text_md": RESULT.text_md,
            "cached_raw_metadata": RESULT.raw_metadata,
            "cached_from": RESULT.fingerprint,
        }.items()
    )
    assert job["leased_for"] > timedelta(minutes=50)


def test_pages_are_stored_in_sequence(queue: FilledQueue) -> None:
    """Each page has its own index, whatever is repeated. The platform's keys stay, and the lease is renewed."""
    entered = queue.enter(kind="file", payload={"hints_md": "kept"}, leased_for_seconds=1)
    for page in (1, 2, 2, 3, 3):
        assert write_page(queue.worker, as_lease(entered), OcrPage(page, f"page {page}", "origin"), HOUR_SECONDS)
    job = queue.job(entered.job_id)
    kept = {"hints_md": "kept", "cached_pages": ["page 1", "page 2", "page 3"], "cached_pages_from": "origin"}
    assert job["payload"].items() >= kept.items()
    assert job["leased_for"] > timedelta(minutes=50)


def test_several_pages_are_stored_at_once(queue: FilledQueue) -> None:
    """Pages that follow each other are one commit. A repetition changes nothing."""
    entered = queue.enter(kind="file", leased_for_seconds=1)
    pages = [OcrPage(page, f"page {page}", "origin") for page in (1, 2, 3)]
    for some in (pages[:2], pages[1:], pages[1:]):
        assert write_pages(queue.worker, as_lease(entered), some, HOUR_SECONDS)
    job = queue.job(entered.job_id)
    assert job["payload"]["cached_pages"] == ["page 1", "page 2", "page 3"]
    assert job["leased_for"] > timedelta(minutes=50)


def test_of_several_pages_none_is_stored_without_the_lease(queue: FilledQueue) -> None:
    """The fence holds for each of them."""
    entered = queue.enter(kind="file", leased_for_seconds=HOUR_SECONDS)
    lost = replace(as_lease(entered), lease_key=uuid4())
    assert not write_pages(queue.worker, lost, [OcrPage(page, "text", "origin") for page in (1, 2)], HOUR_SECONDS)
    assert "cached_pages" not in queue.job(entered.job_id)["payload"]


def test_the_first_page_starts_a_new_list(queue: FilledQueue) -> None:
    """The first page of another reading discards pages with another fingerprint."""
    pages = {"cached_pages": ["old 1", "old 2"], "cached_pages_from": "another model"}
    entered = queue.enter(kind="file", payload=pages, leased_for_seconds=HOUR_SECONDS)
    assert write_page(queue.worker, as_lease(entered), FIRST_PAGE, HOUR_SECONDS)
    payload = queue.job(entered.job_id)["payload"]
    assert (payload["cached_pages"], payload["cached_pages_from"]) == (["the first page"], FIRST_PAGE.fingerprint)


def test_the_whole_text_replaces_its_pages(queue: FilledQueue) -> None:
    """After the whole text is committed, the payload has no pages."""
    entered = queue.enter(kind="file", leased_for_seconds=HOUR_SECONDS)
    write_page(queue.worker, as_lease(entered), FIRST_PAGE, HOUR_SECONDS)
    write_checkpoint(queue.worker, as_lease(entered), RESULT, HOUR_SECONDS)
    payload = queue.job(entered.job_id)["payload"]
    assert payload["cached_text_md"] == RESULT.text_md
    assert not {"cached_pages", "cached_pages_from"} & payload.keys()


def test_a_step_renews_the_lease(queue: FilledQueue) -> None:
    """The start of a step renews the lease for the step's time and changes nothing else of the job."""
    entered = queue.enter(leased_for_seconds=1)
    before = queue.job(entered.job_id)
    assert begin_step(queue.worker, as_lease(entered), HOUR_SECONDS, NO_PERMITS).is_ours
    after = queue.job(entered.job_id)
    assert after["leased_for"] > timedelta(minutes=50)
    moved = {"leased_until", "leased_for", "updated_at"}
    assert {name for name in after if after[name] != before[name]} == moved


# Reading a submission


def test_a_submission_is_read_under_its_students_subject(queue: FilledQueue) -> None:
    """With the right subject the row is visible, with all columns that the steps need."""
    entered = queue.enter(kind="image")
    row = read_submission(queue.worker, entered.submission_id, STUDENT)
    assert row is not None
    assert (row["id"], row["kind"], row["storage_key"]) == (entered.submission_id, "image", "key")
    assert (row["analysis_status"], row["internal_metadata"]) == ("pending", {})


@pytest.mark.parametrize("subject", ["student-2", "", "%", "student-1 "])
def test_a_wrong_subject_finds_no_submission(queue: FilledQueue, subject: str) -> None:
    """Row security hides the row under any other subject."""
    assert read_submission(queue.worker, queue.enter().submission_id, subject) is None


# The monitor


async def _with_monitor(
    database: Database, function: Callable[..., Awaitable[Answer]], arguments: tuple[Any, ...], options: dict[str, Any]
) -> Answer:
    connection: AsyncConnection = await psycopg.AsyncConnection.connect(
        database.worker_dsn, autocommit=True, row_factory=dict_row
    )
    async with connection:
        return await function(connection, *arguments, **options)


def monitor(queue: FilledQueue, function: Callable[..., Awaitable[Answer]], *arguments: Any, **options: Any) -> Answer:
    """Run the function on an asynchronous connection, as the monitor does."""
    return asyncio.run(_with_monitor(queue.database, function, arguments, options))


@pytest.mark.parametrize(
    ("kind", "payload", "max_crashes", "result", "crashes", "error_code"),
    [
        ("image", {}, 2, "reclaimed", 1, None),
        ("image", {}, None, "reclaimed", None, None),
        ("image", {"crashes": 7}, None, "reclaimed", 7, None),
        ("image", {"crashes": 1}, 3, "reclaimed", 2, None),
        ("image", {"crashes": "1"}, 2, "reclaimed", 1, None),
        ("image", {"crashes": -5}, 2, "reclaimed", 1, None),
        ("image", {}, 1, "quarantined", 1, "vision_failed"),
        ("image", {"crashes": 1}, 2, "quarantined", 2, "vision_failed"),
        ("image", {"crashes": 10**30}, 2, "quarantined", 1001, "vision_failed"),
        ("image", {"crashes": 1, "cached_text_md": ""}, 2, "quarantined", 2, "vision_failed"),
        ("image", {"crashes": 1, "cached_text_md": "read"}, 2, "quarantined", 2, "feedback_failed"),
        ("file", {"crashes": 1, "cached_text_md": "read"}, 2, "quarantined", 2, "feedback_failed"),
        ("text", {"crashes": 1}, 2, "quarantined", 2, "feedback_failed"),
    ],
)
def test_a_crash_is_counted_up_to_the_quarantine(
    queue: FilledQueue,
    kind: str,
    payload: dict[str, object],
    max_crashes: int | None,
    result: str,
    crashes: int | None,
    error_code: str | None,
) -> None:
    """A dead worker's job is queued with its crashes counted. At the limit it fails with the code of its step.

    Then the count is kept aside.
    """
    entered = queue.enter(kind=kind, payload=payload, leased_for_seconds=HOUR_SECONDS)
    answer = monitor(queue, reclaim_lease, entered.job_id, entered.lease_key, max_crashes=max_crashes)
    job, row = queue.job(entered.job_id), queue.submission(entered.submission_id)
    status, job_error = ("failed", "worker_crashed") if error_code else ("queued", None)
    counts = job["payload"]["quarantined"] if error_code else job["payload"]
    assert (answer, counts.get("crashes")) == (result, crashes)
    assert (job["status"], job["error_code"], job["lease_key"], job["leased_until"]) == (status, job_error, None, None)
    assert (row["analysis_status"], row["error_code"]) == ("failed" if error_code else "pending", error_code)


@pytest.mark.parametrize(("expiries", "result"), [(0, "reclaimed"), (3, "reclaimed"), (4, "quarantined"), (9, "quarantined")])
def test_the_fifth_expiry_quarantines_the_job(queue: FilledQueue, expiries: int, result: str) -> None:
    """The lease of a dead instance is reclaimed and counted as an expiry. At the fifth the job is quarantined."""
    entered = queue.enter(kind="image", payload={"expiries": expiries}, leased_for_seconds=HOUR_SECONDS)
    assert monitor(queue, reclaim_orphaned_lease, entered.job_id, entered.lease_key) == result
    payload = queue.job(entered.job_id)["payload"]
    assert payload.get("quarantined", payload)["expiries"] == expiries + 1
    assert queue.results() == ([(entered.submission_id, "failed")] if result == "quarantined" else [])


@pytest.mark.parametrize("payload", ["[]", '"text"', "null", "[1, 2]"])
@pytest.mark.parametrize(("max_crashes", "status"), [(None, "queued"), (2, "failed"), (1, "failed")])
def test_any_payload_can_be_reclaimed(queue: FilledQueue, payload: str, max_crashes: int | None, status: str) -> None:
    """A payload that is not an object is not changed and does not raise. It has no place for a count, so one death is enough."""
    entered = queue.enter(payload=payload, leased_for_seconds=HOUR_SECONDS)
    before = queue.job(entered.job_id)["payload"]
    monitor(queue, reclaim_lease, entered.job_id, entered.lease_key, max_crashes=max_crashes)
    job = queue.job(entered.job_id)
    assert (job["status"], job["payload"]) == (status, before)


def test_a_reclaimed_job_keeps_its_position(queue: FilledQueue) -> None:
    """The job of a dead worker is leased next."""
    dead = queue.enter(visible_in_seconds=-10, leased_for_seconds=HOUR_SECONDS)
    queue.enter(visible_in_seconds=-5)
    monitor(queue, reclaim_lease, dead.job_id, dead.lease_key, max_crashes=2)
    assert take(queue).job_id == dead.job_id


def test_a_job_is_reclaimed_by_its_key_alone(queue: FilledQueue) -> None:
    """A worker that died before its job's id was on the scoreboard had written its key there, and that is enough."""
    entered, other = (queue.enter(leased_for_seconds=HOUR_SECONDS) for _ in range(2))
    assert monitor(queue, reclaim_lease, None, entered.lease_key, max_crashes=2) is dead_leases.ReclaimResult.RECLAIMED
    assert (queue.job(entered.job_id)["status"], queue.job(other.job_id)["status"]) == ("queued", "leased")


@pytest.mark.parametrize("knows_job", [True, False])
@pytest.mark.parametrize("end", ["settled", "taken over", "released"])
def test_a_lease_that_the_dead_worker_did_not_hold_is_not_reclaimed(queue: FilledQueue, end: str, *, knows_job: bool) -> None:
    """A job that was settled, taken over or released before the death is not changed."""
    entered = queue.enter(leased_for_seconds=-1)
    match end:
        case "settled":
            settle(queue.worker, as_lease(entered), COMPLETED)
        case "taken over":
            take(queue)
        case "released":
            settle(queue.worker, as_lease(entered), Released("drain"))
    before = queue.everything()
    answer = monitor(queue, reclaim_lease, entered.job_id if knows_job else None, entered.lease_key, max_crashes=1)
    assert answer is dead_leases.ReclaimResult.NOT_FOUND
    assert queue.everything() == before


def test_a_report_is_sent_again_when_the_socket_was_full(queue: FilledQueue, tmp_path: Path) -> None:
    """The supervisor requests each lease once per monitor, so a report that found its socket full is sent when there is room."""
    lease = as_lease(queue.enter(leased_for_seconds=HOUR_SECONDS))
    request = ReclaimLeaseRequest(job_id=lease.job_id, lease_key=lease.lease_key, is_counted=True)
    supervisor, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with supervisor, ours:
        for end in (supervisor, ours):
            end.setblocking(False)
        fill(ours)
        releases = LeaseReclaimer(ours.fileno(), tmp_path, "", 2, EventLog("ERROR", lambda _line: None), RefusedRows())
        releases.add(request)
        monitor(queue, releases.reclaim, lambda _result: None)
        assert channel.receive(supervisor.fileno()) == []
        assert releases.due_in_seconds() < DEAD_INSTANCES_SECONDS
        monitor(queue, releases.reclaim, lambda _result: None)
        assert channel.receive(supervisor.fileno()) == [LeaseReclaimedReport(lease_key=lease.lease_key, outcome="reclaimed")]


def test_a_late_commit_under_a_lock_is_reclaimed_later(queue: FilledQueue, tmp_path: Path) -> None:
    """A dead worker's statement commits after the first try, and the row is locked at the second. A later try reclaims it."""
    job_id, key = queue.enter().job_id, uuid4()
    supervisor, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with supervisor, ours:
        releases = LeaseReclaimer(ours.fileno(), tmp_path, "", 2, EventLog("ERROR", lambda _line: None), RefusedRows())
        releases.add(ReclaimLeaseRequest(job_id=job_id, lease_key=key, is_counted=True))
        monitor(queue, give_back_with_a_short_wait, releases)
        assert lease_job(queue.worker, LeaseRequest(key, LEASE_SECONDS))
        with queue.owner.transaction():
            queue.one("select from learning_submission_jobs where id = %s for update", [job_id])
            until(lambda: releases.due_in_seconds() == 0)
            monitor(queue, give_back_with_a_short_wait, releases)
        monitor(queue, give_back_with_a_short_wait, releases)
        supervisor.setblocking(False)
        assert channel.receive(supervisor.fileno()) == [LeaseReclaimedReport(lease_key=key, outcome="reclaimed")]


def test_many_locked_rows_cost_one_wait_at_a_time(queue: FilledQueue, tmp_path: Path) -> None:
    """A pass waits for one locked row only, and the next pass takes the free row behind it first."""
    locked, free = (request_of_a_dead_worker(queue) for _ in range(2))
    supervisor, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor.setblocking(False)
    with supervisor, ours, queue.owner.transaction():
        releases = LeaseReclaimer(ours.fileno(), tmp_path, "", 2, EventLog("ERROR", lambda _line: None), RefusedRows())
        queue.one("select from learning_submission_jobs where id = %s for update", [locked.job_id])
        for each in (locked, free):
            releases.add(each)
        monitor(queue, give_back_with_a_short_wait, releases)
        assert channel.receive(supervisor.fileno()) == []
        monitor(queue, give_back_with_a_short_wait, releases)
        assert channel.receive(supervisor.fileno()) == [LeaseReclaimedReport(lease_key=free.lease_key, outcome="reclaimed")]


def test_a_late_commit_of_a_dead_instance_is_reclaimed(
    queue: FilledQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of a dead instance commits after the first search. A later one reclaims it, and the last forgets the instance."""
    monkeypatch.setattr(reclaimer, "DEAD_INSTANCES_SECONDS", 0.0)
    job_id, key = queue.enter().job_id, LeaseOwner(0xDEAD, 1).new_key()
    lock, control_socket = (tmp_path / f"0000dead.{suffix}" for suffix in ("instance", "sock"))
    for file in (lock, control_socket):
        file.touch()
    releases = LeaseReclaimer(-1, tmp_path, "", 2, EventLog("ERROR", lambda _line: None), RefusedRows())
    monitor(queue, releases.reclaim_dead_instances, lambda _result: None)
    assert (lock.exists(), control_socket.exists()) == (True, False)
    assert lease_job(queue.worker, LeaseRequest(key, LEASE_SECONDS))
    monitor(queue, releases.reclaim_dead_instances, lambda _result: None)
    assert (queue.job(job_id)["status"], queue.job(job_id)["payload"]["expiries"]) == ("queued", 1)
    monkeypatch.setattr(reclaimer, "LATE_COMMIT_SECONDS", 0.0)
    monitor(queue, releases.reclaim_dead_instances, lambda _result: None)
    assert not lock.exists()


def request_of_a_dead_worker(queue: FilledQueue) -> ReclaimLeaseRequest:
    entered = queue.enter(leased_for_seconds=HOUR_SECONDS)
    assert entered.lease_key is not None
    return ReclaimLeaseRequest(job_id=entered.job_id, lease_key=entered.lease_key, is_counted=True)


async def give_back_with_a_short_wait(connection: AsyncConnection, releases: LeaseReclaimer) -> None:
    """Reclaim with a lock timeout below the monitor's."""
    await connection.execute("set lock_timeout = 100")
    await releases.reclaim(connection, lambda _result: None)


def fill(sender: socket.socket) -> None:
    """Fill the socket with bytes that are no message."""
    with suppress(BlockingIOError):
        while True:
            sender.send(b"-")


def test_leases_are_found_by_their_instance(queue: FilledQueue) -> None:
    """All leases of an instance's workers are found, and none of another instance or of the platform's worker."""
    ours, theirs = [LeaseOwner(7, 1), LeaseOwner(7, 2)], LeaseOwner(8, 1)
    keys = [owner.new_key() for owner in (*ours, theirs)] + [uuid4()]
    for key in keys:
        queue.enter()
        assert lease_job(queue.worker, LeaseRequest(key, LEASE_SECONDS)) is not None
    queue.enter()
    found = monitor(queue, leases_of, 7)
    assert {key for _, key in found} == set(keys[:2])
    assert all(queue.job(job_id)["lease_key"] == key for job_id, key in found)


@pytest.mark.parametrize(
    ("jobs", "is_waiting", "due_in_seconds"),
    [
        ([], False, math.inf),
        ([{"status": "failed"}], False, math.inf),
        ([{}], True, math.inf),
        ([{"visible_in_seconds": 30}], False, 30),
        ([{"visible_in_seconds": 90}, {"visible_in_seconds": 30}], False, 30),
        ([{"leased_for_seconds": 20}], False, 20),
        ([{"leased_for_seconds": 20}, {"visible_in_seconds": 30}], False, 20),
        ([{"leased_for_seconds": -5}], True, math.inf),
        ([{"leased_for_seconds": -5}, {"leased_for_seconds": 20}], True, 20),
        ([{"leased_for_seconds": -5}, {"visible_in_seconds": 30}], True, 30),
        ([{}, {"visible_in_seconds": 30}], True, 30),
    ],
)
def test_a_poll_reports_waiting_and_due_jobs(
    queue: FilledQueue, jobs: list[dict[str, Any]], is_waiting: bool, due_in_seconds: float
) -> None:
    """It reports whether a job may run now, and when the next delayed or leased one is due, whatever was due before it."""
    for columns in jobs:
        queue.enter(**columns)
    seen = monitor(queue, poll_queue)
    assert seen.is_waiting is is_waiting
    assert seen.due_in_seconds == due_in_seconds or due_in_seconds - 5 < seen.due_in_seconds <= due_in_seconds


def test_the_queue_is_counted_by_status(queue: FilledQueue) -> None:
    """Rows are counted by status, delayed ones as queued, and the oldest visible job's wait is measured."""
    for columns in ({"visible_in_seconds": -40}, {}, {"visible_in_seconds": 40}, {"leased_for_seconds": 9}, {"status": "failed"}):
        queue.enter(**cast(Any, columns))
    stats = monitor(queue, queue_stats)
    assert (stats.queued, stats.leased, stats.failed) == (3, 1, 1)
    assert stats.oldest_wait_seconds is not None
    assert 40 <= stats.oldest_wait_seconds < 50


def test_an_empty_queue_has_no_wait(queue: FilledQueue) -> None:
    """No rows are zero rows, and the oldest wait is absent."""
    assert monitor(queue, queue_stats) == QueueStats(0, 0, 0, None)


def test_counting_is_bounded(queue: FilledQueue) -> None:
    """A queue of any length costs a count of at most the bound."""
    entered = queue.enter()
    queue.owner.execute(
        "insert into learning_submission_jobs (submission_id, payload) select %s, '{}' from generate_series(1, %s)",
        [entered.submission_id, COUNT_BOUND],
    )
    assert monitor(queue, queue_stats).queued == COUNT_BOUND


def test_a_listener_is_notified_of_a_new_submission(queue: FilledQueue) -> None:
    """The platform's own trigger notifies a listener when a submission is inserted."""

    async def notification(connection: AsyncConnection) -> str:
        await listen(connection)
        entered = queue.enter()
        notes = [note async for note in connection.notifies(timeout=20, stop_after=1)]
        return "this one" if [note.payload for note in notes] == [str(entered.submission_id)] else str(notes)

    assert monitor(queue, notification) == "this one"


# Connecting


def test_a_superuser_is_rejected(queue: FilledQueue) -> None:
    """A worker does not start as a superuser, because row security does not apply to it."""
    with pytest.raises(UnsuitableDatabase, match="bypasses row security"):
        connect(queue.database.admin_dsn, "test")


def test_a_database_that_cannot_store_umlauts_is_rejected(queue: FilledQueue) -> None:
    """`createdb` makes such a database on a server without a locale. An umlaut could not be stored and would end every worker."""
    name = sql.Identifier(f"{queue.database.name}_ascii")
    queue.owner.execute(sql.SQL("create database {} encoding 'SQL_ASCII' locale 'C' template template0").format(name))
    with undone(queue, sql.SQL("drop database {}").format(name)), pytest.raises(UnsuitableDatabase, match="UTF8"):
        connect(url(queue.database.worker_dsn, dbname=f"{queue.database.name}_ascii"), "test")


def test_a_superuser_may_be_allowed(queue: FilledQueue) -> None:
    """ALLOW_SERVICE_DSN_FOR_TESTING permits one."""
    with connect(queue.database.admin_dsn, "test", allows_service_role=True) as connection:
        assert connection.execute("select 1 as one").fetchone() == {"one": 1}


@contextmanager
def service_role(queue: FilledQueue) -> Iterator[None]:
    """Roles belong to the whole server, so a parallel run waits for the name."""
    with queue.owner.transaction():
        queue.owner.execute("select pg_advisory_xact_lock(hashtext('service_role'))")
        with owner_connection(queue.database) as other:
            other.execute("create role service_role login password 'secret'")
            try:
                yield
            finally:
                other.execute("drop role service_role")


def test_a_service_role_is_rejected_by_its_name(queue: FilledQueue) -> None:
    """A role that is not a superuser but has a service role's name is rejected too."""
    with service_role(queue), pytest.raises(UnsuitableDatabase, match="service_role"):
        connect(url(queue.database.admin_dsn, user="service_role", password="secret", dbname="postgres"), "test")


@pytest.mark.parametrize(("created_at", "age_seconds"), [("infinity", -math.inf), ("-infinity", math.inf)])
def test_no_time_of_creation_stops_the_queue(queue: FilledQueue, created_at: str, age_seconds: float) -> None:
    """A job with an infinite age is leased like any other, although PostgreSQL before 17 cannot subtract infinity."""
    queue.enter()
    queue.owner.execute("update learning_submission_jobs set created_at = %s", [created_at])
    lease = take(queue)
    assert lease.age_seconds == age_seconds
    assert find_lease(queue.worker, lease.lease_key) == lease


@pytest.mark.parametrize("payload", ["[" * 3000 + "]" * 3000, '{"far": ' + "[" * 3000 + "]" * 3000 + "}", "1" * 5000])
def test_a_payload_that_python_cannot_read_is_none(queue: FilledQueue, payload: str) -> None:
    """PostgreSQL stores JSON that Python cannot read. Such a job is leased as invalid and crashes no worker."""
    queue.enter(payload=payload)
    lease = take(queue)
    assert lease.payload is None
    assert isinstance(parse_payload(lease), Failed)


def test_settings_of_the_role_do_not_break_a_session(queue: FilledQueue) -> None:
    """A listener and a permit's holder may be idle, fences see the last commit, texts may be in any alphabet, ISO is ISO."""
    ours = {
        "client_encoding": ("LATIN1", "UTF8"),
        "datestyle": ("German", "ISO, DMY"),
        "default_transaction_isolation": ("serializable", "read committed"),
        "idle_session_timeout": ("1s", "0"),
        "transaction_timeout": ("1s", "0"),
    }
    known = [name for name in ours if queue.one("select current_setting(%s, true) as is_known", [name])["is_known"]]
    role = sql.Identifier(f"{queue.database.name}_worker")
    with undone(queue, sql.SQL("alter role {} reset all").format(role)):
        for name in known:
            queue.owner.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(name), ours[name][0]))
        with connect(queue.database.worker_dsn, "test") as connection:
            found = {name: connection.execute("select current_setting(%s)", [name]).fetchone() for name in known}
    assert {name: tuple(row.values()) for name, row in found.items() if row} == {name: (ours[name][1],) for name in known}


@contextmanager
def undone(queue: FilledQueue, undo: sql.Composed) -> Iterator[None]:
    try:
        yield
    finally:
        queue.owner.execute(undo)


def test_a_connection_has_a_name_and_limits(queue: FilledQueue) -> None:
    """pg_stat_activity shows the worker's name, and no statement may run or wait for a lock without end."""
    with connect(queue.database.worker_dsn, "learning-supervisor slot 3 pid 4711") as connection:
        pid = connection.info.backend_pid
        named = queue.one("select application_name, usename from pg_stat_activity where pid = %s", [pid])
        timeouts = connection.execute(
            "select name, setting from pg_settings where name ~ '^(statement|lock)_timeout$'"
        ).fetchall()
    assert named == {
        "application_name": "learning-supervisor slot 3 pid 4711",
        "usename": f"{queue.database.name}_worker",
    }
    assert {f"{row['name']}_ms": int(row["setting"]) for row in timeouts} == WORKER_BOUNDS


@pytest.mark.parametrize("change", [{"dbname": "no such database"}, {"user": "no such role"}, {"port": "1"}])
def test_errors_that_may_pass_are_unavailable(queue: FilledQueue, change: dict[str, str]) -> None:
    """A missing server, database or role is waited for. The message is the class of the error and nothing else."""
    with pytest.raises(DatabaseUnavailable, match=r"^\w+$"):
        connect(url(queue.database.worker_dsn, **change), "test")


SURROUNDINGS = ("25006", "25P03", "25P04", "26000", "42P05", "53100", "57P01", "58030")
SUSPECTS = (
    *("0A000", "3F000", "42501", "42703", "42883", "42P01", "XX000", "XX002"),  # a migration, or a trigger of one row
    *("40001", "40P01", "53200", "53400", "55P03", "57014"),  # a lock or a slow statement, of one row or of all
)
ROWS_OWN = ("22003", "22021", "22P05", "23503", "23505", "23514", "54000", "54001", "P0001", "XX001", "ZZ999")


def raise_error(queue: FilledQueue, code: str) -> None:
    with outages_named():
        queue.worker.execute(sql.SQL("do $$ begin raise exception using errcode = {}; end $$").format(code))


@pytest.mark.parametrize(("code", "suspect"), [*((code, "") for code in SURROUNDINGS), *((code, code) for code in SUSPECTS)])
def test_errors_that_no_job_causes_are_outages(queue: FilledQueue, code: str, suspect: str) -> None:
    """A worker waits for the server, for migrations and for locks. The last two are suspected to be the fault of one row."""
    with pytest.raises(DatabaseUnavailable, match=r"^\w+$") as outage:
        raise_error(queue, code)
    assert outage.value.suspect == suspect


@pytest.mark.parametrize("code", ROWS_OWN)
def test_errors_that_a_row_causes_are_no_outage(queue: FilledQueue, code: str) -> None:
    """Data, constraints, limits, triggers, damage and unknown codes concern one row. The connection stays usable."""
    with pytest.raises(RowRefused, match=code):
        raise_error(queue, code)
    assert queue.worker.execute("select 1 as one").fetchone() == {"one": 1}


def test_a_value_that_cannot_be_sent_is_the_row_s_fault(queue: FilledQueue) -> None:
    """psycopg refuses a text with NUL before it is sent, without an SQLSTATE."""
    with pytest.raises(RowRefused, match="22000"), outages_named():
        queue.worker.execute("select %s", ["\0"])


def test_an_error_of_a_new_connection_is_no_row_s_fault(queue: FilledQueue) -> None:
    """The first statement of a session names no row: a missing right is an outage of all, and no job is suspected."""
    queue.owner.execute("revoke execute on function pg_catalog.set_config(text, text, boolean) from public")
    try:
        with pytest.raises(DatabaseUnavailable, match="InsufficientPrivilege") as caught:
            connect(queue.database.worker_dsn, "test")
    finally:
        queue.owner.execute("grant execute on function pg_catalog.set_config(text, text, boolean) to public")
    assert caught.value.suspect == ""


def test_a_wrong_statement_of_the_program_is_a_bug(queue: FilledQueue) -> None:
    """A missing parameter is converted to nothing, so that the worker ends and reports it."""
    with pytest.raises(psycopg.ProgrammingError), outages_named():
        queue.worker.execute("select %(missing)s", {})


def test_only_a_renewal_does_not_wait_for_the_disk(queue: FilledQueue) -> None:
    """The setting applies to the renewal's own transaction and ends with it."""
    queue.enter()
    lease = take(queue)
    queue.worker.execute("set synchronous_commit = on")
    with queue.worker.transaction():
        begin_step(queue.worker, lease, LEASE_SECONDS, NO_PERMITS)
        assert queue.worker.execute("show synchronous_commit").fetchone() == {"synchronous_commit": "off"}
    assert queue.worker.execute("show synchronous_commit").fetchone() == {"synchronous_commit": "on"}
