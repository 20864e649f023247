"""The task that watches the progress each second, logs the begin and the end of a standstill, and mends what the monitor can."""

import asyncio
import math
import time
from dataclasses import replace

from supervisor.event_log import EventLog
from supervisor.monitor.progress import Severity, Standstill, sampled, standstill
from supervisor.monitor.queue.requests import DatabaseRequests, Reconnect
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.slot_status import present
from supervisor.monitor.state import MonitorState
from supervisor.monitor.work import work_facts, work_in_words
from worker.ipc.scoreboard import MAX_SLOTS, ProgressRecord, Scoreboard

SAMPLE_SECONDS = 1.0
HANDOVER_SECONDS = 60.0  # a successor continues the watch of a monitor that ended within this time


class ProgressWatch:
    """The only writer of the progress record and of the watch in `MonitorState.progress`."""

    def __init__(
        self, scoreboard: Scoreboard, state: MonitorState, requests: DatabaseRequests, waker: Waker, event_log: EventLog
    ) -> None:
        self._scoreboard, self._state, self._requests, self._waker = scoreboard, state, requests, waker
        self._event_log = event_log
        self._logged: Standstill | None = None
        self._mended_at_seconds = -math.inf
        self._continue_watch(time.monotonic())

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            self.sample()
            await asyncio.sleep(SAMPLE_SECONDS)

    def sample(self) -> None:
        now_seconds = time.monotonic()
        self._state.suspensions.sample({slot.ledger.pid for slot in present(self._scoreboard)} - {0}, now_seconds)
        facts, view = work_facts(self._scoreboard, self._state, now_seconds), self._state.progress
        view.watch = watch = sampled(view.watch, facts, view.policy)
        if facts.is_idle:
            view.failed_since_seconds.clear()
        self._scoreboard.progress.write(ProgressRecord(watch.sampled_at_seconds, watch.since_seconds, watch.excused_seconds))
        found = standstill(watch, facts, view.policy)
        self._log(found, now_seconds)
        if found and found.severity is Severity.LONG:
            self._mend(now_seconds)

    def _continue_watch(self, now_seconds: float) -> None:
        """A standstill outlives the monitor: its start is in the scoreboard. A first monitor begins anew."""
        record, view = self._scoreboard.progress.read(), self._state.progress
        if now_seconds < record.sampled_at_seconds + HANDOVER_SECONDS:
            view.watch = replace(
                view.watch,
                sampled_at_seconds=now_seconds,
                since_seconds=record.since_seconds,
                worked_at_seconds=now_seconds,
                excused_seconds=record.excused_seconds,
            )

    def _log(self, found: Standstill | None, now_seconds: float) -> None:
        """Logs a standstill when it begins, gets more severe, or ends."""
        before, self._logged = self._logged, found
        if found and (before is None or before.severity is not found.severity):
            seconds = now_seconds - found.since_seconds
            self._event_log.standstill(
                is_long=found.severity is Severity.LONG,
                seconds=seconds,
                model=found.model,
                waits=work_in_words(self._scoreboard, self._state),
            )
        if before and not found:
            self._event_log.progress_again(seconds=now_seconds - before.since_seconds)

    def _mend(self, now_seconds: float) -> None:
        """Wakes all idle workers and renews the monitor's connection, at most once in the longest step.

        A wake-up or a notification that was lost is then repeated. Ollama is asked each second anyway, and the admission rules
        unload and probe a model that is silent. Workers that wait for an unused permit are replaced by the supervisor.
        """
        if now_seconds < self._mended_at_seconds + self._state.progress.policy.longest_step_seconds:
            return
        self._mended_at_seconds = now_seconds
        self._event_log.mend(action="reconnect")
        self._requests.send(Reconnect())
        self._waker.wake(MAX_SLOTS)
