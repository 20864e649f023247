"""The usage of the job in hand: events of our adapters as they come, and of foreign ones with their results and exceptions."""

from uuid import UUID

from worker.core.usage import MAX_EVENTS, UsageEvent, usage_of
from worker.ipc.contract import Counter, EventKind
from worker.queue.sqlstate import reason_of
from worker.queue.usage import UsageWrite
from worker.report import Report
from worker.session import Session


class JobUsage:
    """Events that no write has recorded yet. A worker has one job at a time, so one of these serves all of them."""

    def __init__(self, report: Report, session: Session) -> None:
        self._report, self._session = report, session
        self._events: dict[UUID, UsageEvent] = {}

    @property
    def events(self) -> tuple[UsageEvent, ...]:
        """Events in the order of their calls."""
        return tuple(self._events.values())

    def begin(self) -> None:
        """Forget the events of the job before."""
        self._events.clear()

    def add(self, *events: UsageEvent) -> None:
        """Add events of our own adapters, whose calls report each answer, or of a kept answer."""
        for event in events:
            if len(self._events) < MAX_EVENTS:
                self._events.setdefault(event.event_key, event)

    def take(self, source: object) -> None:
        """Add the `usage_events` of a foreign result or exception. Invalid ones are counted and left out."""
        try:
            offered = getattr(source, "usage_events", None)
        except Exception:  # noqa: BLE001  a bug of an adapter's property costs no result
            offered = 0
        usage = usage_of(offered)
        self.add(*usage.events)
        self._report.count(Counter.USAGE_INVALID, usage.rejected)

    def for_checkpoint(self) -> UsageWrite:
        """Return all events, for the write of the pages whose answers they belong to."""
        return self.for_write(self.events)

    def for_write(self, events: tuple[UsageEvent, ...]) -> UsageWrite:
        """Return the events for one write, on whatever connection it is tried."""
        return UsageWrite(events, lambda: self._session.platform.records_usage)

    def written(self, write: UsageWrite, job_id: UUID) -> None:
        """Count and forget the events of a write that has succeeded. A database of 2025-12 has no place for them."""
        if write.refused:
            self._session.note_refusal(write.refused)
            self._report.count(Counter.USAGE_REFUSED, len(write.events))
            self._report.send(EventKind.USAGE_REFUSED, job_id=job_id, error_class=reason_of(write.refused))
        elif write.is_recorded:
            self._report.count(Counter.USAGE_RECORDED, len(write.events))
        if write.refused or write.is_recorded:
            for event in write.events:
                self._events.pop(event.event_key, None)
