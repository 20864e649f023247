"""Facts: samples of Ollama, of this host and of our own work, and each step of our own requests.

All times are seconds of the monotonic clock. Models have the names that Ollama lists: `x:latest`, never `x`.
"""

from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from worker.ipc.contract import ModelCall


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One model of /api/ps. `size_bytes`: what Ollama believes to have allocated. `size_vram_bytes`: the part on a GPU.

    `largest_context_tokens` is the window for which the model was trained, 0 if it is not known. Ollama asks for no more.
    """

    name: str
    digest: str
    size_bytes: int
    size_vram_bytes: int
    context_tokens: int
    largest_context_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelsListed:
    """/api/ps answered with the loaded models."""

    models: tuple[LoadedModel, ...]
    at_seconds: float


class ListError(Enum):
    """Reasons why a request to /api/ps gave no list. The values are shown to the administrator."""

    UNREACHABLE = "unreachable"
    UNRESOLVED = "its host name is not resolved"
    LATE = "no answer in time"
    INVALID = "invalid answer"
    EXHAUSTED = "the monitor has no free file descriptor, raise the limit of open files"

    @property
    def is_away(self) -> bool:
        """No connection to the server can be made, so no call to it can succeed."""
        return self in {ListError.UNREACHABLE, ListError.UNRESOLVED}


@dataclass(frozen=True, slots=True)
class ListFailed:
    """/api/ps gave no list."""

    why: ListError
    at_seconds: float


@dataclass(frozen=True, slots=True)
class HostMeasured:
    """Memory of this host.

    `ollama_bytes`: memory of Ollama's processes without the GPU; None if they are on another host or not visible.
    `pressure`: share in [0, 1] of the last ten seconds in which a process waited for memory (PSI); None if the kernel has no PSI.
    """

    ollama_bytes: int | None
    available_bytes: int
    total_bytes: int
    pressure: float | None
    gpu_bytes: int | None  # used by Ollama's processes
    gpu_free_bytes: int | None  # on all cards, for display only
    at_seconds: float


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call of one of our workers to a model ended."""

    model: str
    call: ModelCall
    at_seconds: float


@dataclass(frozen=True, slots=True)
class FileFailed:
    """A worker could not read the file of a job, for a reason of the store."""

    error_class: str
    job_id: UUID
    at_seconds: float


@dataclass(frozen=True, slots=True)
class FileRead:
    """A worker has read the file of a job: a call with its picture ended."""

    job_id: UUID
    at_seconds: float


@dataclass(frozen=True, slots=True)
class CallsInFlight:
    """Calls to one model that are in flight now.

    `progress_at_seconds`: time of the last token or answer. Before the first one: the time since which there are calls.
    """

    model: str
    in_flight: int
    progress_at_seconds: float


@dataclass(frozen=True, slots=True)
class WorkersSampled:
    """State of our workers. `leases`: jobs in hand. `workers`: slots that the supervisor lets lease."""

    calls: tuple[CallsInFlight, ...]
    leases: int
    workers: int
    at_seconds: float


@dataclass(frozen=True, slots=True)
class Backlog:
    """Visible jobs whose next call goes to one model, as far as they were counted, and the age of the oldest."""

    model: str
    jobs: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class BacklogSampled:
    """State of the queue. A model without an entry has no waiting job."""

    backlogs: tuple[Backlog, ...]
    at_seconds: float


@dataclass(frozen=True, slots=True)
class LoadBegun:
    """A preload was sent."""

    model: str
    at_seconds: float


@dataclass(frozen=True, slots=True)
class LoadEnded:
    """The preload was answered. `is_ok` False: it failed, or no answer came in time."""

    model: str
    is_ok: bool
    at_seconds: float


@dataclass(frozen=True, slots=True)
class UnloadBegun:
    """An unload was started."""

    models: tuple[str, ...]
    at_seconds: float


@dataclass(frozen=True, slots=True)
class UnloadEnded:
    """The unload was requested from Ollama: a model is gone when /api/ps no longer lists it.

    `is_ok` False: no request was sent, because another instance has calls in flight, or it failed.
    """

    models: tuple[str, ...]
    is_ok: bool
    at_seconds: float


@dataclass(frozen=True, slots=True)
class ProbeBegun:
    """A probe of a model was sent."""

    model: str
    at_seconds: float


@dataclass(frozen=True, slots=True)
class ProbeEnded:
    """The probe of a model ended. `error_class` is empty for an answer. `retry_after_seconds`: as the server asked for."""

    model: str
    error_class: str
    at_seconds: float
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class StoreProbeBegun:
    """A probe of the store was sent."""

    at_seconds: float


@dataclass(frozen=True, slots=True)
class StoreProbeEnded:
    """The probe of the store ended. `error_class` is empty if the bucket or the root can be read."""

    error_class: str
    at_seconds: float
    retry_after_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelLockChanged:
    """This instance now holds the lock of `model`; None: it holds none."""

    model: str | None
    at_seconds: float


@dataclass(frozen=True, slots=True)
class DecisionPublished:
    """The workers can read this decision from now on."""

    slots: int
    active: str | None  # the active model (None: all models are)
    at_seconds: float


Fact = (
    ModelsListed
    | ListFailed
    | HostMeasured
    | CallEnded
    | FileFailed
    | FileRead
    | WorkersSampled
    | BacklogSampled
    | LoadBegun
    | LoadEnded
    | UnloadBegun
    | UnloadEnded
    | ProbeBegun
    | ProbeEnded
    | StoreProbeBegun
    | StoreProbeEnded
    | ModelLockChanged
    | DecisionPublished
)
