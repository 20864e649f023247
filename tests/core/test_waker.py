"""The worker that the monitor wakes, with real descriptors and a scoreboard as workers write it."""

import os
from collections.abc import Iterator

import pytest

from supervisor.monitor.queue.waker import Waker
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import ControlRecord, LedgerRecord, Scoreboard, WorkerRecord

SLOTS, PID = 8, 4711
OURS, THEIRS = 100, 999


class Slots:
    """Eight simulated workers: their records in the scoreboard, and their eventfds."""

    def __init__(self) -> None:
        self.board = Scoreboard()
        self.fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(SLOTS)]
        self.board.control.write(ControlRecord(leasing_slots=SLOTS))
        for slot in range(SLOTS):
            self.board.ledgers[slot].write(LedgerRecord(pid=PID + slot))
            self.at(slot, Activity.FEEDBACK)
        self.waker = Waker(self.board, self.fds)

    def at(self, slot: int, activity: Activity, alive_seconds: float = 1.0, backend_pid: int = 0) -> None:
        record = WorkerRecord(1, activity, alive_seconds=alive_seconds, backend_pid=backend_pid or OURS + slot)
        self.board.write_worker(slot, record)

    def woken(self) -> list[int]:
        """Slots that were woken since the last call."""
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


def test_one_notification_wakes_one_worker(slots: Slots) -> None:
    """Even if all are idle, because the others would find nothing."""
    for slot in range(SLOTS):
        slots.at(slot, Activity.IDLE)
    assert slots.waker.wake_one()
    assert len(slots.woken()) == 1


def test_each_notification_wakes_another_worker(slots: Slots) -> None:
    """A woken worker is not woken again before it has made progress."""
    slots.at(2, Activity.IDLE)
    slots.at(5, Activity.IDLE)
    assert [slots.waker.wake_one() for _ in range(3)] == [True, True, False]
    assert slots.woken() == [2, 5]
    slots.at(5, Activity.IDLE, alive_seconds=2.0)
    assert slots.waker.wake_one()
    assert slots.woken() == [5]


@pytest.mark.parametrize("activity", [Activity.LEASE, Activity.SETTLE])
def test_a_querying_worker_is_woken_if_none_is_idle(slots: Slots, activity: Activity) -> None:
    """Its query may have started before the job was entered. An idle worker comes first."""
    slots.at(1, activity)
    slots.at(6, Activity.IDLE)
    slots.waker.wake_one()
    assert slots.woken() == [6]
    slots.waker.wake_one()
    assert slots.woken() == [1]


def test_only_a_live_worker_that_may_lease_is_woken(slots: Slots) -> None:
    """Not woken: a slot that may not lease, a slot without a process, and a worker that holds a job."""
    slots.board.control.write(ControlRecord(leasing_slots=4))
    slots.at(4, Activity.IDLE)
    slots.at(3, Activity.IDLE)
    slots.board.ledgers[3].write(LedgerRecord(pid=0))
    assert not slots.waker.wake_one()
    assert slots.woken() == []


@pytest.mark.parametrize("activity", [Activity.IDLE, Activity.SETTLE])
def test_a_worker_that_is_to_leave_is_not_woken(slots: Slots, activity: Activity) -> None:
    """It would leave with the wake-up, and the job would wait for the next poll."""
    slots.at(0, activity)
    slots.board.control.write(ControlRecord(leasing_slots=SLOTS, retiring=1))
    assert not slots.waker.wake_one()
    slots.at(3, Activity.IDLE)
    assert slots.waker.wake_one()
    assert slots.woken() == [3]


def test_notifications_of_our_own_workers_are_not_counted(slots: Slots) -> None:
    """Also after a worker has reconnected. Its old process number then counts as foreign."""
    assert slots.waker.count_foreign([OURS + 3, THEIRS, OURS, THEIRS]) == 2
    slots.at(3, Activity.IDLE, backend_pid=THEIRS)
    assert slots.waker.count_foreign([THEIRS]) == 0
    slots.waker.refresh_worker_pids()
    assert slots.waker.count_foreign([OURS + 3]) == 1


def test_a_burst_of_notifications_is_handled_at_once(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scoreboard is read once for the whole burst, and once for each worker that can be woken."""
    slots.at(2, Activity.IDLE)
    reads = 0
    read = slots.board.worker

    def counted(slot: int) -> WorkerRecord | None:
        nonlocal reads
        reads += 1
        return read(slot)

    monkeypatch.setattr(slots.board, "worker", counted)
    slots.waker.wake(slots.waker.count_foreign([THEIRS] * 10_000))
    assert slots.woken() == [2]
    assert reads <= 3 * SLOTS
