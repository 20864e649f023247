"""Whom the monitor wakes: real descriptors, and a scoreboard as the workers would have written it."""

import os
from collections.abc import Iterator

import pytest

from supervisor.monitor.queue.waker import Waker
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import ControlRecord, LedgerRecord, Scoreboard, WorkerRecord

SLOTS, PID = 8, 4711
OURS, THEIRS = 100, 999


class Slots:
    """Eight workers that write what they are at, and see whether they were woken."""

    def __init__(self) -> None:
        self.board = Scoreboard()
        self.fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(SLOTS)]
        self.board.control.write(ControlRecord(leasing_slots=SLOTS))
        for slot in range(SLOTS):
            self.board.ledgers[slot].write(LedgerRecord(pid=PID + slot))
            self.at(slot, Activity.FEEDBACK)
        self.waker = Waker(self.board, self.fds)

    def at(self, slot: int, activity: Activity, progress_seconds: float = 1.0, backend_pid: int = 0) -> None:
        record = WorkerRecord(1, activity, progress_seconds=progress_seconds, backend_pid=backend_pid or OURS + slot)
        self.board.write_worker(slot, record)

    def woken(self) -> list[int]:
        """Since the last look."""
        return [slot for slot, fd in enumerate(self.fds) if _was_written(fd)]


def _was_written(fd: int) -> bool:
    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False


@pytest.fixture
def slots() -> Iterator[Slots]:
    made = Slots()
    yield made
    for fd in made.fds:
        os.close(fd)


def test_one_piece_of_news_wakes_one_worker(slots: Slots) -> None:
    """However many are idle: the others would find nothing."""
    for slot in range(SLOTS):
        slots.at(slot, Activity.IDLE)
    assert slots.waker.wake_one()
    assert len(slots.woken()) == 1


def test_each_piece_of_news_wakes_another_one(slots: Slots) -> None:
    """Who was woken and has not moved since is on its way already, and may be woken again once it has."""
    slots.at(2, Activity.IDLE)
    slots.at(5, Activity.IDLE)
    assert [slots.waker.wake_one() for _ in range(3)] == [True, True, False]
    assert slots.woken() == [2, 5]
    slots.at(5, Activity.IDLE, progress_seconds=2.0)
    assert slots.waker.wake_one()
    assert slots.woken() == [5]


@pytest.mark.parametrize("activity", [Activity.LEASE, Activity.SETTLE])
def test_who_is_just_looking_is_told_where_nobody_is_idle(slots: Slots, activity: Activity) -> None:
    """It may have looked too early; but an idle worker comes first."""
    slots.at(1, activity)
    slots.at(6, Activity.IDLE)
    slots.waker.wake_one()
    assert slots.woken() == [6]
    slots.waker.wake_one()
    assert slots.woken() == [1]


def test_nobody_is_woken_who_may_not_lease_or_is_not_there(slots: Slots) -> None:
    """A slot beyond those that may lease, one without a process, and one whose worker has a job in hand."""
    slots.board.control.write(ControlRecord(leasing_slots=4))
    slots.at(4, Activity.IDLE)
    slots.at(3, Activity.IDLE)
    slots.board.ledgers[3].write(LedgerRecord(pid=0))
    assert not slots.waker.wake_one()
    assert slots.woken() == []


def test_our_own_connections_are_known_by_their_number(slots: Slots) -> None:
    """Also after a worker has connected anew; the number that it had before is nobody's of ours once we have looked."""
    assert slots.waker.count_others([OURS + 3, THEIRS, OURS, THEIRS]) == 2
    slots.at(3, Activity.IDLE, backend_pid=THEIRS)
    assert slots.waker.count_others([THEIRS]) == 0
    slots.waker.recognise()
    assert slots.waker.count_others([OURS + 3]) == 1


def test_a_flood_of_news_is_heard_as_fast_as_it_comes(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much has come at once, the scoreboard is looked through once for it and once for each who can be woken."""
    slots.at(2, Activity.IDLE)
    looks = 0
    look = slots.board.worker

    def counted(slot: int) -> WorkerRecord | None:
        nonlocal looks
        looks += 1
        return look(slot)

    monkeypatch.setattr(slots.board, "worker", counted)
    slots.waker.wake(slots.waker.count_others([THEIRS] * 10_000))
    assert slots.woken() == [2]
    assert looks <= 3 * SLOTS
