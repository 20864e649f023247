"""The result of the rules: what workers may do, why not more, and requests to Ollama and the database."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from supervisor.admission.facts import DecisionPublished
from worker.ipc.scoreboard import MAX_SLOTS

UNLIMITED = MAX_SLOTS  # no limit, for slots and for calls to one model


class HoldReason(Enum):
    """Reasons to admit fewer jobs or calls. The sentences for the administrator are in supervisor.monitor.ollama.view."""

    NONE = "nothing is held back"
    MEMORY = "Ollama uses more than OLLAMA_MEMORY_LIMIT, or is not yet below the low water"
    REOPENING = "below the low water: slots are opened one after another"
    EVICTION = "held back for the longest time allowed: idle models are unloaded"
    CANARY = "held back for the longest time allowed: one job shows whether more may run"
    UNKNOWN = "a limit is set, and the memory that Ollama uses is unknown"
    BREAKER = "a model failed several times in a row"
    RAMPING = "the model or the server answers again: 1, 2, 4 … calls at once"
    ALONE = "calls to the model died together: each is asked again alone"
    SERVER = "no connection to Ollama can be made"
    STORE = "the files of pictures cannot be read"
    RETURNING = "the store answers again: one picture at a time until a file is read"
    WEDGED = "the server lists the model, but no call to it makes progress"
    LOADING = "the model is not loaded yet"
    EXCLUSIVE = "two models do not fit into memory together, and the other one is loaded now"
    TURNS = "two models share the cores, and the other one has the turn"
    UNLOADABLE = "the model could not be loaded, and jobs wait for it"


@dataclass(frozen=True, slots=True)
class Preload:
    """Load the model by a request without a prompt, so that no job waits for the load."""

    model: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Request Ollama to unload the models. Only for models without a call in flight, of any instance."""

    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Probe:
    """Send a tiny request to the model, to learn whether it answers again. A try without an answer ends after `try_seconds`.

    Further tries are then sent beside the first one, which may wait behind other clients' calls until `timeout_seconds`.
    """

    model: str
    try_seconds: float
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class ProbeStore:
    """Read the bucket or the root, to learn whether files can be read again."""


@dataclass(frozen=True, slots=True)
class AcquireModelLock:
    """Acquire the lock of this model, unless another instance holds the other model's. Repeated until it succeeds.

    None: release the lock.
    """

    model: str | None


Act = Preload | Unload | Probe | ProbeStore | AcquireModelLock


@dataclass(frozen=True, slots=True)
class Decision:
    """`slots`: slots that may lease. `calls`: calls that each model may have at once; 0: its gate is closed.

    `active`: the only model that may be called (None: all may). No worker leases after `until_seconds` of the monotonic clock.
    `reasons`: all that hold work back, in the order of the rules.
    `closed`: for each reason the models that it limits.
    `pictures`: pictures that may be in work at once. Only unread pictures need the store.
    """

    slots: int = UNLIMITED
    calls: Mapping[str, int] = field(default_factory=dict)
    active: str | None = None
    reasons: tuple[HoldReason, ...] = ()
    acts: tuple[Act, ...] = ()
    until_seconds: float = math.inf
    closed: Mapping[HoldReason, tuple[str, ...]] = field(default_factory=dict)
    pictures: int = UNLIMITED

    def vision_calls(self, model: str | None) -> int:
        """Return the calls of the vision step, whose model may be that of both steps."""
        return min(self.calls_of(model), self.pictures)

    def calls_of(self, model: str | None) -> int:
        """A step without a model has no gate."""
        return UNLIMITED if model is None else self.calls.get(model, UNLIMITED)

    def published(self, at_seconds: float) -> DecisionPublished:
        """Return the fact that the workers can read this decision."""
        return DecisionPublished(self.slots, self.active, at_seconds)
