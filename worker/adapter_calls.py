"""Calls of an adapter for one job. An exception becomes the job's outcome. Durations are added up for the report."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from worker.context import WorkerContext
from worker.core.outcome import Lease, storable
from worker.core.retry import FailureKind, RetryPolicy, failure_of, outcome_of
from worker.held_lease import JobEnded
from worker.ipc.contract import Activity, Counter, EventKind, Step

_COUNTED = {FailureKind.BUG: Counter.ADAPTER_BUGS, FailureKind.RUNAWAY: Counter.RUNAWAYS}

T = TypeVar("T")
Value = TypeVar("Value")


class AdapterCalls:
    """Events carry ids, class names and seconds. An exception's message is never sent: it may contain a pupil's text."""

    def __init__(self, ctx: WorkerContext, lease: Lease) -> None:
        self._ctx, self._lease = ctx, lease
        self.seconds: dict[Activity, float] = {}  # of each step that succeeded

    def ask(self, step: Step, call: Callable[[], T]) -> T:
        """The adapter's result. Raises JobEnded with the outcome that an exception of the adapter means."""
        try:
            return call()
        except Exception as error:
            failure = failure_of(error, step)
            if failure.kind in _COUNTED:
                self._ctx.report.count(_COUNTED[failure.kind])
            self._ctx.report.send(
                EventKind.STEP_FAILED,
                job_id=self._lease.job_id,
                submission_id=self._lease.submission_id,
                outcome=failure.kind.value,
                error_class=failure.error_class,
                step=step,
            )
            raise JobEnded(outcome_of(failure, self._lease, self._policy())) from error

    @contextmanager
    def timed(self, activity: Activity) -> Iterator[None]:
        """Adds the duration of a step, or of one page of it, if it succeeds."""
        started_at_seconds = time.monotonic()
        yield
        self.seconds[activity] = self.seconds.get(activity, 0.0) + time.monotonic() - started_at_seconds

    def _policy(self) -> RetryPolicy:
        settings = self._ctx.settings
        return RetryPolicy(settings.worker_max_retries, settings.worker_backoff_seconds, settings.worker_max_job_age_seconds)


def returned_text(value: object) -> str:
    """An adapter's text as PostgreSQL can store it. Raises TypeError, which is a bug of the adapter."""
    return str(storable(_of_type(value, str)))


def returned_document(value: object) -> dict[str, Any]:
    """An adapter's JSON document as PostgreSQL can store it. Raises TypeError now, while it still counts as the adapter's bug."""
    document: dict[str, Any] = storable(_of_type(value, Mapping))
    json.dumps(document)
    return document


def _of_type(value: Value, kind: type) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"adapter returned {type(value).__name__} for {kind.__name__}")
    return value
