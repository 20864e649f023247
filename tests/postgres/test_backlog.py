"""The monitor's statements for the front of the queue and for the model lock, on connections like its own."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from testkit.filled_queue import FilledQueue, worker_connection
from testkit.waiting import until
from worker.core.outcome import Lease
from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.leases import LOOK_AHEAD
from worker.queue.model_lock import ModelLockKeys, acquire_model_lock, is_in_use, release_model_lock
from worker.queue.permits import Permits, begin_step
from worker.queue.polls import StepBacklog, step_backlog

pytestmark = pytest.mark.postgres

LOCKS = """
    select pid from pg_locks
     where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""
ENDPOINT = "http://127.0.0.1:11434"
VISION, FEEDBACK = ModelLockKeys.of(ENDPOINT, "vision", "feedback"), ModelLockKeys.of(ENDPOINT, "feedback", "vision")


async def opened(stack: AsyncExitStack, queue: FilledQueue) -> AsyncConnection:
    return await stack.enter_async_context(await connect_monitor(queue.database.worker_dsn, "test", pooled="false"))


def backlog_of(queue: FilledQueue) -> StepBacklog:
    async def count() -> StepBacklog:
        async with AsyncExitStack() as stack:
            return await step_backlog(await opened(stack, queue))

    return asyncio.run(count())


def test_each_job_waits_for_the_model_that_it_needs_next(queue: FilledQueue) -> None:
    """Pictures need the vision model, all jobs with a text the feedback model. Expired leases count, no other rows."""
    queue.enter(kind="image", visible_in_seconds=-50)
    queue.enter(kind="file")
    queue.enter(kind="image", leased_for_seconds=-1)
    queue.enter(kind="text", visible_in_seconds=-20)
    queue.enter(kind="image", payload={"cached_text_md": "read before"})
    queue.enter(kind="image", visible_in_seconds=60)
    queue.enter(kind="image", leased_for_seconds=60)
    queue.enter(kind="image", status="failed")
    found = backlog_of(queue)
    assert (found.vision_jobs, found.feedback_jobs) == (3, 2)
    assert (found.vision_oldest_seconds // 50, found.feedback_oldest_seconds // 20) == (1, 1)


def test_an_empty_queue_has_no_backlog(queue: FilledQueue) -> None:
    """Without rows all numbers are 0."""
    assert backlog_of(queue) == StepBacklog()


def test_a_payload_that_is_no_object_counts_as_a_job(queue: FilledQueue) -> None:
    """Neither such a payload nor a job that was always visible makes the statement raise."""
    queue.enter(payload='"a string"')
    queue.owner.execute("update learning_submission_jobs set visible_at = '-infinity'")
    assert backlog_of(queue).vision_jobs == 1


def test_only_the_front_of_the_queue_is_counted(queue: FilledQueue) -> None:
    """The oldest hundred jobs count, however long the queue is."""
    submission_id = queue.enter(visible_in_seconds=-60).submission_id
    queue.owner.execute(
        "insert into learning_submission_jobs (submission_id, payload) select %s, '{}' from generate_series(1, 200)",
        [submission_id],
    )
    found = backlog_of(queue)
    assert (found.vision_jobs, found.feedback_jobs) == (LOOK_AHEAD - 1, 1)


def test_two_instances_never_hold_two_model_locks(queue: FilledQueue) -> None:
    """Any number may hold one model's lock. The other's is free only after the last has released it or died."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            first, second, third = [await opened(stack, queue) for _ in range(3)]
            assert await acquire_model_lock(first, VISION)
            assert await acquire_model_lock(second, VISION)
            assert not await acquire_model_lock(third, FEEDBACK)
            await release_model_lock(first)
            assert not await acquire_model_lock(third, FEEDBACK)
            await second.close()
            while not await acquire_model_lock(third, FEEDBACK):  # the server notices the end of a session a moment later
                pass
            assert not await acquire_model_lock(first, VISION)
            await release_model_lock(third)
            assert await acquire_model_lock(first, VISION)

    asyncio.run(run())


def test_a_model_lock_that_is_not_granted_leaves_no_lock(queue: FilledQueue) -> None:
    """A refused attempt leaves no lock on either key, because it would block other instances."""

    async def run() -> None:
        async with AsyncExitStack() as stack:
            first, second = [await opened(stack, queue) for _ in range(2)]
            assert await acquire_model_lock(first, VISION)
            assert not await acquire_model_lock(second, FEEDBACK)
            assert [row["pid"] for row in queue.owner.execute(LOCKS)] == [first.info.backend_pid]

    asyncio.run(run())


@pytest.mark.parametrize("model", ["vision", "feedback"])
def test_a_model_is_in_use_while_a_permit_is_held(queue: FilledQueue, model: str) -> None:
    """A permit of another session counts, one of another model does not, and keys beyond 2^31 are handled."""
    permits = {name: Permits.of(ENDPOINT, name, 2) for name in ("vision", "feedback")}
    entered = queue.enter(leased_for_seconds=60)
    assert entered.lease_key is not None

    async def used_models() -> dict[str, bool]:
        async with AsyncExitStack() as stack:
            connection = await opened(stack, queue)
            return {name: await is_in_use(connection, each) for name, each in permits.items()}

    with worker_connection(queue.database) as worker:
        lease = Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)
        until(lambda: not any(asyncio.run(used_models()).values()))  # the sessions of the test before have ended
        assert begin_step(worker, lease, 60, permits[model]).permit
        assert asyncio.run(used_models()) == {name: name == model for name in permits}
