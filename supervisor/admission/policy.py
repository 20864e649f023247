"""Numbers that the rules of admission use."""

import math
from dataclasses import dataclass
from enum import Enum

from worker.ipc.contract import Step

PROBE_SHARE = 1 / 8  # of the timeout of a call, whose prompt is more than eight times as long as that of a probe


class TakeTurns(Enum):
    """Setting for two models that fit together: called at the same time, or by turns."""

    AUTO = "auto"  # as their measured speeds require
    ALWAYS = "true"
    NEVER = "false"


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """All times in seconds. The defaults are those of the settings. Tests use their own."""

    vision_model: str | None = None  # None: the step calls no model of Ollama
    feedback_model: str | None = None
    num_parallel: int = 1  # calls that one model takes at once
    limit_bytes: int = 0  # high water: memory that Ollama may use (0: no limit)
    low_water_bytes: int = 0  # below it slots open again
    max_loaded_models: int = 0  # as set on the Ollama server (0: the server decides)
    take_turns: TakeTurns = TakeTurns.AUTO
    vision_context_tokens: int | None = None  # as requested from Ollama (None: not requested)
    feedback_context_tokens: int | None = None
    vision_timeout_seconds: float = 30.0  # of one call
    feedback_timeout_seconds: float = 15.0
    sample_seconds: float = 1.0
    max_hold_seconds: float = 60.0  # longest stall before an eviction and a canary
    grace_seconds: float = 10.0  # longest gap between two lists before the memory counts as unknown
    probe_seconds: float = 2.0  # wait before each probe of a model or of the store
    probe_try_seconds: float = 4.0  # for an answer to one try of a probe, at least
    load_retry_seconds: float = 15.0  # first wait after a failed load, doubles with each further failure
    unload_seconds: float = 30.0  # longest wait for a model that was unloaded
    memory_back_seconds: float = 5.0  # longest time from a model's end in the list to the end of its process
    exclusive_seconds: float = 60.0  # shortest turn of a model that does not fit beside the other
    exclusive_loads: float = 10.0  # and at least so many times its load, so that loads take a tenth of the time at most
    turn_seconds: float = 10.0  # turn of a model that fits, but slows the other down
    turns_below: float = 0.9  # turns are taken if both together do less than this part of what they do by turns

    def model_of(self, step: Step) -> str | None:
        """Return the model of Ollama that the step calls, None if it calls none."""
        return self.vision_model if step is Step.VISION else self.feedback_model

    @property
    def models(self) -> tuple[str, ...]:
        """Each model once, in the order of the steps."""
        return tuple(dict.fromkeys(name for name in (self.vision_model, self.feedback_model) if name is not None))

    @property
    def reopen_seconds(self) -> float:
        """Wait between two slots that open, so that the effect of the first is measured before the second."""
        return 5 * self.sample_seconds

    @property
    def trust_seconds(self) -> float:
        """Validity of a decision if no other follows."""
        return 5 * self.sample_seconds + self.grace_seconds

    def wedge_seconds(self, model: str) -> float:
        """Time without a token after which the model counts as wedged: the longest timeout of a call to it."""
        given = ((self.vision_model, self.vision_timeout_seconds), (self.feedback_model, self.feedback_timeout_seconds))
        return max((seconds for name, seconds in given if name == model), default=math.inf)

    def try_seconds(self, model: str) -> float:
        """Time for one try of a probe. A server that needs longer for its few tokens could answer no call in time."""
        return max(self.probe_try_seconds, PROBE_SHARE * self.wedge_seconds(model))

    def context_tokens(self, model: str) -> frozenset[int]:
        """Context lengths requested from Ollama for this model; empty if none is."""
        requested = ((self.vision_model, self.vision_context_tokens), (self.feedback_model, self.feedback_context_tokens))
        return frozenset(tokens for name, tokens in requested if name == model and tokens is not None)
