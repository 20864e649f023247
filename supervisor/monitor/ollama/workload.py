"""Calls of our own workers to the models, from the scoreboard, and the jobs that wait for each model, from the queue."""

import time

from supervisor.admission.facts import Backlog, BacklogSampled, CallsInFlight, WorkersSampled
from supervisor.admission.policy import AdmissionPolicy
from supervisor.monitor.slot_status import SlotStatus, slot_statuses
from supervisor.monitor.suspensions import Suspensions
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import Scoreboard
from worker.queue.polls import StepBacklog


class Workload:
    """Remembers for each model with calls in flight when it last made progress."""

    def __init__(self, scoreboard: Scoreboard, policy: AdmissionPolicy, suspensions: Suspensions) -> None:
        self._scoreboard, self._policy, self._suspensions = scoreboard, policy, suspensions
        self._progress_at_seconds: dict[str, float] = {}

    def sample_workers(self) -> WorkersSampled:
        now_seconds = time.monotonic()
        busy = [slot for slot in slot_statuses(self._scoreboard) if slot.is_busy]
        by_model: dict[str, list[SlotStatus]] = {}
        for slot in busy:
            model = self._model(slot.activity)
            if model is not None:
                by_model.setdefault(model, []).append(slot)
        self._progress_at_seconds = {model: self._track_progress(model, callers) for model, callers in by_model.items()}
        calls = tuple(CallsInFlight(name, len(by_model[name]), self._progress_at_seconds[name]) for name in by_model)
        return WorkersSampled(calls, len(busy), self._scoreboard.control.read().leasing_slots, now_seconds)

    def call_ended(self, model: str) -> None:
        """The end of a call is progress of its model."""
        self._progress_at_seconds[model] = time.monotonic()

    def sample_backlog(self, backlog: StepBacklog) -> BacklogSampled:
        """If both steps use one model, its backlog is the sum of both."""
        steps = (
            (self._policy.vision_model, backlog.vision_jobs, backlog.vision_oldest_seconds),
            (self._policy.feedback_model, backlog.feedback_jobs, backlog.feedback_oldest_seconds),
        )
        backlogs = tuple(
            Backlog(
                model,
                sum(jobs for name, jobs, _ in steps if name == model),
                max(0.0, *(oldest for name, _, oldest in steps if name == model)),
            )
            for model in self._policy.models
        )
        return BacklogSampled(backlogs, time.monotonic())

    def _model(self, activity: Activity | None) -> str | None:
        if activity is Activity.VISION:
            return self._policy.vision_model
        return self._policy.feedback_model if activity is Activity.FEEDBACK else None

    def _track_progress(self, model: str, callers: list[SlotStatus]) -> float:
        """Time of the last token of any call to the model. Before the first token: the start of the oldest running call.

        A call whose worker is stopped begins anew: its silence is not the model's.
        """
        calls = [(caller.ledger.pid, caller.claim) for caller in callers if caller.claim]
        oldest_start_seconds = min(call.call_started_seconds for _, call in calls)
        begun_seconds = min(self._suspensions.began_seconds(pid, call.call_started_seconds) for pid, call in calls)
        tokens = [call.alive_seconds for _, call in calls if call.alive_seconds > call.call_started_seconds]
        resumed = [begun_seconds] if begun_seconds > oldest_start_seconds else []
        return max([self._progress_at_seconds.get(model, oldest_start_seconds), *tokens, *resumed])
