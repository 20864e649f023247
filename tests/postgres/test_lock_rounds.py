"""No session holds a lock that its owner does not know of, whatever gets in its way and when."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql

from testkit.filled_queue import FilledQueue, worker_connection
from testkit.waiting import until
from tests.postgres.lock_rounds import LOCKS_OF, REFUSE_AT_COMMIT, LockRounds
from worker.core.outcome import Lease, Released
from worker.queue.bounded import ConnectionBroken
from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.model_lock import ModelLockKeys, acquire_model_lock, release_model_lock
from worker.queue.settle import settle

pytestmark = pytest.mark.postgres
SCHEMAS = (2025,)  # sessions and locks are the same in each

SEED = 20261128
KEYS = ModelLockKeys.of("http://127.0.0.1:11434", "vision", "feedback")
MODEL_LOCK_ROUNDS = 200


@pytest.fixture
def disturbed(queue: FilledQueue) -> Iterator[LockRounds]:
    """Let the database detect a deadlock within milliseconds and refuse the rows that are marked for it."""
    queue.owner.execute(REFUSE_AT_COMMIT)
    queue.owner.execute(
        sql.SQL("alter role {} set deadlock_timeout = '3ms'").format(sql.Identifier(f"{queue.database.name}_worker"))
    )
    rounds = LockRounds(queue, SEED)
    yield rounds
    rounds.close()
    queue.owner.execute("drop trigger refuse_row on learning_submission_jobs")


@pytest.mark.parametrize(
    "rounds", [pytest.param(1000, id="quick"), pytest.param(10_000, id="thorough", marks=pytest.mark.second_tier)]
)
def test_a_session_holds_no_lock_that_its_owner_does_not_know_of(disturbed: LockRounds, rounds: int) -> None:
    """Grant, timeout, cancellation, deadlock, refused row, end of the session and lost connection, each at random moments.

    Without the release after a timed-out wait, a lock is left within 10 to 200 rounds.
    """
    disturbed.run(rounds)
    assert {"no permit", "permit", "QueryCanceled", "RaiseException", "OperationalError"} <= set(disturbed.endings())


@pytest.mark.usefixtures("disturbed")
def test_an_error_at_the_commit_of_a_pipeline_keeps_its_class(queue: FilledQueue) -> None:
    """A constraint that is checked at the commit is reported as itself and not as psycopg's error about the pipeline.

    If its error arrives apart from the last result, psycopg loses it: the connection is broken, and another try reports it.
    """
    entered = queue.enter(leased_for_seconds=60, payload={"refused": True})
    assert entered.lease_key is not None
    lease = Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)
    with pytest.raises(psycopg.errors.RaiseException):
        settle_until_answered(queue, lease)
    assert queue.job(entered.job_id)["status"] == "leased"


def settle_until_answered(queue: FilledQueue, lease: Lease) -> None:
    while True:
        with suppress(ConnectionBroken), worker_connection(queue.database) as connection:
            settle(connection, lease, Released("drain"))
            return


def test_a_monitor_holds_no_model_lock_that_it_does_not_know_of(queue: FilledQueue) -> None:
    """Its attempts are cancelled and its sessions ended at random moments."""
    moments = random.Random(SEED)

    async def run() -> None:
        connection = await monitor(queue)
        for _ in range(MODEL_LOCK_ROUNDS):
            connection = await monitor(queue) if connection.closed else connection
            await one_round(queue, connection, moments)
        await connection.close()

    asyncio.run(run())


async def monitor(queue: FilledQueue) -> AsyncConnection:
    return await connect_monitor(queue.database.worker_dsn, "test", pooled="false")


async def one_round(queue: FilledQueue, connection: AsyncConnection, moments: random.Random) -> None:
    pid, is_held = connection.info.backend_pid, False
    attempt = asyncio.create_task(acquire_model_lock(connection, KEYS))
    await asyncio.sleep(moments.uniform(0, 0.0004))
    queue.owner.execute(moments.choice(["select pg_cancel_backend(%s)", "select pg_cancel_backend(%s)", "select %s"]), [pid])
    try:
        is_held = await attempt
        assert locks_of(queue, pid) == [0] * is_held
        await release_model_lock(connection)
    except psycopg.Error:
        await connection.close()  # as the listener does after every error of its connection
    until(lambda: locks_of(queue, pid) == [])


def locks_of(queue: FilledQueue, pid: int) -> list[int]:
    return [row["number"] for row in queue.owner.execute(LOCKS_OF, [pid])]
