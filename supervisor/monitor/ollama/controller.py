"""The watch of Ollama: looks at it and at this host, has the rules decide, tells the workers, acts on the server."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, assert_never

from supervisor.admission.apply import apply
from supervisor.admission.decision import AcquireModelLock, Act, Decision, Preload, Unload
from supervisor.admission.facts import (
    CallEnded,
    DecisionPublished,
    Fact,
    LoadBegun,
    LoadEnded,
    ModelLockChanged,
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
from supervisor.monitor.ollama.view import PASSING, AdmissionView
from supervisor.monitor.ollama.workload import Workload
from supervisor.monitor.queue.model_lock import ModelLockClient
from supervisor.monitor.queue.waker import Waker
from supervisor.monitor.state import MonitorState
from worker.ipc.contract import ModelCall, Step
from worker.ipc.scoreboard import AdmissionRecord, Scoreboard
from worker.ollama.models import listed_name
from worker.settings import WorkerSettings

LEAST_PAUSE_SECONDS = 0.02  # between two decisions, however much happens
FIRST_LOOK_SECONDS = 3.0  # a database that we do not reach may be one that workers do


@dataclass(frozen=True, slots=True)
class AdmissionDependencies:
    """What the watch looks at and acts by."""

    policy: AdmissionPolicy
    settings: WorkerSettings
    server: OllamaServer
    host: Host
    keeper: ModelLockClient


class AdmissionController:
    """One task that decides; looks and acts that take time are tasks of their own, and nobody waits for them."""

    def __init__(
        self, dependencies: AdmissionDependencies, scoreboard: Scoreboard, sight: MonitorState, waker: Waker, journal: EventLog
    ) -> None:
        self._dependencies, self._policy = dependencies, dependencies.policy
        self._scoreboard, self._sight, self._waker, self._journal = scoreboard, sight, waker, journal
        self._counters = OllamaCounters(scoreboard)
        self._workload = Workload(scoreboard, dependencies.policy)
        self._tasks: set[asyncio.Task[None]] = set()
        self._look: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._told: Decision | None = None
        self._notes: frozenset[object] = frozenset()
        now_seconds = self._began_at_seconds = time.monotonic()
        before = DecisionPublished(scoreboard.admission().slots, (), None, now_seconds)  # a predecessor's hold goes on
        sight.admission.policy, sight.admission.is_remote = dependencies.policy, dependencies.host.is_remote
        sight.admission.state = apply(AdmissionState.of(dependencies.policy, now_seconds), before)

    async def run(self) -> None:
        """Until it is cancelled. Where no model is asked there is nothing to look after."""
        try:
            while self._policy.models:
                due_at_seconds = time.monotonic() + self._policy.sample_seconds
                self._know(self._dependencies.host.measured())
                if self._look is None or self._look.done():
                    self._look = self._begin(self._list())
                await self._decide_until(due_at_seconds)
                self._sweep()
        finally:
            for task in self._tasks:
                task.cancel()

    def call_ended(self, step: Step, call: ModelCall) -> None:
        """What a worker tells of a call to a model."""
        self._counters.count((step, call.outcome))
        model = self._policy.vision_model if step is Step.VISION else self._policy.feedback_model
        if model is not None:
            self._workload.answered(model)
            self._know(CallEnded(model, call, time.monotonic()))
            self._decide()  # before the next one is heard, which may have been begun under the decision before

    def stir(self) -> None:
        """The queue has changed."""
        self._changed.set()

    def model_lock_changed(self, model: str | None) -> None:
        self._know(ModelLockChanged(model, time.monotonic()))

    def _know(self, *facts: Fact) -> None:
        for fact in facts:
            self._sight.admission.state = apply(self._sight.admission.state, fact)
        self._changed.set()

    async def _decide_until(self, end_seconds: float) -> None:
        """At once, with every change, and with every sample."""
        while (left_seconds := end_seconds - time.monotonic()) > 0:
            self._changed.clear()
            self._decide()
            try:
                async with asyncio.timeout(left_seconds):
                    await self._changed.wait()
                await asyncio.sleep(LEAST_PAUSE_SECONDS)
            except TimeoutError:
                return

    def _decide(self) -> None:
        """Not before Ollama and the queue were looked at for the first time."""
        sight, patience_seconds = self._sight.admission, self._began_at_seconds + FIRST_LOOK_SECONDS
        is_queue_seen = self._sight.looked_at_seconds > 0 or time.monotonic() > patience_seconds
        if not is_queue_seen or (sight.state.listed_at_seconds is None and sight.state.list_failure is None):
            return
        for fact in (self._workload.working(), self._workload.waiting(self._sight.backlog)):
            sight.state = apply(sight.state, fact)
        now_seconds = time.monotonic()
        sight.decision = decide(sight.state, self._policy, now_seconds)
        self._tell(sight)
        sight.state = apply(sight.state, sight.decision.published(now_seconds))
        for act in sight.decision.acts:
            self._perform(act)

    def _tell(self, sight: AdmissionView) -> None:
        """The workers, and the log if it is not what was told before."""
        decision, before = sight.decision, self._told
        self._told = decision
        self._scoreboard.write_admission(_recorded(decision, self._policy))
        if before is None or _shown(before, self._policy) != _shown(decision, self._policy):
            self._tell_journal(sight)
        if before is not None and _is_wider(decision, before, self._policy):
            self._waker.wake_one()  # who leases a job has the next one woken
        for note in (found := frozenset(sight.notes())) - self._notes:
            self._journal.monitor("WARNING", "ollama_note", meaning=note.kind.value, model=note.model)
        self._notes = found

    def _tell_journal(self, sight: AdmissionView) -> None:
        told, limits = sight.decision, _recorded(sight.decision, self._policy)
        self._journal.monitor(
            "INFO" if sight.reason in PASSING else "WARNING",
            "admission",
            slots=limits.slots,
            vision_calls=limits.vision_calls,
            feedback_calls=limits.feedback_calls,
            reasons=",".join(reason.name.lower() for reason in told.reasons),
            why=sight.worded(),
        )

    def _perform(self, act: Act) -> None:
        """Each is begun once: the state knows what is under way."""
        match act:
            case Preload(model):
                self._know(LoadBegun(model, time.monotonic()))
                self._begin(self._load(model))
            case Unload(models):
                self._know(UnloadBegun(models, time.monotonic()))
                self._begin(self._unload(models))
            case AcquireModelLock(model):
                self._dependencies.keeper.want(model)
            case _:
                assert_never(act)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        return task

    def _sweep(self) -> None:
        """A bug in a task ends the monitor, and another one begins: unheard it would leave a load under way for ever."""
        ended = {task for task in self._tasks if task.done()}
        self._tasks -= ended
        for task in ended:
            task.result()

    async def _list(self) -> None:
        self._know(await self._dependencies.server.listed())

    async def _load(self, model: str) -> None:
        """With the options of every request to it, or the first job would load it anew. Loaded is what is listed."""
        settings = self._dependencies.settings
        step = Step.VISION if model == self._policy.vision_model else Step.FEEDBACK
        began_at_seconds = time.monotonic()
        is_ok = await self._dependencies.server.load(model, settings.model_options(step.value))
        seen = await self._dependencies.server.listed()
        now_seconds = time.monotonic()
        self._counters.count(ModelOperation.LOADED if is_ok else ModelOperation.FAILED)
        level, seconds = "INFO" if is_ok else "WARNING", f"{now_seconds - began_at_seconds:.3f}"
        self._journal.monitor(level, "model_loaded", model=model, is_ok=is_ok, seconds=seconds)
        self._know(seen, LoadEnded(model, is_ok, now_seconds))

    async def _unload(self, models: tuple[str, ...]) -> None:
        """Asked to leave if no worker of any instance is in a call to it; gone is who is listed no more."""
        is_free = not any([await self._dependencies.keeper.is_asked(self._written(model)) for model in models])
        is_ok = is_free and all([await self._dependencies.server.unload(model) for model in models])
        if is_ok:
            self._counters.count(ModelOperation.UNLOADED)
        self._journal.monitor("INFO", "model_unloaded", models=",".join(models), is_ok=is_ok)
        if not is_ok:
            await asyncio.sleep(self._policy.sample_seconds)  # before it is tried again
        seen = await self._dependencies.server.listed()
        self._know(seen, UnloadEnded(models, is_ok, time.monotonic()))

    def _written(self, model: str) -> str:
        """As the settings call it, and the workers for their permits."""
        names = (self._dependencies.settings.ai_vision_model, self._dependencies.settings.ai_feedback_model)
        return next(name for name in names if listed_name(name) == model)


def _recorded(decision: Decision, policy: AdmissionPolicy) -> AdmissionRecord:
    return AdmissionRecord(
        slots=decision.slots,
        vision_calls=decision.calls_of(policy.vision_model),
        feedback_calls=decision.calls_of(policy.feedback_model),
        reason=decision.reason,
        until_seconds=decision.until_seconds,
    )


def _shown(decision: Decision, policy: AdmissionPolicy) -> tuple[object, ...]:
    """What of it is news."""
    return decision.slots, *(decision.calls_of(model) for model in policy.models), decision.reasons


def _is_wider(decision: Decision, before: Decision, policy: AdmissionPolicy) -> bool:
    is_opened = any(decision.calls_of(model) > before.calls_of(model) for model in policy.models)
    return is_opened or decision.slots > before.slots
