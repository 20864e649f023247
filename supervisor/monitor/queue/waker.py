"""Wakes one idle worker for each notification, so that not all of them query the queue at once."""

import os
from collections.abc import Iterator, Sequence

from worker.ipc.contract import Activity
from worker.ipc.scoreboard import Scoreboard, WorkerRecord

_QUERYING = {Activity.LEASE, Activity.SETTLE}  # its query may have started before the job was entered


class Waker:
    """Writes to the eventfd of a waiting worker. A busy worker queries the queue by itself after its job."""

    def __init__(self, scoreboard: Scoreboard, wake_fds: Sequence[int]) -> None:
        self._scoreboard, self._wake_fds = scoreboard, wake_fds
        self._woken: dict[int, float] = {}  # slot -> the worker's `alive_seconds` when it was last woken
        self._worker_pids: frozenset[int] = frozenset()  # server processes that serve our workers' connections

    def wake_one(self) -> bool:
        """Wakes an idle worker, or else one that is querying now. False if there is neither."""
        querying: list[tuple[int, WorkerRecord]] = []
        admitted_slots, control = self._scoreboard.admission.read().slots, self._scoreboard.control.read()
        for slot, record in self._records():
            if slot >= admitted_slots:
                break
            if control.is_retiring(slot):  # it would leave with the wake-up
                continue
            if record.activity == Activity.IDLE and self._wake(slot, record):
                return True
            if record.activity in _QUERYING:
                querying.append((slot, record))
        return any(self._wake(slot, record) for slot, record in querying)

    def wake(self, count: int) -> None:
        """Wakes at most `count` workers."""
        while count and self.wake_one():
            count -= 1

    def count_foreign(self, sender_pids: Sequence[int]) -> int:
        """Number of notifications that none of our workers sent. `sender_pids` are processes of the database server."""
        if not self._worker_pids.issuperset(sender_pids):
            self.refresh_worker_pids()
        return sum(pid not in self._worker_pids for pid in sender_pids)

    def refresh_worker_pids(self) -> None:
        """Reads the numbers from the scoreboard, because the server may give an old one to a foreign connection."""
        self._worker_pids = frozenset(record.backend_pid for _, record in self._records())

    def _records(self) -> Iterator[tuple[int, WorkerRecord]]:
        """Records of the slots that may lease."""
        for slot in range(self._scoreboard.control.read().leasing_slots):
            record = self._scoreboard.worker(slot)
            if record is not None:
                yield slot, record

    def _wake(self, slot: int, record: WorkerRecord) -> bool:
        """False if the slot is empty, or if its worker has begun no activity since it was last woken."""
        if self._woken.get(slot) == record.alive_seconds or not self._scoreboard.ledgers[slot].read().pid:
            return False
        self._woken[slot] = record.alive_seconds
        os.eventfd_write(self._wake_fds[slot], 1)
        return True
