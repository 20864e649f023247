"""Runs all checks of `doctor` in order. Each check uses the results of those before."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from supervisor.admission.facts import HostMeasured
from supervisor.doctor import environment, memory_estimate
from supervisor.doctor.memory_estimate import Budget, Plan, Use
from supervisor.doctor.model import InstalledModel, installed_model
from supervisor.doctor.probe import Probe, probes
from supervisor.doctor.timeouts import TimeoutEstimate, estimate
from supervisor.settings.model import Settings
from worker.ipc.contract import Step
from worker.ollama.api import PS, SHOW, TAGS, VERSION
from worker.ollama.client import Ollama
from worker.ollama.errors import REQUEST_FAILURES
from worker.ollama.models import ListedModel, ListedModels
from worker.ollama.window import within
from worker.settings import ADAPTERS, WorkerSettings

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One model of the settings and the steps that use it.

    `model` is None if it is not installed. `loaded` is its entry in /api/ps after the probes.
    """

    name: str
    steps: tuple[Step, ...]
    model: InstalledModel | None = None
    probes: tuple[tuple[Step, Probe], ...] = ()
    loaded: ListedModel | None = None
    timeouts: tuple[TimeoutEstimate, ...] = ()

    @property
    def largest_window(self) -> float:
        """The largest context window of the model in tokens, infinite if its file does not give one."""
        return (self.model.context_tokens if self.model else 0) or math.inf


class MemoryLocation(Enum):
    """The memory that holds the models: this host's, its GPUs', or another host's."""

    HERE = "here"
    GPU = "gpu"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """The memory estimate. `budget` is this host's main memory, `gpu` the memory of its cards if NVML reports it.

    Only the budget of `location` is given.
    """

    location: MemoryLocation
    host: HostMeasured
    cores: int
    budget: Budget | None
    uses: tuple[Use, ...]
    plan: Plan
    lines: tuple[environment.EnvironmentLine, ...]
    gpu: Budget | None = None


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """Without an answer of the server, `version` is None and `error` gives the reason.

    `memory` is None if a model is not installed.
    """

    settings: Settings
    base_url: str
    version: str | None
    error: str = ""
    models: tuple[ModelCheck, ...] = ()
    memory: MemoryReport | None = None


def run(settings: Settings, host: HostMeasured, cores: int, on_progress: Progress) -> DoctorReport:
    """`on_progress` is called before each model, which may take minutes to load and to answer."""
    worker = settings.worker
    server = Ollama(worker.ollama_base_url)
    try:
        version, installed, loaded_before = server.look_up(VERSION).version, server.look_up(TAGS), server.look_up(PS)
        checks = tuple(_described(server, name, steps, installed) for name, steps in _steps_by_model(worker).items())
    except REQUEST_FAILURES as error:
        return DoctorReport(settings, worker.ollama_base_url, None, str(error))
    checks = tuple(_probed(server, check, settings, on_progress) for check in checks)
    memory = _memory(settings, host, cores, checks, loaded_before.models)
    return DoctorReport(settings, worker.ollama_base_url, version, "", checks, memory)


def _steps_by_model(worker: WorkerSettings) -> dict[str, tuple[Step, ...]]:
    """The models of the product's own adapters. The stub counts as one of them, because they will replace it."""
    own = {*ADAPTERS["local"], *ADAPTERS["stub"]}
    configured = {
        Step.VISION: (worker.vision_adapter, worker.ai_vision_model),
        Step.FEEDBACK: (worker.feedback_adapter, worker.ai_feedback_model),
    }
    models: dict[str, tuple[Step, ...]] = {}
    for step, (adapter, name) in configured.items():
        if adapter in own:
            models[name] = (*models.get(name, ()), step)
    return models


def _described(server: Ollama, name: str, steps: tuple[Step, ...], installed: ListedModels) -> ModelCheck:
    listed = installed.find(name)
    if listed is None:
        return ModelCheck(name, steps)
    return ModelCheck(name, steps, installed_model(steps, listed, server.look_up(SHOW, {"model": name})))


def _probed(server: Ollama, check: ModelCheck, settings: Settings, on_progress: Progress) -> ModelCheck:
    """Probe the model for each step. /api/ps is read at once after that, because the next model may evict this one."""
    if check.model is None:
        return check
    by_step: dict[Step, list[Probe]] = {}
    for step in check.steps:
        on_progress(f"{check.name} ({step.value}): loading and testing it, which may take some minutes")
        options = within(settings.worker.model_options(step.value), check.model.context_tokens)
        by_step[step] = list(probes(server, check.name, step, settings, options))
    estimates = (estimate(step, check.name, tried, settings.worker) for step, tried in by_step.items())
    return replace(
        check,
        probes=tuple((step, probe) for step, tried in by_step.items() for probe in tried),
        loaded=_loaded(server, check.name),
        timeouts=tuple(each for each in estimates if each),
    )


def _loaded(server: Ollama, name: str) -> ListedModel | None:
    try:
        return server.look_up(PS).find(name)
    except REQUEST_FAILURES:
        return None


def _memory(
    settings: Settings, host: HostMeasured, cores: int, checks: Sequence[ModelCheck], loaded_before: Sequence[ListedModel]
) -> MemoryReport | None:
    """`host` and `loaded_before` predate the probes, so that models loaded by the probes are not counted."""
    uses = tuple(_use(check.model, check, settings.worker) for check in checks if check.model)
    if not uses or len(uses) < len(checks):
        return None
    location = _location(settings.worker, checks)
    budget = _main_memory(host, loaded_before) if location is MemoryLocation.HERE else None
    gpu = _gpu_memory(host, loaded_before) if location is MemoryLocation.GPU else None
    concurrency, num_parallel = settings.supervisor.worker_concurrency, settings.worker.ollama_num_parallel
    plan = memory_estimate.plan(uses, num_parallel, concurrency, budget.bytes if budget else None)
    return MemoryReport(location, host, cores, budget, uses, plan, environment.lines(plan, uses), gpu)


def _main_memory(host: HostMeasured, loaded_before: Sequence[ListedModel]) -> Budget:
    listed_bytes = sum(each.size for each in loaded_before)
    used_bytes = listed_bytes if host.ollama_bytes is None else host.ollama_bytes
    return Budget(host.available_bytes, used_bytes, round(host.total_bytes * memory_estimate.SPARE_SHARE))


def _gpu_memory(host: HostMeasured, loaded_before: Sequence[ListedModel]) -> Budget | None:
    """Nothing is spared: the part of a model that does not fit is computed by the CPU, and no process is killed."""
    if host.gpu_free_bytes is None:
        return None
    listed_bytes = sum(each.size_vram for each in loaded_before)
    return Budget(host.gpu_free_bytes, listed_bytes if host.gpu_bytes is None else host.gpu_bytes, 0)


def _location(worker: WorkerSettings, checks: Sequence[ModelCheck]) -> MemoryLocation:
    if not worker.is_ollama_here:
        return MemoryLocation.ELSEWHERE
    is_on_gpu = any(check.loaded and check.loaded.size_vram for check in checks)
    return MemoryLocation.GPU if is_on_gpu else MemoryLocation.HERE


def _use(model: InstalledModel, check: ModelCheck, worker: WorkerSettings) -> Use:
    """The loaded window counts, because Ollama clamps, raises or chooses it (docs/ollama-api.md 4.8, 5)."""
    if check.loaded and check.loaded.context_length:
        return Use(model, check.loaded.context_length, check.loaded.size)
    return Use(model, within(worker.model_options(check.steps[0].value), model.context_tokens)["num_ctx"])
