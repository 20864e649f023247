"""A worker's connection is cut, or the worker killed, after the k-th message of PostgreSQL's protocol, for every k of a job.

Whatever the k: nothing is lost, nothing is written twice, and no model is asked for what was committed before.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.rows import DictRow

from testkit.bare_worker import BareWorker
from testkit.database import Database, temporary_database
from testkit.kill_sweep import KINDS, KINDS_OF_2026, LONG_SECONDS, MAX_CRASHES, Kind, Sweep
from testkit.monitor import open_monitor
from testkit.pg_proxy import Strike, proxy_before
from testkit.school import School, counted, is_idle
from testkit.submissions import text_submissions
from testkit.waiting import until
from worker.ipc.contract import Counter
from worker.ipc.scoreboard import ControlRecord
from worker.queue.connection import Connection
from worker.queue.dead_leases import ReclaimResult
from worker.queue.statements import statement

pytestmark = pytest.mark.postgres

MAX_MESSAGES = 1000  # far more than any of these jobs takes
MESSAGES_OF_A_QUESTION = 5  # parse, bind, describe, execute, sync
SOON_SECONDS = 3.0  # well before the lock timeout would end it
FEWEST_MESSAGES = 7  # of a statement that is parsed, bound, executed and answered
JOBS: LiteralString = """
    select status, coalesce((payload ->> 'crashes')::int, 0) as crashes
      from learning_submission_jobs where submission_id = any(%s)
"""
WAITING: LiteralString = """
    select count(*)::int as n from pg_stat_activity where usename = %s and wait_event_type = 'Lock'
"""
TAKE_OVER: LiteralString = """
    update learning_submission_jobs set lease_key = gen_random_uuid(), leased_until = now() + interval '1 hour'
     where id in (select id from learning_submission_jobs where status = 'leased' for update skip locked)
    returning *
"""
LEFT_TO_DO: LiteralString = """
    select count(*)::int as n from learning_submission_jobs
     where status <> 'failed' and visible_at <= now() and not coalesce(lease_key = any(%s), false)
"""
EVERY_JOB = ("lease", "set_subject", "read_submission", "begin_step")


def kinds(*first_tier: str) -> pytest.MarkDecorator:
    """All kinds of jobs. Those not named run in the soak."""
    marks = {kind.name: [] if kind.name in first_tier else [pytest.mark.third_tier] for kind in KINDS}
    return pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name, marks=marks[kind.name]) for kind in KINDS])


@pytest.fixture(scope="module", params=[2025, pytest.param(2026, marks=pytest.mark.second_tier)])
def shared_database(cluster_dsn: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database of each schema."""
    with temporary_database(cluster_dsn, year=request.param) as fresh:
        yield fresh


@pytest.fixture(params=["auto", pytest.param("true", marks=pytest.mark.third_tier)])
def pooled(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sweep(school: School, tmp_path: Path, kind: Kind, pooled: str) -> Iterator[Sweep]:
    with (
        proxy_before(school.database.worker_dsn) as wire,
        psycopg.connect(school.database.admin_dsn, autocommit=True) as platform,
        open_monitor(school.database.worker_dsn) as monitor,
    ):
        yield Sweep(school, platform, monitor, wire, tmp_path / "ledger", kind, pooled)


@kinds("two texts", "held")
def test_a_connection_cut_after_any_message_costs_nothing(sweep: Sweep) -> None:
    """A worker whose connection is cut after the k-th message ends its job once, with no call of a model and no lease more."""
    with sweep.worker(sweep.wire.dsn) as worker:
        until(lambda: is_idle(worker), what="an idle worker")
        rounds = next(k for k in range(1, MAX_MESSAGES) if not cut_after(sweep, worker, k))
        assert Counter.REJECTED_BY_FENCE not in counted(worker)
    assert_all_were_met(sweep, rounds)


def cut_after(sweep: Sweep, worker: BareWorker, k: int) -> bool:
    """False if the job was over before message k."""
    sweep.wire.strike_after(k)
    sweep.enter()
    worker.wake()
    until(lambda: sweep.wire.has_struck or sweep.is_resting(worker, is_cut_off=True), what=f"a strike after message {k}")
    sweep.wire.spare()
    worker.wake()  # it need not wait before it connects again
    until(lambda: sweep.is_over(worker, is_cut_off=True), what=f"the end of a job cut off after message {k}")
    assert sweep.ends().count("failed") == sweep.kind.failures
    assert sweep.called() == sweep.kind.calls(), f"message {k}"
    leases = sum(len(sweep.school.leases(each)) for each in sweep.entered)
    assert leases == len(sweep.entered) + sweep.kind.pauses, f"message {k}"
    return sweep.wire.has_struck


@kinds("two texts", "document", "retried", "failed")
def test_a_worker_killed_after_any_message_costs_no_committed_call(sweep: Sweep) -> None:
    """A worker is killed after the k-th message: its job is returned, ended once by another, and what was committed is kept."""
    with sweep.worker(sweep.school.database.worker_dsn) as heir:
        until(lambda: is_idle(heir), what="an idle worker")
        heir.control(ControlRecord(leasing_slots=0))
        rounds = next(k for k in range(1, MAX_MESSAGES) if not killed_after(sweep, heir, k))
    assert_all_were_met(sweep, rounds)


@pytest.mark.second_tier
@pytest.mark.parametrize("shared_database", [2026], indirect=True)
@pytest.mark.parametrize("kind", KINDS_OF_2026, ids=[kind.name for kind in KINDS_OF_2026])
def test_a_mode_of_2026_costs_no_committed_call(sweep: Sweep) -> None:
    """The same for a dialog, and for a picture that is judged without a text."""
    test_a_worker_killed_after_any_message_costs_no_committed_call(sweep)


def killed_after(sweep: Sweep, heir: BareWorker, k: int) -> bool:
    """False if the job was over before message k."""
    sweep.wire.strike_after(k, Strike.KILL)
    sweep.enter()
    with sweep.worker(sweep.wire.dsn) as worker:
        sweep.wire.name_victim(worker.pid)
        until(lambda: sweep.wire.has_struck or sweep.is_resting(worker), what=f"a strike after message {k}")
        if not sweep.wire.has_struck:
            sweep.wire.spare()
            return False
        worker.exit_status()
        committed, called = sweep.committed(), sweep.called()
        return_all(sweep, worker)
    inherit(sweep, heir)
    assert sweep.ends().count("failed") <= sweep.kind.failures  # the error itself may have died with its worker
    assert sweep.called()[len(called) :] == sweep.missing(committed, called), f"message {k}"
    return True


def return_all(sweep: Sweep, worker: BareWorker) -> None:
    """Reclaims the keys on a dead worker's scoreboard as the monitor does: nothing stays leased, each death is counted once."""
    record = worker.record()
    keys = (record.lease_key, record.next_lease_key)
    jobs_of = {record.lease_key: record.job_id}
    returned = [sweep.monitor.reclaim_lease(jobs_of.get(key), key, MAX_CRASHES) for key in keys if key]
    jobs = sweep.school.owner.execute(JOBS, [list(sweep.entered)]).fetchall()
    assert [job["status"] for job in jobs if job["status"] == "leased"] == []
    assert sum(job["crashes"] for job in jobs) == returned.count(ReclaimResult.RECLAIMED)


def inherit(sweep: Sweep, heir: BareWorker) -> None:
    """Ends the remaining jobs. The heir is woken only for work, so that it never polls where the next victim does."""
    if sweep.school.is_final(*sweep.entered):
        return
    sweep.hasten()
    heir.control(ControlRecord(leasing_slots=1))
    heir.wake()
    until(lambda: sweep.is_over(heir), what="the end of a job whose worker was killed")
    heir.control(ControlRecord(leasing_slots=0))


@kinds("document")
def test_a_job_taken_over_after_any_message_is_left_alone(sweep: Sweep) -> None:
    """Another worker takes the job after the k-th message. The first worker's next write is rejected, counted, logged and its
    last.
    """
    with sweep.worker(sweep.wire.dsn) as worker, sweep.taker() as taker:
        until(lambda: is_idle(worker), what="an idle worker")
        rounds = next(k for k in range(1, MAX_MESSAGES) if not taken_after(sweep, worker, taker, k))
        rejected = counted(worker)[Counter.REJECTED_BY_FENCE]
    assert rejected > rounds / 3
    assert_all_were_met(sweep, rounds)


def taken_after(sweep: Sweep, worker: BareWorker, taker: Connection, k: int) -> bool:
    """False if the job was over before message k. Between a statement and its commit no other worker can take the job."""
    taken: list[DictRow] = []
    called: list[str] = []

    def take_over() -> None:
        taken.extend(taker.execute(TAKE_OVER))
        called.extend(sweep.called())

    sweep.wire.strike_after(k, Strike.NONE, take_over)
    sweep.enter()
    before = rejections(worker)
    worker.wake()
    until(lambda: has_left_all(sweep, taken) and is_idle(worker), what=f"a worker whose job was taken over after message {k}")
    sweep.wire.spare()
    assert rejections(worker) == tuple(count + len(taken) for count in before), f"message {k}"
    for job in taken:
        assert sweep.school.results(job["submission_id"]) == []
        assert sweep.school.job(job["submission_id"]) == job
    if taken:  # a call that was under way is the last one for its job
        assert len(sweep.called()) - len(called) <= len(sweep.entered), f"message {k}"
    sweep.school.owner.execute("delete from learning_submission_jobs where status <> 'failed'")
    return sweep.wire.has_struck


def has_left_all(sweep: Sweep, taken: list[DictRow]) -> bool:
    """Every visible row belongs to another worker by now."""
    others = [job["lease_key"] for job in taken]
    return bool(sweep.school.one(LEFT_TO_DO, others)["n"] == 0)


def rejections(worker: BareWorker) -> tuple[int, int]:
    """The rejections counted, and the rejections logged."""
    reported = [event for event in worker.read_events() if event.outcome == "lease_lost"]
    return counted(worker).get(Counter.REJECTED_BY_FENCE, 0), len(reported)


def test_a_lease_is_not_granted_to_a_closed_connection(school: School) -> None:
    """A lease statement that waits for a lock ends when its connection is cut. No job gets the key of a dead worker."""
    with (
        proxy_before(school.database.worker_dsn) as wire,
        psycopg.connect(school.database.admin_dsn) as migration,
        school.worker(learning_database_url=wire.dsn, ai_backend="stub", worker_poll_interval=LONG_SECONDS) as worker,
    ):
        until(lambda: is_idle(worker), what="an idle worker")
        entered = school.enter(*text_submissions(1, seed=1))
        migration.execute("lock table learning_submission_jobs in share mode")
        wire.strike_after(
            MESSAGES_OF_A_QUESTION, Strike.HASTY_CUT, lambda: until(lambda: is_waited(school), what="a lease that waits")
        )
        worker.wake()
        until(lambda: wire.has_struck and not is_waited(school), SOON_SECONDS)
        until(lambda: is_idle(worker), what="a worker that found no lease of its own")
        migration.commit()
        worker.wake()
        until(lambda: school.is_final(*entered), what="the end of a job that was asked for before")
    assert [len(school.leases(each)) for each in entered] == [1]


def is_waited(school: School) -> bool:
    """For a lock, by a worker."""
    return bool(school.one(WAITING, f"{school.database.name}_worker")["n"])


def assert_all_were_met(sweep: Sweep, rounds: int) -> None:
    """The sweep was about every statement that it claims to be about, each of several messages."""
    names = (*EVERY_JOB, *sweep.kind.statements)
    assert [name for name in names if not any(is_sent(name, sent) for sent in sweep.wire.statements)] == []
    assert rounds > FEWEST_MESSAGES * len(names)


def is_sent(name: str, sent: str) -> bool:
    """Recognises a statement by the words before its first parameter, because parameters have numbers on the wire."""
    return sent.startswith(statement(name).partition("%(")[0])
