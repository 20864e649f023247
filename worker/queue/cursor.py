"""From where in the queue's order to look for the next job."""

import math
import time
from collections.abc import Callable

from worker.core.outcome import Lease

LOOK_BACK_SECONDS = 1.0  # how long a job that comes back at its old place may wait for somebody busy to see it


class QueueCursor:
    """Most looks go on where the last lease was found; one a second begins at the start of the queue.

    The rows of finished jobs stay in the index for as long as anybody has a snapshot open that may need them, as a backup does
    for hours. A look from the start walks over all of them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: str | None = None
        self._looked_back_at_seconds = -math.inf
        self.is_bare = False  # the last look began at the start and found nothing

    def since(self) -> str | None:
        """The `visible_at` to begin at; None: from the start, where expired leases are seen too."""
        is_due = self._clock() >= self._looked_back_at_seconds + LOOK_BACK_SECONDS
        return None if is_due else self._since

    def looked(self, since: str | None, found: Lease | None) -> None:
        if since is None:
            self._looked_back_at_seconds = self._clock()
        self._since = found.visible_at if found else None
        self.is_bare = since is None and found is None

    def forget(self) -> None:
        """There may be news: look from the start."""
        self._since, self.is_bare = None, False
