"""What the monitor sees of the front of the queue, and whose phase it is: statements on connections like its own."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.postgres.filled_queue import FilledQueue, worker_connection
from worker.core.outcome import Lease
from worker.queue.backlog import StepBacklog, step_backlog
from worker.queue.connection import AsyncConnection, connect_monitor
from worker.queue.leases import LOOK_AHEAD
from worker.queue.model_lock import ModelLockKeys, acquire_model_lock, is_asked, release_model_lock
from worker.queue.permits import Permits, begin_step

pytestmark = pytest.mark.postgres

LOCKS = """
    select pid from pg_locks
     where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""
ENDPOINT = "http://127.0.0.1:11434"
EYES, WORDS = ModelLockKeys.of(ENDPOINT, "eyes", "words"), ModelLockKeys.of(ENDPOINT, "words", "eyes")


async def opened(stack: AsyncExitStack, queue: FilledQueue) -> AsyncConnection:
    return await stack.enter_async_context(await connect_monitor(queue.database.worker_dsn, "test", pooled="false"))


def seen(queue: FilledQueue) -> StepBacklog:
    async def look() -> StepBacklog:
        async with AsyncExitStack() as stack:
            return await step_backlog(await opened(stack, queue))

    return asyncio.run(look())


def test_each_job_waits_for_the_model_that_it_needs_next(queue: FilledQueue) -> None:
    """Pictures wait for the eyes, typed text and pictures with a text for the words, an expired lease as well; no other rows."""
    queue.enter(kind="image", visible_in_seconds=-50)
    queue.enter(kind="file")
    queue.enter(kind="image", leased_for_seconds=-1)
    queue.enter(kind="text", visible_in_seconds=-20)
    queue.enter(kind="image", payload={"cached_text_md": "read before"})
    queue.enter(kind="image", visible_in_seconds=60)
    queue.enter(kind="image", leased_for_seconds=60)
    queue.enter(kind="image", status="failed")
    found = seen(queue)
    assert (found.vision_jobs, found.feedback_jobs) == (3, 2)
    assert (found.vision_oldest_seconds // 50, found.feedback_oldest_seconds // 20) == (1, 1)


def test_an_empty_queue_waits_for_nothing(queue: FilledQueue) -> None:
    """No row is as good as no job."""
    assert seen(queue) == StepBacklog()


def test_a_payload_that_is_no_object_is_a_job_as_well(queue: FilledQueue) -> None:
    """Whatever stands there, and a row that was always visible, breaks nobody's look."""
    queue.enter(payload='"a string"')
    queue.owner.execute("update learning_submission_jobs set visible_at = '-infinity'")
    assert seen(queue).vision_jobs == 1


def test_no_more_is_counted_than_a_worker_looks_ahead(queue: FilledQueue) -> None:
    """The oldest hundred are all that matters, however long the queue is."""
    submission_id = queue.enter(visible_in_seconds=-60).submission_id
    queue.owner.execute(
        "insert into learning_submission_jobs (submission_id, payload) select %s, '{}' from generate_series(1, 200)",
        [submission_id],
    )
    found = seen(queue)
    assert (found.vision_jobs, found.feedback_jobs) == (LOOK_AHEAD - 1, 1)


def test_two_instances_are_never_in_two_phases(queue: FilledQueue) -> None:
    """Any number may be in one model's phase, nobody is in the other's until the last has left, and whoever dies has left."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            first, second, third = [await opened(stack, queue) for _ in range(3)]
            assert await acquire_model_lock(first, EYES)
            assert await acquire_model_lock(second, EYES)
            assert not await acquire_model_lock(third, WORDS)
            await release_model_lock(first, EYES)
            assert not await acquire_model_lock(third, WORDS)
            await second.close()
            while not await acquire_model_lock(third, WORDS):  # the server notices the end of a session a moment later
                pass
            assert not await acquire_model_lock(first, EYES)
            await release_model_lock(third, WORDS)
            assert await acquire_model_lock(first, EYES)

    asyncio.run(story())


def test_who_was_refused_a_phase_holds_nothing(queue: FilledQueue) -> None:
    """A try leaves no lock behind, on neither key: else a refused instance would keep the others out."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            first, second = [await opened(stack, queue) for _ in range(2)]
            assert await acquire_model_lock(first, EYES)
            assert not await acquire_model_lock(second, WORDS)
            assert [row["pid"] for row in queue.owner.execute(LOCKS)] == [first.info.backend_pid]

    asyncio.run(story())


@pytest.mark.parametrize("model", ["eyes", "words"])
def test_a_model_is_asked_while_somebody_has_one_of_its_permits(queue: FilledQueue, model: str) -> None:
    """A permit of another session counts, one of another model does not, and a key beyond 2^31 is one key on both sides."""
    permits = {name: Permits.of(ENDPOINT, name, 2) for name in ("eyes", "words")}
    entered = queue.enter(leased_for_seconds=60)
    assert entered.lease_key is not None

    async def told() -> dict[str, bool]:
        async with AsyncExitStack() as stack:
            connection = await opened(stack, queue)
            return {name: await is_asked(connection, each) for name, each in permits.items()}

    with worker_connection(queue.database) as worker:
        lease = Lease(entered.job_id, entered.submission_id, entered.lease_key, {}, 0)
        assert begin_step(worker, lease, 60, permits[model]).permit
        assert asyncio.run(told()) == {name: name == model for name in permits}
