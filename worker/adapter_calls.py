"""Calls of an adapter for one job: what they raise becomes the job's outcome, and how long they take is told at its end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from worker.core.outcome import Lease
from worker.core.retry import FailureKind, RetryPolicy, failure_of, outcome_of
from worker.ipc.contract import Activity, Counter, EventKind, Step
from worker.lease import Ended, WorkerContext

_COUNTED = {FailureKind.BUG: Counter.ADAPTER_BUGS, FailureKind.RUNAWAY: Counter.RUNAWAYS}

Answer = TypeVar("Answer")


class AdapterCalls:
    """Ids, classes and seconds are told, never a message: it may carry a pupil's text."""

    def __init__(self, ctx: WorkerContext, lease: Lease) -> None:
        self._ctx, self._lease = ctx, lease
        self.seconds: dict[Activity, float] = {}  # of each step that succeeded

    def ask(self, step: Step, call: Callable[[], Answer]) -> Answer:
        """What the adapter answers. Raises Ended with what its exception means for the job."""
        try:
            return call()
        except Exception as error:
            failure = failure_of(error, step)
            if failure.kind in _COUNTED:
                self._ctx.report.count(_COUNTED[failure.kind])
            self._tell(EventKind.STEP_FAILED, outcome=failure.kind.value, error_class=failure.error_class)
            raise Ended(outcome_of(failure, self._lease, self._policy())) from error

    @contextmanager
    def timed(self, step: Activity) -> Iterator[None]:
        """One step, or a page of it; counted where it succeeds."""
        started_at_seconds = time.monotonic()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.monotonic() - started_at_seconds

    def _policy(self) -> RetryPolicy:
        settings = self._ctx.settings
        return RetryPolicy(settings.worker_max_retries, settings.worker_backoff_seconds, settings.worker_max_job_age_seconds)

    def _tell(self, kind: EventKind, **details: Any) -> None:
        self._ctx.report.send(kind, job_id=self._lease.job_id, submission_id=self._lease.submission_id, **details)
