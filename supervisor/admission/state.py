"""The state of admission: each model, Ollama, this host and our own work, as one frozen value."""

import math
from dataclasses import dataclass, field, replace

from supervisor.admission.breaker import Breaker
from supervisor.admission.decision import UNLIMITED
from supervisor.admission.facts import HostMeasured, ListFailed, LoadedModel
from supervisor.admission.interference import Interference
from supervisor.admission.model_state import LISTED_STATES, LOADING_STATES, UNLOADING_STATES, ModelState
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.replacements import Replacements
from supervisor.admission.store import Store


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One of our models. Its calls and its backlog are those of all steps that use it."""

    name: str
    num_parallel: int = 1
    state: ModelState = ModelState.ABSENT
    size_bytes: int = 0  # largest size that was ever listed (0: never listed)
    breaker: Breaker = field(default_factory=Breaker)
    in_flight: int = 0  # calls
    progress_at_seconds: float = 0.0  # see CallsInFlight
    jobs: int = 0  # waiting jobs whose next call goes to this model
    oldest_seconds: float = 0.0  # age of the oldest of them
    load_began_at_seconds: float = 0.0
    load_seconds: float = 0.0  # duration of the last successful load
    load_failures: int = 0  # in a row
    load_failed_at_seconds: float = 0.0
    unload_began_at_seconds: float = -math.inf  # time of the last unload request
    died_at_seconds: float = -math.inf  # first of the calls that failed within a moment
    died: int = 0  # their number
    alone: int = 0  # calls that are still to end one after another, because as many died together
    on_gpu_bytes: int = 0  # largest part on a GPU that was ever listed

    @property
    def has_work(self) -> bool:
        return self.jobs > 0 or self.in_flight > 0

    @property
    def is_listed(self) -> bool:
        return self.state in LISTED_STATES

    @property
    def is_loading(self) -> bool:
        return self.state in LOADING_STATES

    @property
    def is_unloading(self) -> bool:
        return self.state in UNLOADING_STATES


@dataclass(frozen=True, slots=True)
class Stall:
    """Jobs wait and no worker holds one. `has_evicted`: idle models have been unloaded since."""

    since_seconds: float
    has_evicted: bool = False


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """The sum of all facts since `began_at_seconds`, the start of this monitor."""

    models: tuple[ModelStatus, ...]
    began_at_seconds: float
    interference: Interference
    listed: tuple[LoadedModel, ...] = ()  # last answer of /api/ps, with models that are not ours
    listed_at_seconds: float | None = None  # time of that answer
    list_failure: ListFailed | None = None  # since that answer: the first failed request, with the reason of the last one
    answers_since_seconds: float = -math.inf  # first answer after a failed request
    store: Store = field(default_factory=Store)
    host: HostMeasured | None = None
    leases: int = 0  # jobs in hand
    workers: int = UNLIMITED
    slots: int = UNLIMITED  # as last published to the workers
    slots_changed_at_seconds: float = 0.0
    stall: Stall | None = None  # None while a worker holds a job, or no job waits
    active: str | None = None  # the active model, as last published (None: all models are)
    turn_since_seconds: float = 0.0
    locked_model: str | None = None  # the model whose lock this instance holds
    replacements: Replacements = field(default_factory=Replacements)
    gone_at_seconds: float = -math.inf  # time at which an unloaded model was first missing from the list

    @classmethod
    def of(cls, policy: AdmissionPolicy, at_seconds: float, slots: int = UNLIMITED) -> "AdmissionState":
        """State before the first fact. `slots`: as published by the monitor before this one."""
        models = tuple(ModelStatus(name, policy.num_parallel) for name in policy.models)
        return cls(models, at_seconds, Interference.of(policy.models), slots=slots, slots_changed_at_seconds=at_seconds)

    def model(self, name: str | None) -> ModelStatus | None:
        """Return None for a model that is not ours."""
        return next((model for model in self.models if model.name == name), None)

    def with_model(self, changed: ModelStatus) -> "AdmissionState":
        return replace(self, models=tuple(changed if model.name == changed.name else model for model in self.models))

    @property
    def is_server_away(self) -> bool:
        return self.list_failure is not None and self.list_failure.why.is_away

    @property
    def reported_bytes(self) -> int:
        return sum(loaded_model.size_bytes for loaded_model in self.listed)

    @property
    def observed_bytes(self) -> int:
        """Memory of Ollama's processes on this host and its cards; 0 where they are not visible."""
        return (self.host.ollama_bytes or 0) + (self.host.gpu_bytes or 0) if self.host else 0

    @property
    def used_bytes(self) -> int:
        """The larger value, as both may be too low: /api/ps omits prompt cache and projector, and processes may be hidden."""
        return max(self.reported_bytes, self.observed_bytes)

    @property
    def in_flight(self) -> int:
        return sum(model.in_flight for model in self.models)

    @property
    def waiting(self) -> int:
        return sum(model.jobs for model in self.models)
