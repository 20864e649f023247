"""The environment that the Ollama service should have, line by line, each with its reason."""

from collections.abc import Iterator
from dataclasses import dataclass

from supervisor.doctor.memory import DEFAULT_PROMPT_CACHE_BYTES, Fit, Plan, Use, shown

DEFAULT_CONTEXT_TOKENS = 4096  # what Ollama takes by itself without a large GPU (ollama.md 4.8)
KEEP_ALIVE = "30m"  # longer than the pauses between submissions of a school day
MAX_QUEUE = 512
_TOGETHER = (Fit.TOGETHER, Fit.UNKNOWN)


@dataclass(frozen=True, slots=True)
class EnvironmentLine:
    variable: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.variable}={self.value}"


def lines(plan: Plan, uses: tuple[Use, ...]) -> Iterator[EnvironmentLine]:
    """For the plan that fits; where nothing does, for one call at once."""
    largest = plan.largest_num_parallel
    calls = plan.need.num_parallel if largest is None else min(plan.need.num_parallel, max(1, largest))
    yield EnvironmentLine("OLLAMA_NUM_PARALLEL", str(calls), "the same number as OLLAMA_NUM_PARALLEL of these settings")
    yield EnvironmentLine("OLLAMA_MAX_LOADED_MODELS", str(_loaded_models(plan, uses)), _turns(plan))
    context_tokens = max((use.context_tokens for use in uses), default=DEFAULT_CONTEXT_TOKENS)
    yield EnvironmentLine("OLLAMA_CONTEXT_LENGTH", str(context_tokens), "the window of one call, where a request names none")
    yield EnvironmentLine(
        "OLLAMA_KEEP_ALIVE", KEEP_ALIVE, "longer than the pauses between submissions; no request of ours sets it"
    )
    yield EnvironmentLine(
        "OLLAMA_MAX_QUEUE", str(MAX_QUEUE), "bounds what waits for a load; it does not limit calls of a loaded model"
    )
    yield EnvironmentLine("OLLAMA_FLASH_ATTENTION", "1", "a quantised context cache needs it")
    yield EnvironmentLine(
        "OLLAMA_KV_CACHE_TYPE", plan.need.cache_type.word, "f16 is exact; q8_0 takes half of its memory, q4_0 a quarter"
    )
    reason = f"keeps no old prompts, which are up to {shown(DEFAULT_PROMPT_CACHE_BYTES)} for each model, and not in `ollama ps`"
    yield EnvironmentLine("LLAMA_ARG_CACHE_RAM", "0", reason)


def _loaded_models(plan: Plan, uses: tuple[Use, ...]) -> int:
    return len(uses) if plan.fit in _TOGETHER else 1


def _turns(plan: Plan) -> str:
    return "all that is needed stays loaded" if plan.fit in _TOGETHER else "the two do not fit together: they take turns"
