"""The position in the queue at which the search for the next job starts."""

import math
import time
from collections.abc import Callable

from worker.core.outcome import Lease

LOOK_BACK_SECONDS = 1.0  # longest wait of a job that returns to a place before the cursor, while the worker is busy


class QueueCursor:
    """Most searches start where the last job was found. Once a second a search starts at the beginning of the queue.

    While a snapshot is open, for hours during a backup, the index keeps the rows of finished jobs. A search from the beginning
    reads all of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._position: str | None = None
        self._restarted_at_seconds = -math.inf
        self.is_exhausted = False  # the last search started at the beginning and found no job

    def position(self) -> str | None:
        """The `visible_at` to start at. None: from the beginning, where expired leases are found too."""
        is_restart_due = self._clock() >= self._restarted_at_seconds + LOOK_BACK_SECONDS
        return None if is_restart_due else self._position

    def advance(self, searched_from: str | None, found: Lease | None) -> None:
        """Moves to the job that a search from `searched_from` found."""
        if searched_from is None:
            self._restarted_at_seconds = self._clock()
        self._position = found.visible_at if found else None
        self.is_exhausted = searched_from is None and found is None

    def reset(self) -> None:
        """Starts at the beginning next time, because new jobs may have arrived."""
        self._position, self.is_exhausted = None, False
