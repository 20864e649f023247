"""Waking one idle worker for one piece of news, so that no herd runs to the queue."""

import os
from collections.abc import Sequence

from worker.contract import Phase
from worker.scoreboard import Scoreboard

_PREFERRED = (Phase.IDLE, Phase.LEASE)  # who is just looking may have looked too early


class Waker:
    """Writes to the eventfd of a worker that waits. Busy workers look for themselves when they are done."""

    def __init__(self, scoreboard: Scoreboard, wake_fds: Sequence[int]) -> None:
        self._scoreboard, self._wake_fds = scoreboard, wake_fds
        self._woken: dict[int, float] = {}  # slot -> the progress at which it was last woken

    def wake_one(self) -> bool:
        """False if there is nobody to wake."""
        for phase in _PREFERRED:
            for slot, wake_fd in enumerate(self._wake_fds):
                if self._can_wake(slot, phase):
                    os.eventfd_write(wake_fd, 1)
                    return True
        return False

    def _can_wake(self, slot: int, phase: Phase) -> bool:
        """A worker that was woken and has not moved since is on its way already."""
        record = self._scoreboard.worker(slot)
        if record is None or record.phase != phase or self._woken.get(slot) == record.progress_seconds:
            return False
        if not self._scoreboard.ledger(slot).pid:
            return False
        self._woken[slot] = record.progress_seconds
        return True
