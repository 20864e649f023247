"""The admission controller: samples Ollama and this host, asks the rules, publishes the decision, loads and unloads."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, assert_never
from uuid import UUID

from supervisor.admission.anomalies import Anomaly
from supervisor.admission.apply import apply
from supervisor.admission.decision import AcquireModelLock, Act, Decision, Preload, Probe, ProbeStore, Unload
from supervisor.admission.facts import (
    CallEnded,
    Fact,
    FileFailed,
    FileRead,
    LoadBegun,
    LoadEnded,
    ModelLockChanged,
    ProbeBegun,
    ProbeEnded,
    StoreProbeBegun,
    StoreProbeEnded,
    UnloadBegun,
    UnloadEnded,
)
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import decide
from supervisor.admission.state import AdmissionState
from supervisor.event_log import EventLog
from supervisor.monitor.ollama.counters import ModelOperation, OllamaCounters
from supervisor.monitor.ollama.host import Host
from supervisor.monitor.ollama.server import OllamaServer
from supervisor.monitor.ollama.suspects import Suspects
from supervisor.monitor.ollama.view import AdmissionView
from supervisor.monitor.ollama.workload import Workload
from supervisor.monitor.queue.requests import DatabaseRequests
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from supervisor.monitor.store.probe import StoreProbe
from worker.ipc.contract import ModelCall, Step
from worker.ipc.scoreboard import AdmissionRecord, Scoreboard
from worker.ollama.models import listed_name
from worker.settings import WorkerSettings

MIN_PAUSE_SECONDS = 0.02  # between two decisions, however many facts arrive
GIVE_UP_SECONDS = 5.0  # without a connection to the server: then a load or a probe from before is never answered
FIRST_POLL_SECONDS = 3.0  # then decide without the queue, because workers may still reach the database


@dataclass(frozen=True, slots=True)
class AdmissionDependencies:
    """Everything that the controller measures, asks and acts on."""

    policy: AdmissionPolicy
    settings: WorkerSettings
    server: OllamaServer
    store: StoreProbe
    host: Host
    requests: DatabaseRequests


class AdmissionController:
    """One task decides. List requests, loads and unloads are tasks of their own, so that no decision waits for them."""

    def __init__(
        self, dependencies: AdmissionDependencies, scoreboard: Scoreboard, state: MonitorState, waker: Waker, event_log: EventLog
    ) -> None:
        self._dependencies, self._policy = dependencies, dependencies.policy
        self._scoreboard, self._monitor_state, self._waker, self._event_log = scoreboard, state, waker, event_log
        self._view = state.admission
        self._counters = OllamaCounters(scoreboard)
        self._workload = Workload(scoreboard, dependencies.policy, state.suspensions)
        self._tasks: set[asyncio.Task[None]] = set()
        self._list_task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._published: Decision | None = None
        self._lock_request: AcquireModelLock | None = None  # sent since the lock last changed
        self._anomalies: frozenset[Anomaly] = frozenset()
        now_seconds = self._started_at_seconds = time.monotonic()
        self._view.policy, self._view.is_remote = dependencies.policy, dependencies.host.is_remote
        before = scoreboard.admission.read()
        self._probes = {Step.VISION: before.vision_probes, Step.FEEDBACK: before.feedback_probes}  # that were answered
        policy, carried = self._policy, {Step.VISION: before.vision_suspects, Step.FEEDBACK: before.feedback_suspects}
        self._suspects = Suspects({model: count for step, count in carried.items() if (model := policy.model_of(step))})
        self._view.state = AdmissionState.of(dependencies.policy, now_seconds, before.slots)

    @property
    def models(self) -> tuple[str, ...]:
        """The models of Ollama that this instance asks, at most two."""
        return self._policy.models

    def timeout_seconds(self, model: str) -> float:
        """The longest timeout of a call to the model."""
        return self._policy.wedge_seconds(model)

    async def run(self) -> None:
        """Runs until it is cancelled. Returns at once if no model is asked."""
        try:
            while self.models:
                self._apply(self._dependencies.host.measured())
                due_at_seconds = time.monotonic() + self._policy.sample_seconds  # from its end: a slow one leaves time for others
                self.list_now()
                await self._decide_until(due_at_seconds)
                self._check_tasks()
        finally:
            for task in self._tasks:
                task.cancel()

    def call_ended(self, step: Step, call: ModelCall) -> None:
        """Handles the event of a worker about a finished call."""
        self._counters.count((step, call.outcome))
        model = self._policy.model_of(step)
        if model is not None:
            if call.outcome.is_answer:
                self._suspects.answered(model)
            self._workload.call_ended(model)
            self._apply(CallEnded(model, call, time.monotonic()))
            self._decide()  # at once, because the next event may be of a call that started under the old decision

    def call_suspect(self, step: Step, job_id: UUID) -> None:
        """Handles the event of a worker about a failed call that may be its job's own fault."""
        model = self._policy.model_of(step)
        if model is not None:
            self._suspects.add(model, job_id)
            self._decide()

    def job_ended(self, job_id: UUID) -> None:
        """Handles the event of a worker about a job that has its result, or has failed."""
        self._suspects.forget(job_id)

    def file_failed(self, error_class: str, job_id: UUID) -> None:
        """Handles the event of a worker that could not read a file."""
        self._apply(FileFailed(error_class, job_id, time.monotonic()))
        self._decide()

    def file_read(self, job_id: UUID) -> None:
        self._apply(FileRead(job_id, time.monotonic()))

    def list_now(self) -> None:
        """Asks for the list before its time, because a worker could not connect: the gates close with its failure."""
        if self._list_task is None or self._list_task.done():
            self._list_task = self._start(self._list())

    def wake(self) -> None:
        """Decides again soon, because the queue may have changed."""
        self._changed.set()

    def model_lock_changed(self, model: str | None) -> None:
        self._lock_request = None
        self._apply(ModelLockChanged(model, time.monotonic()))

    def _apply(self, *facts: Fact) -> None:
        for fact in facts:
            self._view.state = apply(self._view.state, fact)
        self._changed.set()

    async def _decide_until(self, end_seconds: float) -> None:
        """Decides at once and after each change, until the next sample is due."""
        while (left_seconds := end_seconds - time.monotonic()) > 0:
            self._changed.clear()
            self._decide()
            try:
                async with asyncio.timeout(left_seconds):
                    await self._changed.wait()
                await asyncio.sleep(MIN_PAUSE_SECONDS)
            except TimeoutError:
                return

    def _decide(self) -> None:
        """Applies the current samples, decides, publishes the decision and starts its acts. Waits for the first samples."""
        if not self._has_sampled():
            return
        view = self._view
        for fact in (self._workload.sample_workers(), self._workload.sample_backlog(self._monitor_state.backlog)):
            view.state = apply(view.state, fact)
        now_seconds = time.monotonic()
        view.decision = decide(view.state, self._policy, now_seconds)
        self._publish(view)
        view.state = apply(view.state, view.decision.published(now_seconds))
        for act in view.decision.acts:
            self._perform(act)

    def _has_sampled(self) -> bool:
        """True after the first poll of the queue and the first answer or failure of Ollama."""
        has_polled = self._monitor_state.polled_at_seconds > 0 or time.monotonic() > self._started_at_seconds + FIRST_POLL_SECONDS
        return has_polled and (self._view.state.listed_at_seconds is not None or self._view.state.list_failure is not None)

    def _publish(self, view: AdmissionView) -> None:
        """Writes the decision to the scoreboard, and to the log if it differs from the one before."""
        decision, before = view.decision, self._published
        self._published = decision
        self._scoreboard.admission.write(self._record(decision))
        if before is None or _log_values(before, self._policy) != _log_values(decision, self._policy):
            self._log(view)
        if before is not None and _admits_more(decision, before, self._policy):
            self._waker.wake_one()  # one is enough, because each lease wakes one more worker
        self._log_new_anomalies(frozenset(view.anomalies()))

    def _log_new_anomalies(self, found: frozenset[Anomaly]) -> None:
        """Logs each anomaly once, until it has gone."""
        for anomaly in found - self._anomalies:
            self._event_log.ollama_anomaly(meaning=anomaly.kind.value, model=anomaly.model)
        self._anomalies = found

    def _log(self, view: AdmissionView) -> None:
        decision, limits = view.decision, self._record(view.decision)
        self._event_log.admission(
            needs_attention=view.needs_attention,
            slots=limits.slots,
            vision_calls=limits.vision_calls,
            feedback_calls=limits.feedback_calls,
            reasons=",".join(reason.name.lower() for reason in decision.reasons),
            why=view.explanation(),
        )

    def _perform(self, act: Act) -> None:
        """Starts each act once, because the state then knows that it is under way."""
        match act:
            case Preload(model):
                self._apply(LoadBegun(model, time.monotonic()))
                self._start(self._load(model))
            case Unload(models):
                self._apply(UnloadBegun(models, time.monotonic()))
                self._start(self._unload(models))
            case Probe():
                self._apply(ProbeBegun(act.model, time.monotonic()))
                self._start(self._probe(act))
            case ProbeStore():
                self._apply(StoreProbeBegun(time.monotonic()))
                self._start(self._probe_store())
            case AcquireModelLock():
                self._request_lock(act)
            case _:
                assert_never(act)

    def _request_lock(self, request: AcquireModelLock) -> None:
        """Sends a request once, because each one wakes the listener, and the lock's client retries by itself."""
        if request != self._lock_request:
            self._lock_request = request
            self._dependencies.requests.send(request)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task

    def _check_tasks(self) -> None:
        """Raises the exception of a failed task, which ends this monitor. Else its load would count as under way for ever."""
        ended = {task for task in self._tasks if task.done()}
        self._tasks -= ended
        for task in ended:
            task.result()

    async def _list(self) -> None:
        listed = await self._dependencies.server.listed()
        self._apply(listed)
        failure = self._view.state.list_failure
        if self._view.state.is_server_away and failure and listed.at_seconds > failure.at_seconds + GIVE_UP_SECONDS:
            self._dependencies.server.give_up()

    async def _load(self, model: str) -> None:
        """Loads with the options of all later requests, because other options would load the model again."""
        started_at_seconds = time.monotonic()
        is_ok = await self._dependencies.server.load(model, self._options(model))
        listed = await self._dependencies.server.listed()
        now_seconds = time.monotonic()
        self._counters.count(ModelOperation.LOADED if is_ok else ModelOperation.FAILED)
        if is_ok or self._is_first_failure(model):  # a model that is not installed is tried every few seconds
            self._event_log.model_loaded(model, is_ok=is_ok, seconds=now_seconds - started_at_seconds)
        # The list first, as one from before the answer: Ollama may list a model once more that it does not keep. So it opens the
        # gate, and only the next list confirms the load.
        self._apply(listed, LoadEnded(model, is_ok, now_seconds))

    async def _unload(self, models: tuple[str, ...]) -> None:
        """Asks Ollama to unload the models, if no worker of any instance is in a call to one of them."""
        in_use = [await self._dependencies.requests.is_model_in_use(self._settings_name(model)) for model in models]
        is_ok = not any(in_use) and all([await self._dependencies.server.unload(model) for model in models])
        if is_ok:
            self._counters.count(ModelOperation.UNLOADED)
        self._event_log.model_unloaded(models, is_ok=is_ok)
        if not is_ok:
            await asyncio.sleep(self._policy.sample_seconds)  # before it is tried again
        listed = await self._dependencies.server.listed()
        self._apply(listed, UnloadEnded(models, is_ok, time.monotonic()))

    async def _probe(self, act: Probe) -> None:
        """Asks the model for a token, with the options of all requests. An answer is evidence for the jobs of its steps."""
        probed = await self._dependencies.server.probe(
            act.model,
            self._options(act.model),
            has_picture=act.model == self._policy.vision_model,
            try_seconds=act.try_seconds,
            timeout_seconds=act.timeout_seconds,
        )
        if probed.is_ok:
            for step in Step:
                self._probes[step] += self._policy.model_of(step) == act.model
        self._apply(ProbeEnded(act.model, probed.error_class, time.monotonic(), probed.retry_after_seconds))

    async def _probe_store(self) -> None:
        probed = await self._dependencies.store.run()
        self._apply(StoreProbeEnded(probed.error_class, time.monotonic(), probed.retry_after_seconds))

    def _record(self, decision: Decision) -> AdmissionRecord:
        vision_model, feedback_model = self._policy.vision_model, self._policy.feedback_model
        return AdmissionRecord(
            slots=decision.slots,
            vision_calls=decision.vision_calls(vision_model),
            feedback_calls=decision.calls_of(feedback_model),
            until_seconds=decision.until_seconds,
            vision_probes=self._probes[Step.VISION],
            feedback_probes=self._probes[Step.FEEDBACK],
            vision_suspects=self._suspects.count(vision_model),
            feedback_suspects=self._suspects.count(feedback_model),
        )

    def _options(self, model: str) -> dict[str, int]:
        return self._dependencies.settings.model_options("vision" if model == self._policy.vision_model else "feedback")

    def _is_first_failure(self, model: str) -> bool:
        status = self._view.state.model(model)
        return status is None or not status.load_failures

    def _settings_name(self, model: str) -> str:
        """Name of the model in the settings. Workers use that name for their permits."""
        names = (self._dependencies.settings.ai_vision_model, self._dependencies.settings.ai_feedback_model)
        return next(name for name in names if listed_name(name) == model)


def _log_values(decision: Decision, policy: AdmissionPolicy) -> tuple[object, ...]:
    """The values whose change is logged."""
    return decision.slots, decision.pictures, *(decision.calls_of(model) for model in policy.models), decision.reasons


def _admits_more(decision: Decision, before: Decision, policy: AdmissionPolicy) -> bool:
    is_opened = any(decision.calls_of(model) > before.calls_of(model) for model in policy.models)
    return is_opened or decision.slots > before.slots or decision.pictures > before.pictures
