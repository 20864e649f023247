"""Events of the workers. Each slot has its own socket, so the sender is known and a flood delays only its own slot."""

import os
import time
from collections.abc import Sequence

from pydantic import ValidationError

from supervisor.admission.store import STORE_ERRORS
from supervisor.event_log import EventLog
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.ollama.controller import AdmissionController
from supervisor.monitor.queue.requests import DatabaseRequests, PollSoon
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from worker.ipc.contract import MAX_EVENT_BYTES, REFUSAL_COUNTERS, Event, EventKind, ModelCall, Step
from worker.ollama.errors import NameUnresolved, ServerUnreachable
from worker.queue.sqlstate import sqlstate_in

MAX_EVENTS_AT_ONCE = 100
UNENDED_OUTCOMES = ("refused", "lease_lost")
SUSPECT = "suspect"  # outcome of a failed step, see worker.core.faults
UNCONNECTED = (ServerUnreachable.__name__, NameUnresolved.__name__)
DELAYED_OUTCOMES = ("vision_retrying", "feedback_retrying", "released_")  # prefixes


class EventReader:
    """Passes each event to the metrics and the log, and to the part of the monitor that acts on it.

    After a lease one more worker is woken, because the queue may hold another job. After a job is put back for later the
    queue is polled soon, because the database sends no notification for it.
    """

    def __init__(
        self,
        read_fds: Sequence[int],
        metrics: Metrics,
        state: MonitorState,
        requests: DatabaseRequests,
        waker: Waker,
        admission: AdmissionController,
        event_log: EventLog,
    ) -> None:
        self._read_fds, self._metrics, self._state, self._event_log = read_fds, metrics, state, event_log
        self._requests, self._waker, self._admission = requests, waker, admission

    def read(self, slot: int) -> None:
        """Reads at most MAX_EVENTS_AT_ONCE events of a slot. The rest waits until the other slots were read."""
        for _ in range(MAX_EVENTS_AT_ONCE):
            try:
                datagram = os.read(self._read_fds[slot], MAX_EVENT_BYTES)
            except BlockingIOError:
                return
            self._handle(slot, datagram)

    def read_all(self) -> None:
        for slot in range(len(self._read_fds)):
            self.read(slot)

    def _handle(self, slot: int, datagram: bytes) -> None:
        try:
            event = Event.decode(datagram)
        except ValidationError:
            return  # a damaged event is dropped, the scoreboard has the totals
        self._metrics.observe(event)
        self._event_log.event(slot, event)
        self._update_connection(slot, event)
        self._update_refused_rows(event)
        self._note_file(event)
        self._note_refused_file(event)
        self._note_suspect(event)
        if event.kind is EventKind.STEP_FAILED and event.error_class in UNCONNECTED:
            self._admission.list_now()
        if event.kind is EventKind.LEASED:
            self._waker.wake_one()
        if event.step is not None and event.call is not None:
            self._admission.call_ended(event.step, event.call)
            self._note_call(event.step, event.call)
        if event.kind is EventKind.SETTLED and event.outcome.startswith(DELAYED_OUTCOMES):
            self._requests.send(PollSoon())

    def _update_refused_rows(self, event: Event) -> None:
        """A row is refused until its job has ended or was put back."""
        if event.job_id is None:
            return
        sqlstate = sqlstate_in(event.error_class)
        if event.kind is EventKind.ROW_REFUSED and event.outcome != "failed" and sqlstate:
            self._state.refused_rows.add(event.job_id, sqlstate, time.monotonic())
        elif event.kind is EventKind.ROW_REFUSED or (event.kind is EventKind.SETTLED and event.outcome not in UNENDED_OUTCOMES):
            self._state.refused_rows.forget(event.job_id)

    def _note_file(self, event: Event) -> None:
        """A failed file may be the store's fault. An answer about a picture shows that its file was read."""
        if event.job_id is None or event.step is not Step.VISION:
            return
        if event.kind is EventKind.STEP_FAILED and event.error_class in STORE_ERRORS:
            self._admission.file_failed(event.error_class, event.job_id)
        elif event.call is not None and event.call.outcome.is_answer:
            self._admission.file_read(event.job_id)
            self._state.refused_files.read()

    def _note_refused_file(self, event: Event) -> None:
        if event.kind is EventKind.SETTLED and event.error_class in REFUSAL_COUNTERS:
            self._state.refused_files.add(event.error_class, time.monotonic())

    def _note_suspect(self, event: Event) -> None:
        """A suspect's failure may be its own fault. Only one that ends the job is known to be."""
        if event.job_id is None:
            return
        if event.kind is EventKind.STEP_FAILED and event.step is not None and event.outcome == SUSPECT:
            self._admission.call_suspect(event.step, event.job_id)
        elif event.kind is EventKind.SETTLED and not event.outcome.startswith((*DELAYED_OUTCOMES, *UNENDED_OUTCOMES)):
            self._admission.job_ended(event.job_id)

    def _note_call(self, step: Step, call: ModelCall) -> None:
        model = self._state.admission.policy.model_of(step)
        if model is not None:
            self._state.progress.call_ended(model, call, time.monotonic())

    def _update_connection(self, slot: int, event: Event) -> None:
        """A worker that leases a job has reached the database again. Another one may still be refused."""
        if event.kind is EventKind.CONNECTION_LOST:
            self._state.mark_worker_lost(slot, event.error_class, time.monotonic())
        if event.kind is EventKind.LEASED or event.next_job_id:
            self._state.mark_worker_connected(slot)
