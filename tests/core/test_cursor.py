"""Where the next look at the queue begins."""

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


def test_a_look_begins_where_the_last_lease_was_found() -> None:
    """Each lease moves the place on; the first look begins at the start."""
    frontier = QueueCursor(Clock())
    assert frontier.since() is None
    frontier.looked(None, FOUND)
    assert frontier.since() == FOUND.visible_at
    frontier.looked(FOUND.visible_at, LATER)
    assert frontier.since() == LATER.visible_at


def test_a_look_from_the_start_is_due_once_a_second() -> None:
    """However many jobs are found meanwhile: expired leases and what came back are seen by no other."""
    clock = Clock()
    frontier = QueueCursor(clock)
    frontier.looked(None, FOUND)
    clock.now += LOOK_BACK_SECONDS / 2
    frontier.looked(FOUND.visible_at, LATER)
    clock.now += LOOK_BACK_SECONDS / 2
    assert frontier.since() is None


def test_only_a_look_from_the_start_knows_that_there_is_nothing() -> None:
    """One that began at a place and found nothing is followed by one from the start, and that one by a wait for news."""
    frontier = QueueCursor(Clock())
    frontier.looked(None, FOUND)
    frontier.looked(FOUND.visible_at, None)
    assert (frontier.is_bare, frontier.since()) == (False, None)
    frontier.looked(None, None)
    assert frontier.is_bare
    frontier.forget()
    assert (frontier.is_bare, frontier.since()) == (False, None)
