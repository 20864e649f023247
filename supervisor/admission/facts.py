"""What was seen of Ollama, of this host and of our own work. All times in seconds of the monotonic clock.

Models are called as Ollama lists them: `x:latest`, never `x`.
"""

from dataclasses import dataclass
from enum import Enum

from worker.ipc.contract import ModelCall


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model of /api/ps. `size_bytes` is what Ollama believes to have allocated, `size_vram_bytes` the part on a GPU."""

    name: str
    digest: str
    size_bytes: int
    size_vram_bytes: int
    context_tokens: int


@dataclass(frozen=True, slots=True)
class ModelsListed:
    """/api/ps has answered."""

    models: tuple[LoadedModel, ...]
    at_seconds: float


class ListError(Enum):
    """Why /api/ps said nothing."""

    UNREACHABLE = "unreachable"
    LATE = "no answer in time"
    INVALID = "an answer that is none"


@dataclass(frozen=True, slots=True)
class ListFailed:
    why: ListError
    at_seconds: float


@dataclass(frozen=True, slots=True)
class HostMeasured:
    """Memory of this host. `ollama_bytes` is what its processes hold, without the GPU; None: not on this host, or not visible.

    `pressure` is the share in [0, 1] of the last ten seconds in which some process waited for memory (PSI); None: not told.
    """

    ollama_bytes: int | None
    available_bytes: int
    total_bytes: int
    pressure: float | None
    gpu_bytes: int | None  # held by Ollama's processes
    gpu_free_bytes: int | None  # on all cards; decides nothing
    at_seconds: float


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call of a worker of ours."""

    model: str
    call: ModelCall
    at_seconds: float


@dataclass(frozen=True, slots=True)
class CallsInFlight:
    """CallsInFlight to one model that are in flight now, and the time at which one last had a token or was answered.

    If none has since there are calls: the time since which there are.
    """

    model: str
    in_flight: int
    progress_at_seconds: float


@dataclass(frozen=True, slots=True)
class WorkersSampled:
    """What our workers do now. `leases`: jobs in hand; `workers`: slots that the supervisor lets lease."""

    calls: tuple[CallsInFlight, ...]
    leases: int
    workers: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """Visible jobs whose next call goes to this model, as far as they were counted, and the age of the oldest."""

    model: str
    jobs: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class BacklogSampled:
    backlogs: tuple[Backlog, ...]
    at_seconds: float


@dataclass(frozen=True, slots=True)
class LoadBegun:
    """A preload was sent."""

    model: str
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Its answer, or that none came."""

    model: str
    is_ok: bool
    at_seconds: float


@dataclass(frozen=True, slots=True)
class UnloadBegun:
    models: tuple[str, ...]
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Unloaded:
    """All were asked to leave: they are gone when /api/ps does not list them. `is_ok` False: they could not be asked."""

    models: tuple[str, ...]
    is_ok: bool
    at_seconds: float


@dataclass(frozen=True, slots=True)
class ModelLockChanged:
    """Whose exclusive_model is ours now, all instances of this endpoint agreeing: None, nobody's."""

    model: str | None
    at_seconds: float


@dataclass(frozen=True, slots=True)
class DecisionPublished:
    """What the workers are told from now on."""

    slots: int
    calls: tuple[tuple[str, int], ...]  # by model
    turn: str | None  # the only model that may be asked; None: any
    at_seconds: float


Fact = (
    ModelsListed
    | ListFailed
    | HostMeasured
    | CallEnded
    | WorkersSampled
    | BacklogSampled
    | LoadBegun
    | Loaded
    | UnloadBegun
    | Unloaded
    | ModelLockChanged
    | DecisionPublished
)
