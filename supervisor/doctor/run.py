"""Everything that doctor looks at, in order; each step goes on with what the ones before have found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from supervisor.admission.facts import HostMeasured
from supervisor.doctor import environment, memory
from supervisor.doctor.memory import Budget, Plan, Use
from supervisor.doctor.model import InstalledModel, Role, model
from supervisor.doctor.probe import Probe, probes
from supervisor.doctor.server import Server, ServerRefused, ServerSilent, Tag
from supervisor.doctor.timeouts import TimeoutEstimate, pace
from supervisor.settings.model import Settings
from worker.ollama.loaded_models import ListedModel
from worker.ollama.models import is_called
from worker.settings import ADAPTERS, WorkerSettings


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One model and what it is for. `model` is None where the server has none of this name; `loaded` as ps showed it."""

    name: str
    roles: tuple[Role, ...]
    model: InstalledModel | None = None
    probes: tuple[tuple[Role, Probe], ...] = ()
    loaded: ListedModel | None = None
    paces: tuple[TimeoutEstimate, ...] = ()


class Place(Enum):
    """Whose memory the models are in."""

    HERE = "here"
    GPU = "gpu"
    ELSEWHERE = "elsewhere"


@dataclass(frozen=True, slots=True)
class Memory:
    """`budget` is that of this host's main memory, and None where the models are in another one; `gpu` that of its cards, where
    the models are on them and NVML tells.
    """

    place: Place
    host: HostMeasured
    cores: int
    budget: Budget | None
    uses: tuple[Use, ...]
    plan: Plan
    lines: tuple[environment.EnvironmentLine, ...]
    gpu: Budget | None = None


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """`version` is None where nobody answers, and then nothing else is known; `memory` where a model is not there."""

    settings: Settings
    base_url: str
    version: str | None
    silence: str = ""
    patients: tuple[ModelCheck, ...] = ()
    memory: Memory | None = None


Tell = Callable[[str], None]


def examine(settings: Settings, host: HostMeasured, cores: int, tell: Tell) -> DoctorReport:
    """`tell` hears what is being done: a model may take minutes to load and to answer."""
    worker = settings.worker
    server = Server(worker.ollama_base_url)
    try:
        version, tags, before = server.version(), server.tags(), server.running()
        patients = tuple(_patient(server, name, roles, tags) for name, roles in _wanted(worker).items())
    except (ServerSilent, ServerRefused) as failure:
        return DoctorReport(settings, worker.ollama_base_url, None, str(failure))
    patients = tuple(_probed(server, each, settings, tell) for each in patients)
    memory = _memory(settings, host, cores, patients, before)
    return DoctorReport(settings, worker.ollama_base_url, version, "", patients, memory)


def _wanted(worker: WorkerSettings) -> dict[str, tuple[Role, ...]]:
    """The models by name, for our own adapters and for the stub, which is to be replaced by them; not for foreign ones."""
    own = {*ADAPTERS["local"], *ADAPTERS["stub"]}
    named = {
        Role.VISION: (worker.vision_adapter, worker.ai_vision_model),
        Role.FEEDBACK: (worker.feedback_adapter, worker.ai_feedback_model),
    }
    models: dict[str, tuple[Role, ...]] = {}
    for role, (adapter, name) in named.items():
        if adapter in own:
            models[name] = (*models.get(name, ()), role)
    return models


def _patient(server: Server, name: str, roles: tuple[Role, ...], tags: Sequence[Tag]) -> ModelCheck:
    tag = next((each for each in tags if is_called(each.name, name)), None)
    return ModelCheck(name, roles, model(roles, tag, server.describe(name)) if tag else None)


def _probed(server: Server, patient: ModelCheck, settings: Settings, tell: Tell) -> ModelCheck:
    """ps is looked at while the model is loaded, which the next one may end."""
    if patient.model is None:
        return patient
    tried: list[tuple[Role, Probe]] = []
    for role in patient.roles:
        tell(f"{patient.name} ({role.value}): loading it and asking it, up to some minutes")
        tried += [(role, probe) for probe in probes(server, patient.name, role, settings)]
    measured = (pace(role, patient.name, [probe for of, probe in tried if of is role], settings.worker) for role in patient.roles)
    paces = tuple(each for each in measured if each)
    return ModelCheck(patient.name, patient.roles, patient.model, tuple(tried), _loaded(server, patient.name), paces)


def _loaded(server: Server, name: str) -> ListedModel | None:
    try:
        return next((each for each in server.running() if is_called(each.name, name)), None)
    except (ServerSilent, ServerRefused):
        return None


def _memory(
    settings: Settings, host: HostMeasured, cores: int, patients: Sequence[ModelCheck], before: Sequence[ListedModel]
) -> Memory | None:
    """`host` was measured before the probes, and so was what Ollama held then: what they have loaded is in neither."""
    uses = tuple(_use(patient.model, patient, settings.worker) for patient in patients if patient.model)
    if not uses or len(uses) < len(patients):
        return None
    place = _place(settings.worker, patients)
    budget = _main_memory(host, before) if place is Place.HERE else None
    gpu = _cards(host, before) if place is Place.GPU else None
    concurrency, num_parallel = settings.supervisor.worker_concurrency, settings.worker.ollama_num_parallel
    plan = memory.plan(uses, num_parallel, concurrency, budget.bytes if budget else None)
    return Memory(place, host, cores, budget, uses, plan, tuple(environment.lines(plan, uses)), gpu)


def _main_memory(host: HostMeasured, before: Sequence[ListedModel]) -> Budget:
    listed_bytes = sum(each.size for each in before)
    held_bytes = listed_bytes if host.ollama_bytes is None else host.ollama_bytes
    return Budget(host.available_bytes, held_bytes, round(host.total_bytes * memory.SPARE_SHARE))


def _cards(host: HostMeasured, before: Sequence[ListedModel]) -> Budget | None:
    """Nothing to spare: who does not fit is computed by the CPU, and nobody is killed."""
    if host.gpu_free_bytes is None:
        return None
    listed_bytes = sum(each.size_vram for each in before)
    return Budget(host.gpu_free_bytes, listed_bytes if host.gpu_bytes is None else host.gpu_bytes, 0)


def _place(worker: WorkerSettings, patients: Sequence[ModelCheck]) -> Place:
    if not worker.is_ollama_here:
        return Place.ELSEWHERE
    return Place.GPU if any(patient.loaded and patient.loaded.size_vram for patient in patients) else Place.HERE


def _use(found: InstalledModel, patient: ModelCheck, worker: WorkerSettings) -> Use:
    """The window that was loaded is the one that counts: Ollama clamps, raises and invents it (ollama.md 4.8, 5)."""
    if patient.loaded and patient.loaded.context_length:
        return Use(found, patient.loaded.context_length, patient.loaded.size)
    chosen = worker.model_options(patient.roles[0].value).get("num_ctx", environment.DEFAULT_CONTEXT_TOKENS)
    return Use(found, min(chosen, found.context_tokens or chosen))
