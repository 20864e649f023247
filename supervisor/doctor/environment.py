"""The environment that the Ollama service should have, line by line, each with its reason."""

from dataclasses import dataclass

from supervisor.doctor.memory_estimate import DEFAULT_PROMPT_CACHE_BYTES, Fit, Plan, Use
from supervisor.wording import byte_size

DEFAULT_CONTEXT_TOKENS = 4096  # Ollama's default without a large GPU (docs/ollama-api.md 4.8)
KEEP_ALIVE = "30m"  # longer than the pauses between submissions of a school day
MAX_QUEUE = 512


@dataclass(frozen=True, slots=True)
class EnvironmentLine:
    """One variable of the service."""

    variable: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.variable}={self.value}"


def lines(plan: Plan, uses: tuple[Use, ...]) -> tuple[EnvironmentLine, ...]:
    """For the plan that fits. If none fits, for one call at once."""
    largest = plan.largest_num_parallel
    calls = plan.need.num_parallel if largest is None else min(plan.need.num_parallel, max(1, largest))
    context_tokens = max((use.context_tokens for use in uses), default=DEFAULT_CONTEXT_TOKENS)
    return tuple(
        EnvironmentLine(variable, str(value), reason)
        for variable, value, reason in (
            ("OLLAMA_NUM_PARALLEL", calls, "the same number as OLLAMA_NUM_PARALLEL in the settings"),
            _loaded_models(plan, uses),
            ("OLLAMA_CONTEXT_LENGTH", context_tokens, "context window of one call if the request sets none"),
            ("OLLAMA_KEEP_ALIVE", KEEP_ALIVE, "longer than the pauses between submissions; no request of the workers sets it"),
            ("OLLAMA_MAX_QUEUE", MAX_QUEUE, "limits the requests that wait for a load, not the calls of a loaded model"),
            ("OLLAMA_FLASH_ATTENTION", 1, "a quantised context cache needs it"),
            ("OLLAMA_KV_CACHE_TYPE", plan.need.cache_type.word, "f16 is exact; q8_0 takes half of its memory, q4_0 a quarter"),
            _prompt_cache(),
        )
    )


def _loaded_models(plan: Plan, uses: tuple[Use, ...]) -> tuple[str, int, str]:
    if plan.fit in {Fit.TOGETHER, Fit.UNKNOWN}:
        return "OLLAMA_MAX_LOADED_MODELS", len(uses), "all models stay loaded"
    return "OLLAMA_MAX_LOADED_MODELS", 1, "the models do not fit together, so they take turns"


def _prompt_cache() -> tuple[str, int, str]:
    cache = byte_size(DEFAULT_PROMPT_CACHE_BYTES)
    return "LLAMA_ARG_CACHE_RAM", 0, f"keeps no old prompts, which take up to {cache} per model and are not in `ollama ps`"
