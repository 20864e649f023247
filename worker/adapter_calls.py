"""Calls of an adapter for one job. An exception becomes the job's outcome. Durations are added up for the report."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from worker.context import WorkerContext
from worker.core.adapter_codes import accepted_code
from worker.core.evidence import held_failure_in
from worker.core.faults import Fault, Suspicion
from worker.core.ladder import rung
from worker.core.outcome import Failed, Lease, Released, Retried, storable
from worker.core.retry import Failure, JobAtFailure, failure_of, outcome_of
from worker.foreign_call import limited, retry_after_seconds
from worker.held_lease import JobEnded
from worker.ipc.backoff import jittered
from worker.ipc.contract import RATE_LIMITED, Activity, Counter, EventKind, Step
from worker.neighbours import ANSWERED, DIED, Neighbours

T = TypeVar("T")
Value = TypeVar("Value")


class AdapterCalls:
    """Events carry ids, class names and seconds. An exception's message is never sent: it may contain a pupil's text."""

    def __init__(self, ctx: WorkerContext, lease: Lease) -> None:
        self._ctx, self._lease, self._neighbours = ctx, lease, Neighbours(ctx.wiring, ctx.settings)
        self._attempts, self._held_failure = lease.retry_count, held_failure_in(lease.payload)
        self._answered = dict.fromkeys(Step, 0)  # calls for this job since its lease
        self.seconds: dict[Activity, float] = {}  # of each step that succeeded

    @property
    def attempts(self) -> int:
        """Attempts used since the job's last committed page."""
        return self._attempts

    def page_committed(self) -> None:
        """A committed page gives the job's attempts back, and the evidence begins anew: its statement has written both."""
        self._attempts, self._held_failure = 0, None

    def call(self, step: Step, call: Callable[[], T], phase: Step | None = None, limit_seconds: float | None = None) -> T:
        """The result of one call to the step's model. Raises JobEnded as `ask` does.

        `phase` is that of the adapter, which is named in the submission if the call fails. None: the step itself.
        A foreign adapter's call is interrupted after `limit_seconds`, by default that of the setting.
        """
        self._neighbours.call_begins(step)
        if self._ctx.settings.is_foreign((phase or step).value):
            call = partial(_limited, call, limit_seconds or self._ctx.settings.ai_foreign_timeout_seconds)
        with self.timed(Activity[step.name]):
            result = self.ask(step, call, phase, is_call=True)
        self._count_answer(step)
        self._ctx.admission.answered(step)
        return result

    def ask(self, step: Step, ask: Callable[[], T], phase: Step | None = None, *, is_call: bool = False) -> T:
        """The adapter's result. Raises JobEnded with the outcome that an exception of the adapter means.

        A foreign library may raise SystemExit or a CancelledError, which are no Exception. They must not end the worker, because
        its death would count against the job.
        """
        started_at_seconds = time.monotonic()
        try:
            return ask()
        except BaseException as error:  # no signal handler of the worker raises
            failure = replace(failure_of(error, phase or step), step=step, phase=phase)
            self._ctx.usage.take(error)
            if is_call:
                self._count_end(failure)
            if failure.error_class == RATE_LIMITED:
                end_seconds = self._ctx.admission.pause_end_seconds(step, retry_after_seconds(error))
                self._ctx.report.set_paused(step, end_seconds)
            outcome, seconds = self._outcome(failure), time.monotonic() - started_at_seconds
            self._report(failure, seconds)
            if isinstance(outcome, Retried) and self._ctx.climbs(step):
                self._report_rung(failure, seconds)
            raise JobEnded(outcome) from error

    @contextmanager
    def timed(self, activity: Activity) -> Iterator[None]:
        """Adds the duration of a step, or of one page of it, if it succeeds."""
        started_at_seconds = time.monotonic()
        yield
        self.seconds[activity] = self.seconds.get(activity, 0.0) + time.monotonic() - started_at_seconds

    def _outcome(self, failure: Failure) -> Failed | Retried | Released:
        """The outcome by the evidence. A job that is held at a closed gate keeps its place, because the gate decides about its
        next try. Other held jobs wait for random times, so that those that died together are not asked together again.
        """
        counts = self._neighbours.counts(failure.step, self._answered[failure.step])
        job = JobAtFailure(self._attempts, self._lease.age_seconds, counts, self._held_failure)
        outcome = outcome_of(failure, job, self._ctx.retry_policy)
        if isinstance(outcome, Failed):
            return replace(outcome, error_code=accepted_code(outcome.error_code, self._ctx.platform, failure.written_phase))
        if isinstance(outcome, Retried):
            return outcome
        is_closed = self._ctx.admission.calls(failure.step) == 0
        return replace(outcome, delay_seconds=0.0 if is_closed else jittered(outcome.delay_seconds))

    def _count_answer(self, step: Step) -> None:
        """A call that began before another one died is no evidence that calls are answered since. It is counted first and taken
        back, because a worker whose call dies in this instant must see the count now or never.
        """
        self._ctx.report.count(ANSWERED[step])
        if self._neighbours.have_died(step):
            self._ctx.report.count(ANSWERED[step], -1)
        else:
            self._answered[step] += 1

    def _count_end(self, failure: Failure) -> None:
        """An unusable answer is an answer too. A call that died may have died with others."""
        if failure.fault is Fault.ANSWER:
            self._count_answer(failure.step)
        elif failure.suspicion is Suspicion.DIED:
            self._ctx.report.count(DIED[failure.step])

    def _report(self, failure: Failure, seconds: float) -> None:
        if failure.is_bug:
            self._ctx.report.count(Counter.ADAPTER_BUGS)
        if failure.error_class == "Runaway":
            self._ctx.report.count(Counter.RUNAWAYS)
        self._ctx.report.send(
            EventKind.STEP_FAILED,
            job_id=self._lease.job_id,
            submission_id=self._lease.submission_id,
            outcome=failure.fault.value,
            error_class=failure.error_class,
            seconds=seconds,
            step=failure.step,
        )

    def _report_rung(self, failure: Failure, seconds: float) -> None:
        """The next attempt, the failure for which it is taken, and the time that this one has cost."""
        self._ctx.report.send(
            EventKind.NEXT_RUNG,
            job_id=self._lease.job_id,
            submission_id=self._lease.submission_id,
            outcome=rung(self._attempts + 1).name,
            error_class=failure.error_class,
            seconds=seconds,
            step=failure.step,
        )


def _limited(call: Callable[[], T], limit_seconds: float) -> T:
    with limited(limit_seconds):
        return call()


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
