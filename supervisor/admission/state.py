"""What admission knows: of each model, of Ollama, of this host and of our own work, as one frozen value."""

import math
from dataclasses import dataclass, field, replace

from supervisor.admission.breaker import Breaker
from supervisor.admission.decision import FREE
from supervisor.admission.facts import HostMeasured, ListFailed, LoadedModel
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.throughput import Throughput


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One model of ours. Its calls and its backlog are those of all steps that use it."""

    name: str
    num_parallel: int = 1
    size_bytes: int = 0  # the largest that was ever listed; 0: never seen
    breaker: Breaker = field(default_factory=Breaker)
    speed: Throughput = field(default_factory=Throughput)
    together_at_seconds: float = 0.0  # when its speed beside the other one was last measured
    in_flight: int = 0
    busy_until_seconds: float = -math.inf  # when a call to it was last in flight
    progress_at_seconds: float = 0.0  # see CallsInFlight
    jobs: int = 0  # that wait for it
    oldest_seconds: float = 0.0  # the age of the oldest
    is_loading: bool = False
    load_began_at_seconds: float = 0.0
    load_seconds: float = 0.0  # the last one that came to an end
    is_load_unseen: bool = False  # it was loaded, and nobody has looked since
    is_unlistable: bool = False  # it was loaded, and the list did not have it: another name, or Ollama keeps nothing
    load_failures: int = 0  # in a row
    load_failed_at_seconds: float = 0.0
    unload_began_at_seconds: float = -math.inf  # when it was last asked to leave

    @property
    def has_work(self) -> bool:
        return self.jobs > 0 or self.in_flight > 0


@dataclass(frozen=True, slots=True)
class Hold:
    """Work waits, and nothing of ours is in hand. `has_evicted`: idle models have been asked to leave since."""

    since_seconds: float
    has_evicted: bool = False


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """`began_at_seconds`: when somebody began to look. `held` is None while work is done or there is none."""

    models: tuple[ModelStatus, ...]
    began_at_seconds: float
    listed: tuple[LoadedModel, ...] = ()
    listed_at_seconds: float | None = None  # the last answer of /api/ps
    unlisted: ListFailed | None = None  # the first of the silences since then
    host: HostMeasured | None = None
    leases: int = 0
    workers: int = FREE
    slots: int = FREE  # as told to the workers
    slots_changed_at_seconds: float = 0.0
    held: Hold | None = None
    turn: str | None = None  # the only model that may be asked
    turn_since_seconds: float = 0.0
    exclusive_model: str | None = None  # the one that is ours, by the lock of all instances
    unloading: tuple[str, ...] = ()  # asked to leave, and listed still
    alone: str | None = None  # the one of ours that was last listed, if without the other
    swaps: int = 0  # how many times in a row the other one stood in its place, which nobody here had asked to leave
    gone_at_seconds: float = -math.inf  # when one of them was listed no more

    @classmethod
    def of(cls, policy: AdmissionPolicy, at_seconds: float, slots: int = FREE) -> "AdmissionState":
        """`slots`: what the workers have been told so far, by whoever looked before."""
        models = tuple(ModelStatus(name, policy.num_parallel) for name in policy.models)
        return cls(models, at_seconds, slots=slots, slots_changed_at_seconds=at_seconds)

    def model(self, name: str) -> ModelStatus | None:
        """None for one that is not ours."""
        return next((model for model in self.models if model.name == name), None)

    def with_model(self, changed: ModelStatus) -> "AdmissionState":
        return replace(self, models=tuple(changed if model.name == changed.name else model for model in self.models))

    def is_listed(self, name: str) -> bool:
        return any(loaded_model.name == name for loaded_model in self.listed)

    @property
    def reported_bytes(self) -> int:
        return sum(loaded_model.size_bytes for loaded_model in self.listed)

    @property
    def observed_bytes(self) -> int:
        """What Ollama's processes hold on this host; 0 where that cannot be seen."""
        return (self.host.ollama_bytes or 0) + (self.host.gpu_bytes or 0) if self.host else 0

    @property
    def used_bytes(self) -> int:
        """The larger: /api/ps knows of no prompt cache and no projector, and what others may see of a process is not all."""
        return max(self.reported_bytes, self.observed_bytes)

    @property
    def in_flight(self) -> int:
        return sum(model.in_flight for model in self.models)

    @property
    def waiting(self) -> int:
        return sum(model.jobs for model in self.models)
