"""What our own workers do with the models, as they tell it on the scoreboard, and what waits for them in the queue."""

import time

from supervisor.admission.facts import Backlog, BacklogSampled, CallsInFlight, WorkersSampled
from supervisor.admission.policy import AdmissionPolicy
from supervisor.monitor.slot_status import slot_statuses
from worker.ipc.contract import Activity
from worker.ipc.scoreboard import Scoreboard, WorkerRecord
from worker.queue.backlog import StepBacklog

Call = tuple[int, int, float]  # incarnation, activity, deadline: each call is deadline_set anew


class Workload:
    """Remembers when each call began: progress that was made since is a token."""

    def __init__(self, scoreboard: Scoreboard, policy: AdmissionPolicy) -> None:
        self._scoreboard, self._policy = scoreboard, policy
        self._began_at_seconds: dict[Call, float] = {}
        self._progress_at_seconds: dict[str, float] = {}

    def working(self) -> WorkersSampled:
        now_seconds = time.monotonic()
        slots = [slot for slot in slot_statuses(self._scoreboard) if slot.is_busy and slot.claim]
        by_model: dict[str, list[WorkerRecord]] = {}
        for slot in slots:
            model = self._model(slot.activity)
            if model is not None and slot.claim is not None:
                by_model.setdefault(model, []).append(slot.claim)
        self._follow(by_model)
        calls = tuple(CallsInFlight(name, len(by_model[name]), self._progress_at_seconds[name]) for name in by_model)
        return WorkersSampled(calls, len(slots), self._scoreboard.control.read().leasing_slots, now_seconds)

    def answered(self, model: str) -> None:
        """A call to it has come to its end."""
        self._progress_at_seconds[model] = time.monotonic()

    def waiting(self, backlog: StepBacklog) -> BacklogSampled:
        """Of two steps with one model: all jobs that wait for it."""
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
        return {Activity.VISION: self._policy.vision_model, Activity.FEEDBACK: self._policy.feedback_model}.get(
            activity or Activity.IDLE
        )

    def _follow(self, by_model: dict[str, list[WorkerRecord]]) -> None:
        """The last token of any call to a model; where there was none, the first beginning of those that are under way."""
        records = [record for found in by_model.values() for record in found]
        began = {_call(each): self._began_at_seconds.get(_call(each), each.progress_seconds) for each in records}
        before, self._began_at_seconds = self._progress_at_seconds, began
        self._progress_at_seconds = {}
        for model, found in by_model.items():
            tokens = [each.progress_seconds for each in found if each.progress_seconds > began[_call(each)]]
            begun = min(began[_call(each)] for each in found)
            self._progress_at_seconds[model] = max([before.get(model, begun), *tokens])


def _call(record: WorkerRecord) -> Call:
    return record.incarnation, record.activity, record.deadline_seconds
