"""Workers, a queue and a monitor around the simulated Ollama. One step: sample, decide, act, and move each worker once."""

from dataclasses import dataclass
from random import Random
from uuid import UUID

from supervisor.admission import rules as rulebook
from supervisor.admission.apply import apply
from supervisor.admission.decision import AcquireModelLock, Decision, Preload, Probe, ProbeStore, Unload
from supervisor.admission.facts import (
    Backlog,
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    Fact,
    FileFailed,
    FileRead,
    HostMeasured,
    ListError,
    ListFailed,
    LoadBegun,
    LoadEnded,
    ModelLockChanged,
    ModelsListed,
    ProbeBegun,
    ProbeEnded,
    StoreProbeBegun,
    StoreProbeEnded,
    UnloadBegun,
    UnloadEnded,
    WorkersSampled,
)
from supervisor.admission.state import AdmissionState
from testkit.simulation.admission.inspector import Inspector
from testkit.simulation.admission.ollama import Call, Ollama
from testkit.simulation.admission.plan import FEEDBACK, LYING, VISION, Fault, Kind, Plan
from worker.ipc.contract import CallOutcome, ModelCall

MONITOR_STEPS = 3  # until the next one starts
RETRY_STEPS = 2
AGE_STEPS = 4  # interval at which the age of waiting jobs is sampled
TOKENS_PER_SECOND = 40.0


@dataclass(slots=True)
class Job:
    """A job whose next call goes to the model of `step`."""

    number: int
    step: str
    entered_at: int
    visible_at: int


@dataclass(slots=True)
class Worker:
    slot: int
    job: Job | None = None
    call: Call | None = None


class World:
    def __init__(self, plan: Plan) -> None:
        self.plan, self.policy, self.random, self.now = plan, plan.policy, Random(plan.seed), 0
        self.ollama = Ollama(plan)
        self.workers = [Worker(slot) for slot in range(plan.workers)]
        self.queue: list[Job] = []
        self.progress: dict[str, int] = {}  # by model, see CallsInFlight
        self.locked_model: str | None = None
        self.monitor_gone_until = 0
        self.state = AdmissionState.of(plan.policy, 0.0)
        self.decision = Decision()
        self.done = 0
        self.inspector = Inspector(self)
        self._jobs = list(enumerate(plan.jobs))
        self._faults = list(plan.faults)
        self._outcomes: list[CallEnded | FileFailed | FileRead] = []
        self._store_probed_at: int | None = None  # step of the probe that is under way
        self._last: dict[type[Fact], object] = {}

    @property
    def is_over(self) -> bool:
        return not self._jobs and not self.queue and not any(worker.job for worker in self.workers)

    def step(self) -> None:
        self.now += 1
        while self._faults and self._faults[0].at <= self.now:
            self._begin_fault(self._faults.pop(0))
        while self._jobs and self._jobs[0][1].at <= self.now:
            number, planned = self._jobs.pop(0)
            self.queue.append(Job(number, FEEDBACK if planned.is_text else VISION, self.now, self.now))
        self._end_calls()
        loads = self.ollama.step(self.now)
        if self.now >= self.monitor_gone_until:
            for load in loads:
                self._apply(LoadEnded(load.model, load.is_ok, self.now))
            self._end_probes()
            self._sample()
            self._decide()
        self.inspector.check()
        for worker in self.workers:
            self._move(worker)

    # Faults

    def _begin_fault(self, fault: Fault) -> None:
        self.inspector.fault_began(fault)
        self.ollama.active[fault.kind, fault.model] = self.now + fault.steps
        match fault.kind:
            case Kind.CRASH:
                self.ollama.crash(fault.model)
            case Kind.WEDGE:
                self.ollama.wedge(fault.model, self.now)
            case Kind.SERVER_AWAY:
                self.ollama.go_away(self.now)
            case Kind.EXPIRE:
                self.ollama.expire(fault.model, self.now)
            case Kind.MONITOR_DIES:
                self.monitor_gone_until, self.locked_model = self.now + MONITOR_STEPS, None
                self.ollama.probes, self._store_probed_at = [], None
                self.state, self._last = AdmissionState.of(self.policy, float(self.monitor_gone_until), self.decision.slots), {}
                self.inspector.monitor_died()
            case _:
                pass

    # The monitor

    def _apply(self, fact: Fact) -> None:
        self.state = apply(self.state, fact)

    def _apply_new(self, fact: Fact, *, key: object) -> None:
        """Skip a sample that equals the one before: it changes nothing, and samples take most of the time."""
        if self._last.get(type(fact)) != key:
            self._last[type(fact)] = key
            self._apply(fact)

    def _sample(self) -> None:
        now = float(self.now)
        if self.ollama.is_away(self.now):
            self._apply(ListFailed(ListError.UNREACHABLE, now))
        elif self.ollama.has_any(Kind.SILENT_PS, self.now):
            self._apply(ListFailed(ListError.LATE, now))
        else:
            self._apply(ModelsListed(self.ollama.listed(self.now), now))
        used = self.ollama.used(self.now) if self.plan.is_observed else None
        self._apply(HostMeasured(used, 0, 0, None, None, None, now))
        for ended in self._outcomes:
            if isinstance(ended, CallEnded):
                self.inspector.ended(ended)
            self._apply(ended)
        self._outcomes.clear()
        self._apply_new(workers := self._workers_sampled(), key=(workers.calls, workers.leases))
        waiting = self._backlog_sampled()
        self._apply_new(waiting, key=([(each.model, each.jobs) for each in waiting.backlogs], self.now // AGE_STEPS))

    def _end_probes(self) -> None:
        ended = [probe for probe in self.ollama.probes if probe.ends_at <= self.now]
        self.ollama.probes = [probe for probe in self.ollama.probes if probe.ends_at > self.now]
        for probe in ended:
            self.inspector.probed(probe.model, probe.error_class)
            self._apply(ProbeEnded(probe.model, probe.error_class, float(self.now)))
        if self._store_probed_at is not None and self._store_probed_at < self.now:
            self._store_probed_at = None
            error_class = "StoreUnreachable" if self.ollama.has_any(Kind.STORE_AWAY, self.now) else ""
            self._apply(StoreProbeEnded(error_class, float(self.now)))

    def _workers_sampled(self) -> WorkersSampled:
        calls = []
        for model in self.policy.models:
            in_flight = self.ollama.in_flight(model)
            runner = self.ollama.runners.get(model)
            is_silent = runner is not None and runner.is_wedged
            if not in_flight or not is_silent:
                self.progress[model] = self.now
            if in_flight:
                calls.append(CallsInFlight(model, in_flight, float(self.progress[model])))
        return WorkersSampled(
            tuple(calls), sum(worker.job is not None for worker in self.workers), len(self.workers), float(self.now)
        )

    def _backlog_sampled(self) -> BacklogSampled:
        backlogs = []
        for model in self.policy.models:
            jobs = [job for job in self.visible() if self.model_of(job) == model]
            if jobs:
                backlogs.append(Backlog(model, len(jobs), float(self.now - min(job.entered_at for job in jobs))))
        return BacklogSampled(tuple(backlogs), float(self.now))

    def _decide(self) -> None:
        before = self.decision
        self.decision = rulebook.decide(self.state, self.policy, float(self.now))
        self.inspector.decided(before, self.decision)
        self._apply(self.decision.published(float(self.now)))
        for act in self.decision.acts:
            match act:
                case Preload(model):
                    self.inspector.preloaded(model)
                    self.ollama.preload(model, self.now)
                    self._apply(LoadBegun(model, self.now))
                case Unload(models):
                    self.inspector.unloaded(models)
                    for model in models:
                        self.ollama.unload(model, self.now)
                    self._apply(UnloadBegun(models, self.now))
                    self._apply(UnloadEnded(models, True, self.now))
                case Probe(model, _, timeout_seconds):
                    self.inspector.trace_event(f"{model}: probe")
                    self.ollama.probe(model, self.now, int(timeout_seconds))
                    self._apply(ProbeBegun(model, self.now))
                case ProbeStore():
                    self.inspector.trace_event("probe of the store")
                    self._store_probed_at = self.now
                    self._apply(StoreProbeBegun(self.now))
                case AcquireModelLock(model):
                    self._acquire_lock(model)

    def _acquire_lock(self, model: str | None) -> None:
        self.locked_model = model if self.foreign_lock() in {None, model} else None
        self._apply(ModelLockChanged(self.locked_model, self.now))

    def foreign_lock(self) -> str | None:
        """Return the model whose lock another instance holds. It cannot acquire one while this instance holds the other's."""
        for model in (VISION, FEEDBACK):
            if self.ollama.has(Kind.FOREIGN_LOCK, model, self.now) and self.locked_model in {None, model}:
                return model
        return None

    # The workers

    def model_of(self, job: Job) -> str:
        model = self.policy.vision_model if job.step == VISION else self.policy.feedback_model
        assert model is not None
        return model

    def calls_of(self, job: Job) -> int:
        """Return the calls that are admitted to the job's step."""
        calls = self.decision.calls_of(self.model_of(job))
        return min(calls, self.decision.pictures) if job.step == VISION else calls

    def visible(self) -> list[Job]:
        return [job for job in self.queue if job.visible_at <= self.now]

    def _move(self, worker: Worker) -> None:
        if worker.job is None:
            self._lease(worker)
        if worker.job is not None and worker.call is None:
            self._call(worker, worker.job)

    def _lease(self, worker: Worker) -> None:
        is_free = worker.slot < self.decision.slots and self.now < self.decision.until_seconds
        if not is_free:
            return
        job = next((job for job in self.visible() if self.calls_of(job)), None)
        if job is not None:
            self.inspector.leased(job)
            self.queue.remove(job)
            worker.job = job

    def _call(self, worker: Worker, job: Job) -> None:
        """Release the job at a closed gate. Wait if all permits are taken."""
        model = self.model_of(job)
        calls = min(self.policy.num_parallel, self.calls_of(job))
        if not calls:
            self._release(worker, 0)
        elif job.step == VISION and (error_class := self._file_error(job)):
            self._fail_file(worker, job, error_class)
        elif self.ollama.in_flight(model) < calls:
            self.inspector.called(model)
            worker.call = self.ollama.call(model, self.now, self.random.choice((1, 1, 2, 3)))

    def _fail_file(self, worker: Worker, job: Job, error_class: str) -> None:
        """A job that closes the gate keeps its place. Any other one is put back for a moment."""
        failed = FileFailed(error_class, UUID(int=job.number), float(self.now))
        self._outcomes.append(failed)
        store = self.state.store.file_failed(error_class, failed.job_id, failed.at_seconds)
        self._release(worker, 0 if store.is_closed else RETRY_STEPS)

    def _file_error(self, job: Job) -> str:
        if self.ollama.has_any(Kind.STORE_AWAY, self.now):
            return "StoreUnreachable"
        if self.ollama.has_any(Kind.STORE_LIES, self.now) and job.number % LYING == 0:
            return "StoreFailed"
        return "StoreFileMissing" if self.ollama.has_any(Kind.FILES_GONE, self.now) else ""

    def _release(self, worker: Worker, steps: int) -> None:
        """Put the job back to its place, or behind the jobs that are visible before it."""
        assert worker.job is not None
        if steps:
            worker.job.visible_at = self.now + steps
        self.queue.append(worker.job)
        self.queue.sort(key=lambda job: (job.visible_at, job.number))
        worker.job = None

    def _end_calls(self) -> None:
        for worker in self.workers:
            if worker.call is not None and worker.call.ends_at <= self.now:
                self._end_call(worker, worker.call)

    def _end_call(self, worker: Worker, call: Call) -> None:
        self.ollama.calls.remove(call)
        worker.call = None
        assert worker.job is not None
        speed = TOKENS_PER_SECOND if call.outcome is CallOutcome.ANSWERED else None
        if worker.job.step == VISION:
            self._outcomes.append(FileRead(UUID(int=worker.job.number), float(self.now)))
        self._outcomes.append(CallEnded(call.model, ModelCall(call.outcome, tokens_per_second=speed), float(self.now)))
        if call.outcome is not CallOutcome.ANSWERED:
            self._release(worker, RETRY_STEPS)
        elif worker.job.step == VISION:
            worker.job.step = FEEDBACK
        else:
            worker.job, self.done = None, self.done + 1
