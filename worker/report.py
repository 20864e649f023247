"""A worker's report about itself: its record in the scoreboard, and its events to the monitor."""

import math
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

from worker.ipc.contract import MAX_EVENT_BYTES, MODEL_CALLS, Activity, Counter, Event, EventKind, ModelCall, Step, Wiring
from worker.ipc.scoreboard import WorkerRecord
from worker.memory import uss_bytes

SAMPLE_EVERY_SECONDS = 5.0  # a sample costs a millisecond and holds the kernel's lock on the process's memory map
_ENDS = {  # of a job whose input was processed or is at fault: a failed model moves no submission forward
    Counter.COMPLETED,
    Counter.FAILED_INPUT_CORRUPT,
    Counter.FAILED_INPUT_UNSUPPORTED,
    Counter.FAILED_INPUT_TOO_LARGE,
    Counter.QUARANTINED,
}
_UNSAFE = re.compile(r"[^\w.:<>, -]")  # not allowed in an event, but possible in the name of a role or a module


class Report:
    """The only writer of the slot's record. It never blocks: if the socket is full, the event is dropped and counted."""

    def __init__(self, wiring: Wiring, clock: Callable[[], float] = time.monotonic) -> None:
        self._wiring, self._clock = wiring, clock
        self._sampled_at_seconds = -math.inf
        before = wiring.scoreboard.worker(wiring.slot) or WorkerRecord()  # continue the totals of the slot's last worker
        self._record = WorkerRecord(
            wiring.incarnation,
            Activity.BOOT,
            activity_since_seconds=clock(),
            advanced_seconds=before.advanced_seconds,
            completed_seconds=before.completed_seconds,
            vision_paused_until_seconds=before.vision_paused_until_seconds,
            feedback_paused_until_seconds=before.feedback_paused_until_seconds,
            abilities=before.abilities,
            counters=before.counters,
        )

    @property
    def activity(self) -> Activity:
        return Activity(self._record.activity)

    def enter_activity(self, activity: Activity, deadline_in_seconds: float = math.inf) -> None:
        """Begins an activity. The supervisor ends the worker if the activity lasts beyond its deadline."""
        now = self._clock()
        record = replace(self._record, activity=activity, deadline_seconds=now + deadline_in_seconds, alive_seconds=now)
        if activity != self._record.activity:
            record = replace(record, activity_since_seconds=now)
        self._write(replace(record, call_started_seconds=now) if activity in MODEL_CALLS else record)

    def progress(self) -> None:
        """Data has arrived, such as a token. The deadline stays, because it is the activity's hard limit."""
        now = self._clock()
        self._write(replace(self._record, alive_seconds=now, advanced_seconds=now))

    def advance(self) -> None:
        """A submission has moved forward: a page or text was committed, or its job has ended."""
        self._write(replace(self._record, advanced_seconds=self._clock()))

    def set_lease(self, job_id: UUID | None, lease_key: UUID | None, pending_lease_key: UUID | None = None) -> None:
        """Publishes the lease in hand, None after it was settled, and the key of a lease request without a result."""
        self._write(replace(self._record, job_id=job_id, lease_key=lease_key, next_lease_key=pending_lease_key))

    def set_pending_lease(self, lease_key: UUID) -> None:
        """Publishes the next lease's key before its statement is sent. If the worker then dies, the lease can be reclaimed."""
        self._write(replace(self._record, next_lease_key=lease_key))

    def count(self, counter: Counter, amount: int = 1) -> None:
        if not amount:
            return
        before, record = self._record.counters, self._record
        record = replace(record, counters=(*before[:counter], before[counter] + amount, *before[counter + 1 :]))
        if counter in _ENDS:
            record = replace(record, advanced_seconds=self._clock())
        if counter is Counter.COMPLETED:
            record = replace(record, completed_seconds=record.advanced_seconds)
        self._write(record)

    def set_connected(self, backend_pid: int) -> None:
        """Written before the next deadline: a reader of that deadline then sees `is_ready` too."""
        self._write(replace(self._record, is_ready=True, backend_pid=backend_pid))

    def set_abilities(self, bits: int) -> None:
        """Publishes which jobs this worker takes, for the monitor."""
        if bits != self._record.abilities:
            self._write(replace(self._record, abilities=bits))

    def set_paused(self, step: Step, until_seconds: float) -> None:
        """Publishes the end of a step's pause, for the other workers and the monitor."""
        if step is Step.VISION:
            self._write(replace(self._record, vision_paused_until_seconds=until_seconds))
        else:
            self._write(replace(self._record, feedback_paused_until_seconds=until_seconds))

    def sample_memory(self) -> None:
        """Publishes the worker's private memory between two jobs, at most once in SAMPLE_EVERY_SECONDS."""
        now = self._clock()
        if now >= self._sampled_at_seconds + SAMPLE_EVERY_SECONDS:
            self._sampled_at_seconds = now
            self._write(replace(self._record, uss_bytes=uss_bytes()))

    def report_call(self, step: Step, call: ModelCall) -> None:
        """Sends the figures of a finished call to a model."""
        self.send(EventKind.CALL, job_id=self._record.job_id, step=step, call=call)

    def send(
        self,
        kind: EventKind,
        *,
        job_id: UUID | None = None,
        submission_id: UUID | None = None,
        next_job_id: UUID | None = None,
        outcome: str = "",
        error_class: str = "",
        seconds: float = 0.0,
        steps: Mapping[Activity, float] = MappingProxyType({}),
        step: Step | None = None,
        call: ModelCall | None = None,
        page: int = 0,
        retry_in_seconds: float | None = None,
    ) -> None:
        """Sends one datagram to the monitor."""
        event = Event(
            kind=kind,
            job_id=job_id,
            submission_id=submission_id,
            next_job_id=next_job_id,
            outcome=outcome,
            error_class=_UNSAFE.sub("?", error_class)[:200],
            seconds=seconds,
            steps=dict(steps),
            step=step,
            call=call,
            page=page,
            retry_in_seconds=retry_in_seconds,
        )
        try:
            os.write(self._wiring.event_fd, event.encode()[:MAX_EVENT_BYTES])
        except OSError:  # the socket is full or closed. The totals are in the scoreboard
            self.count(Counter.EVENTS_DROPPED)

    def _write(self, record: WorkerRecord) -> None:
        self._record = record
        self._wiring.scoreboard.write_worker(self._wiring.slot, record)
