"""The store of the files: whether pictures can be read, by the errors of our workers and by probes of the monitor.

The hold has three stages:

    a file fails         a probe is answered      a file is read
    ------------> closed ------------------> back -------------> no hold
                    ^                         |
                    +--- another job fails ---+

The job at the head of the queue is always the next one. If only this job's file fails, the gate would close again and again, and
the other pictures would starve. So each job closes the gate once, until its file is read.
"""

import math
from dataclasses import dataclass, replace
from uuid import UUID

from worker.ipc.backoff import doubling

FILE_MISSING = "StoreFileMissing"
STORE_ERRORS = frozenset(
    {
        "StoreUnreachable",
        "StoreNameUnresolved",
        "StoreRejected",
        "StoreFailed",
        "StoreBusy",
        "RootUnreadable",
        "FileTimeout",
        FILE_MISSING,
    }
)
MISSES = 3  # jobs in a row whose file is missing: then the place of the files is wrong, and not these jobs
MAX_RELAPSE_FACTOR = 4  # longest wait for a probe, in first waits, if files fail after answered probes
MAX_JOBS = 1000  # that are remembered


@dataclass(frozen=True, slots=True)
class Store:
    """`error_class` is empty while pictures are read as usual. `failed`: jobs whose file could not be read, until it is read."""

    error_class: str = ""
    since_seconds: float = 0.0  # begin of the hold
    is_back: bool = False  # a probe was answered: one picture at a time
    is_doubtful: bool = False  # a file failed again since
    failed: frozenset[UUID] = frozenset()
    misses: int = 0  # jobs in a row whose file is missing
    relapses: int = 0
    closed_at_seconds: float = -math.inf
    is_probing: bool = False
    probed_at_seconds: float = -math.inf  # end of the last probe
    retry_after_seconds: float = 0.0  # as the store asked for in its answer to the last probe

    @property
    def is_closed(self) -> bool:
        return bool(self.error_class) and not self.is_back

    def file_failed(self, error_class: str, job_id: UUID, at_seconds: float) -> "Store":
        """Close the gate if this job has not closed it before."""
        is_new = job_id not in self.failed
        misses = self.misses + 1 if error_class == FILE_MISSING and is_new else self.misses
        is_of_the_job = error_class == FILE_MISSING and misses < MISSES
        known = replace(self, failed=self.failed | {job_id} if len(self.failed) < MAX_JOBS else self.failed, misses=misses)
        if self.is_closed or (is_of_the_job and not self.error_class):
            return known
        since_seconds = self.since_seconds if self.error_class else at_seconds
        held = replace(known, error_class=error_class, since_seconds=since_seconds)
        if is_of_the_job or not is_new:
            return replace(held, is_back=True, is_doubtful=True)
        return held._closed(at_seconds)

    def _closed(self, at_seconds: float) -> "Store":
        return replace(
            self,
            is_back=False,
            is_doubtful=False,
            misses=0,
            relapses=self.relapses + 1 if self.is_back else self.relapses,
            closed_at_seconds=at_seconds,
            retry_after_seconds=0.0,
        )

    def file_read(self, job_id: UUID) -> "Store":
        """End the hold. A job that was in work when the store failed ends none, because its file was read before."""
        if self.is_closed:
            return self
        return Store(failed=self.failed - {job_id})

    def probe_begun(self) -> "Store":
        return replace(self, is_probing=True)

    def probe_ended(self, error_class: str, at_seconds: float, retry_after_seconds: float) -> "Store":
        """`error_class` is empty for an answer."""
        ended = replace(self, is_probing=False, probed_at_seconds=at_seconds, retry_after_seconds=retry_after_seconds)
        if not self.is_closed:
            return ended
        return replace(ended, error_class=error_class) if error_class else replace(ended, is_back=True)

    def is_probe_due(self, now_seconds: float, probe_seconds: float) -> bool:
        """Return True if the next probe may begin. The store may ask for a longer wait."""
        if not self.is_closed or self.is_probing:
            return False
        wait_seconds = max(probe_seconds, self.retry_after_seconds)
        if self.probed_at_seconds <= self.closed_at_seconds:
            wait_seconds = max(wait_seconds, doubling(probe_seconds, MAX_RELAPSE_FACTOR * probe_seconds, self.relapses))
        return now_seconds >= max(self.closed_at_seconds, self.probed_at_seconds) + wait_seconds
