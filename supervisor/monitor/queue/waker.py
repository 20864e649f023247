"""Waking one idle worker for one piece of news, so that no herd runs to the queue."""

import os
from collections.abc import Iterator, Sequence

from worker.ipc.contract import Activity
from worker.ipc.scoreboard import Scoreboard, WorkerRecord

_LOOKING = {Activity.LEASE, Activity.SETTLE}  # may have looked too early


class Waker:
    """Writes to the eventfd of a worker that waits. Busy workers look for themselves when they are done."""

    def __init__(self, scoreboard: Scoreboard, wake_fds: Sequence[int]) -> None:
        self._scoreboard, self._wake_fds = scoreboard, wake_fds
        self._woken: dict[int, float] = {}  # slot -> the progress at which it was last woken
        self._backend_pids: frozenset[int] = frozenset()

    def wake_one(self) -> bool:
        """An idle worker if there is one, else one that is just looking. False if there is nobody to wake."""
        looking: list[tuple[int, WorkerRecord]] = []
        admitted_slots = self._scoreboard.admission.read().slots
        for slot, record in self._records():
            if slot >= admitted_slots:
                break
            if record.activity == Activity.IDLE and self._wake(slot, record):
                return True
            if record.activity in _LOOKING:
                looking.append((slot, record))
        return any(self._wake(slot, record) for slot, record in looking)

    def wake(self, count: int) -> None:
        """So many workers, or all that can be woken."""
        while count and self.wake_one():
            count -= 1

    def count_others(self, backend_pids: Sequence[int]) -> int:
        """How many of the server's processes serve none of our workers, each as often as it is named."""
        if not self._backend_pids.issuperset(backend_pids):
            self.recognise()
        return sum(backend_pid not in self._backend_pids for backend_pid in backend_pids)

    def recognise(self) -> None:
        """Who is ours now: a process number that has gone may come back as another's."""
        self._backend_pids = frozenset(record.backend_pid for _, record in self._records())

    def _records(self) -> Iterator[tuple[int, WorkerRecord]]:
        """Of those who may lease: nobody else need be looked at."""
        for slot in range(self._scoreboard.control.read().leasing_slots):
            record = self._scoreboard.worker(slot)
            if record is not None:
                yield slot, record

    def _wake(self, slot: int, record: WorkerRecord) -> bool:
        """A worker that was woken and has not moved since is on its way already."""
        if self._woken.get(slot) == record.progress_seconds or not self._scoreboard.ledgers[slot].read().pid:
            return False
        self._woken[slot] = record.progress_seconds
        os.eventfd_write(self._wake_fds[slot], 1)
        return True
