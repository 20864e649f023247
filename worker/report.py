"""What a worker tells about itself: its record in the scoreboard, and events to the monitor."""

import math
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

from worker.ipc.contract import MAX_EVENT_BYTES, Activity, Counter, Event, EventKind, ModelCall, Step, Wiring
from worker.ipc.scoreboard import COUNTERS, WorkerRecord
from worker.memory import uss_bytes

WEIGH_EVERY_SECONDS = 5.0  # a look costs a millisecond and holds the memory lock
_UNSAFE = re.compile(r"[^\w.:<>, -]")  # what an event may not carry: a role or a module may be named anything


class Report:
    """One writer of one record. Nothing here blocks: a full socket drops the event and counts that."""

    def __init__(self, wiring: Wiring, clock: Callable[[], float] = time.monotonic) -> None:
        self._wiring, self._clock = wiring, clock
        self._weighed_at_seconds = -math.inf
        before = wiring.scoreboard.worker(wiring.slot)  # the slot's totals go on where its last worker left them
        self._record = WorkerRecord(wiring.incarnation, Activity.BOOT, counters=before.counters if before else (0,) * COUNTERS)

    @property
    def activity(self) -> Activity:
        return Activity(self._record.activity)

    def enter(self, activity: Activity, deadline_in_seconds: float = math.inf) -> None:
        """Begins a activity and deadlines its end: the supervisor acts on a broken deadline."""
        now = self._clock()
        record = replace(self._record, activity=activity, deadline_seconds=now + deadline_in_seconds, progress_seconds=now)
        is_call = activity in (Activity.VISION, Activity.FEEDBACK)
        self._write(replace(record, call_started_seconds=now) if is_call else record)

    def progress(self) -> None:
        """Something came: a token, a row. It never moves the deadline, which is the activity's hard limit."""
        self._write(replace(self._record, progress_seconds=self._clock()))

    def ask_for(self, lease_key: UUID | None) -> None:
        """Names the next lease before its statement is sent, so that a death in between is covered."""
        self._write(replace(self._record, next_lease_key=lease_key))

    def hold(self, job_id: UUID | None, lease_key: UUID | None, next_lease_key: UUID | None = None) -> None:
        """Names the lease in hand, None when it is settled; and one whose answer is still out."""
        self._write(replace(self._record, job_id=job_id, lease_key=lease_key, next_lease_key=next_lease_key))

    def count(self, counter: Counter, amount: int = 1) -> None:
        if amount:
            before = self._record.counters
            self._write(replace(self._record, counters=(*before[:counter], before[counter] + amount, *before[counter + 1 :])))

    def reach_database(self, backend_pid: int) -> None:
        """Told before the next deadline, so that who learns of that knows it too."""
        self._write(replace(self._record, is_ready=True, backend_pid=backend_pid))

    def weigh(self) -> None:
        """Between jobs: the memory that is this worker's alone. At most once in some seconds, however short the jobs are."""
        now = self._clock()
        if now >= self._weighed_at_seconds + WEIGH_EVERY_SECONDS:
            self._weighed_at_seconds = now
            self._write(replace(self._record, uss_bytes=uss_bytes()))

    def tell(self, step: Step, call: ModelCall) -> None:
        """Of a call to a model that is over."""
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
    ) -> None:
        """One datagram to the monitor."""
        event = Event(
            kind=kind,
            incarnation=self._wiring.incarnation,
            job_id=job_id,
            submission_id=submission_id,
            next_job_id=next_job_id,
            outcome=outcome,
            error_class=_UNSAFE.sub("?", error_class)[:200],
            seconds=seconds,
            steps=dict(steps),
            step=step,
            call=call,
        )
        try:
            os.write(self._wiring.event_fd, event.encode()[:MAX_EVENT_BYTES])
        except OSError:  # full, or nobody reads: the totals stand in the scoreboard
            self.count(Counter.EVENTS_DROPPED)

    def _write(self, record: WorkerRecord) -> None:
        self._record = record
        self._wiring.scoreboard.write_worker(self._wiring.slot, record)
