"""Events of the workers: read from each slot's own socket, so that the sender is known and a flood hurts only itself."""

import math
import os
import time
from collections.abc import Sequence

from pydantic import ValidationError

from supervisor.event_log import EventLog
from supervisor.monitor.metrics import Metrics
from supervisor.monitor.ollama.controller import AdmissionController
from supervisor.monitor.queue.listener import QueueListener
from supervisor.monitor.queue.waker import Waker
from worker.ipc.contract import MAX_EVENT_BYTES, Event, EventKind

MAX_EVENTS_AT_ONCE = 100
FOR_LATER = ("vision_retrying", "feedback_retrying", "returned_")


class Events:
    """Each event goes to the metrics and the log. A job leased by somebody idle means that there may be another one for the next;
    one that was given back for later has to be looked for then, as the database tells nobody of it.
    """

    def __init__(
        self,
        read_fds: Sequence[int],
        metrics: Metrics,
        waker: Waker,
        watch: QueueListener,
        ollama: AdmissionController,
        journal: EventLog,
    ) -> None:
        self._read_fds, self._metrics, self._waker, self._journal = read_fds, metrics, waker, journal
        self._watch, self._ollama = watch, ollama

    def take(self, slot: int) -> None:
        """What has come from one slot; the rest stays for the next turn, after everybody else's."""
        for _ in range(MAX_EVENTS_AT_ONCE):
            try:
                datagram = os.read(self._read_fds[slot], MAX_EVENT_BYTES)
            except BlockingIOError:
                return
            self._take_one(slot, datagram)

    def take_all(self) -> None:
        for slot in range(len(self._read_fds)):
            self.take(slot)

    def _take_one(self, slot: int, datagram: bytes) -> None:
        try:
            event = Event.decode(datagram)
        except ValidationError:
            return  # a claim that makes no sense; what counts stands in the scoreboard
        self._metrics.observe(event)
        self._journal.event(slot, event)
        if event.kind is EventKind.CONNECTION_LOST:
            self._watch.sight.loss, self._watch.sight.lost_at_seconds = event.error_class, time.monotonic()
        if event.kind is EventKind.LEASED or event.next_job_id:  # its statements are answered again
            self._watch.sight.lost_at_seconds = -math.inf
        if event.kind is EventKind.LEASED:
            self._waker.wake_one()
        if event.step is not None and event.call is not None:
            self._ollama.call_ended(event.step, event.call)
        if event.kind is EventKind.SETTLED and event.outcome.startswith(FOR_LATER):
            self._watch.look_soon()
