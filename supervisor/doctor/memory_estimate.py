"""The memory that both models need, term by term, and the number of concurrent calls that fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from supervisor.doctor.model import InstalledModel
from supervisor.wording import byte_size, counted
from worker.ipc.scoreboard import MAX_SLOTS

# Compute buffers, about 300 MB with models of 3 to 20 billion weights, and the process itself: docs/ollama-api.md 3.5.
OVERHEAD_BYTES = 500_000_000
WORKER_BYTES = 150_000_000  # a worker and the child process that decodes its pages
SPARE_SHARE = 0.1  # of the host's memory: for the page cache and other programs
DEFAULT_PROMPT_CACHE_BYTES = 8192 * 2**20  # of each runner, as the engine sets it (docs/ollama-api.md 3.5)


class CacheType(Enum):
    """OLLAMA_KV_CACHE_TYPE: its value, and bytes per number. Quantised numbers are blocks of 32 with a scale of two bytes."""

    F16 = ("f16", 2.0)
    Q8_0 = ("q8_0", 34 / 32)
    Q4_0 = ("q4_0", 18 / 32)

    @property
    def word(self) -> str:
        return self.value[0]

    @property
    def value_bytes(self) -> float:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Use:
    """A model with `context_tokens`, the window of one call. `listed_bytes` is its size in /api/ps, 0 if not listed."""

    model: InstalledModel
    context_tokens: int
    listed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Term:
    """One summand. `how` explains its number."""

    what: str
    bytes: int
    how: str


@dataclass(frozen=True, slots=True)
class Need:
    """Memory for `num_parallel` concurrent calls of each model. `models` has one list of terms per model."""

    num_parallel: int
    cache_type: CacheType
    models: tuple[tuple[Term, ...], ...]
    workers: Term

    @property
    def models_bytes(self) -> int:
        return sum(self._each_bytes())

    @property
    def together_bytes(self) -> int:
        return self.models_bytes + self.workers.bytes

    @property
    def in_turn_bytes(self) -> int:
        """Memory if the models take turns: only the larger one is loaded."""
        return max(self._each_bytes(), default=0) + self.workers.bytes

    def _each_bytes(self) -> list[int]:
        return [sum(term.bytes for term in terms) for terms in self.models]


@dataclass(frozen=True, slots=True)
class Budget:
    """Memory for Ollama and the workers: free memory plus that of the loaded models, less a spare share."""

    available_bytes: int
    loaded_bytes: int
    spare_bytes: int

    @property
    def bytes(self) -> int:
        return max(0, self.available_bytes + self.loaded_bytes - self.spare_bytes)


class Fit(Enum):
    """Fit of the models into memory: at once, one at a time, or not at all."""

    TOGETHER = "together"
    IN_TURN = "in turn"
    NOT = "not at all"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Plan:
    """The configured calls with the best cache type that fits.

    `largest_num_parallel` is the largest number of calls that fits in the same way: 0 if none does, None if the memory is not
    known. With more than `useful_workers`, workers would wait for each other or not fit beside the models.
    """

    need: Need
    fit: Fit
    largest_num_parallel: int | None
    useful_workers: int


def plan(uses: Sequence[Use], num_parallel: int, workers: int, budget_bytes: int | None) -> Plan:
    """Prefer both models in memory with a smaller cache to taking turns, because a load takes longer than an answer."""
    if budget_bytes is None:
        return Plan(need(uses, num_parallel, workers, CacheType.F16), Fit.UNKNOWN, None, _calls(uses, num_parallel))
    for fit in (Fit.TOGETHER, Fit.IN_TURN):
        for cache_type in CacheType:
            wanted = need(uses, num_parallel, workers, cache_type)
            if _bytes(wanted, fit) <= budget_bytes:
                largest = _largest(uses, fit, cache_type, workers, budget_bytes)
                room = workers + (budget_bytes - _bytes(wanted, fit)) // WORKER_BYTES
                return Plan(wanted, fit, largest, min(room, _calls(uses, num_parallel)))
    largest = _largest(uses, Fit.IN_TURN, CacheType.Q4_0, workers, budget_bytes)
    return Plan(need(uses, num_parallel, workers, CacheType.F16), Fit.NOT, largest, _calls(uses, max(1, largest)))


def need(uses: Sequence[Use], num_parallel: int, workers: int, cache_type: CacheType) -> Need:
    """Sum up the memory of models and workers."""
    models = tuple(tuple(_terms(use, num_parallel, cache_type)) for use in uses)
    return Need(
        num_parallel, cache_type, models, Term("workers", workers * WORKER_BYTES, f"{workers} × {byte_size(WORKER_BYTES)}")
    )


def _largest(uses: Sequence[Use], fit: Fit, cache_type: CacheType, workers: int, budget_bytes: int) -> int:
    fitting = (calls for calls in range(MAX_SLOTS, 0, -1) if _bytes(need(uses, calls, workers, cache_type), fit) <= budget_bytes)
    return next(fitting, 0)


def _calls(uses: Sequence[Use], num_parallel: int) -> int:
    return min(MAX_SLOTS, sum(use.model.calls_at_once(num_parallel) for use in uses))


def _bytes(needed: Need, fit: Fit) -> int:
    return needed.together_bytes if fit is Fit.TOGETHER else needed.in_turn_bytes


def _terms(use: Use, num_parallel: int, cache_type: CacheType) -> Iterator[Term]:
    model, calls = use.model, use.model.calls_at_once(num_parallel)
    yield Term("weights", model.weight_bytes, f"{model.parameter_size} parameters as {model.quantisation}")
    if model.projector_bytes:
        yield Term("projector", model.projector_bytes, "encodes pictures")
    yield _cache(model.cached_values_per_token, use.context_tokens, calls, cache_type)
    yield Term("prompt cache", 0, f"with LLAMA_ARG_CACHE_RAM=0 as below; up to {byte_size(DEFAULT_PROMPT_CACHE_BYTES)} without")
    yield Term("overhead", OVERHEAD_BYTES, "compute buffers and the process")


def _cache(values: int | None, context_tokens: int, calls: int, cache_type: CacheType) -> Term:
    if values is None:
        return Term("context", 0, "not counted: the model's file does not describe its cache")
    token_bytes = values * cache_type.value_bytes
    how = f"{counted(calls, 'call')} × {context_tokens} tokens × {byte_size(token_bytes)} as {cache_type.word}"
    return Term("context", round(calls * context_tokens * token_bytes), how)
