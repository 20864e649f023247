"""The position at which the next search of the queue starts."""

from dataclasses import replace
from uuid import UUID

from worker.core.outcome import Lease
from worker.queue.cursor import LOOK_BACK_SECONDS, QueueCursor

FOUND = Lease(UUID(int=1), UUID(int=2), UUID(int=3), {}, 0, visible_at="2026-01-01 08:00:00+00")
LATER = replace(FOUND, visible_at="2026-01-01 08:00:01+00")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_search_starts_where_the_last_job_was_found() -> None:
    """Each lease moves the cursor. The first search starts at the beginning."""
    cursor = QueueCursor(Clock())
    assert cursor.position() is None
    cursor.advance(None, FOUND)
    assert cursor.position() == FOUND.visible_at
    cursor.advance(FOUND.visible_at, LATER)
    assert cursor.position() == LATER.visible_at


def test_a_search_from_the_beginning_is_due_once_a_second() -> None:
    """It is due however many jobs are found meanwhile, because no other search finds expired leases and returned jobs."""
    clock = Clock()
    cursor = QueueCursor(clock)
    cursor.advance(None, FOUND)
    clock.now += LOOK_BACK_SECONDS / 2
    cursor.advance(FOUND.visible_at, LATER)
    clock.now += LOOK_BACK_SECONDS / 2
    assert cursor.position() is None


def test_only_a_search_from_the_beginning_exhausts_the_queue() -> None:
    """An empty search from a position is followed by one from the beginning. After an empty one of those the worker waits."""
    cursor = QueueCursor(Clock())
    cursor.advance(None, FOUND)
    cursor.advance(FOUND.visible_at, None)
    assert (cursor.is_exhausted, cursor.position()) == (False, None)
    cursor.advance(None, None)
    assert cursor.is_exhausted
    cursor.reset()
    assert (cursor.is_exhausted, cursor.position()) == (False, None)
