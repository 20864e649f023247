"""The numbers that admission goes by."""

import math
from dataclasses import dataclass
from enum import Enum


class TakeTurns(Enum):
    """Whether two models may compute at the same time."""

    AUTO = "auto"  # as their measured speeds say
    ALWAYS = "true"
    NEVER = "false"


@dataclass(frozen=True, slots=True)
class AdmissionPolicy:
    """All times in seconds. The defaults are those of the settings; tests give their own."""

    vision_model: str | None = None  # None: the step asks no model of Ollama's
    feedback_model: str | None = None
    num_parallel: int = 1  # calls that one model takes at once
    limit_bytes: int = 0  # high water of what Ollama may hold; 0: no limit
    low_water_bytes: int = 0  # below it slots are opened again
    max_loaded_models: int = 0  # as set on the Ollama server; 0: it decides by itself
    take_turns: TakeTurns = TakeTurns.AUTO
    vision_context_tokens: int | None = None  # as asked of Ollama; None: nothing is asked
    feedback_context_tokens: int | None = None
    vision_timeout_seconds: float = 30.0  # what one call is given
    feedback_timeout_seconds: float = 15.0
    sample_seconds: float = 1.0
    max_hold_seconds: float = 60.0  # work that waits, with nothing in hand: then a relief and a canary
    grace_seconds: float = 10.0  # how long Ollama may be silent before that means something
    cool_seconds: float = 5.0  # an open breaker; doubles with each probe that fails
    cool_max_seconds: float = 60.0
    load_retry_seconds: float = 15.0  # after a load that failed; doubles too
    unload_seconds: float = 30.0  # how long a model that was asked to leave is waited for
    memory_back_seconds: float = 5.0  # from its end in the list to the end of its process, at the latest
    exclusive_seconds: float = 60.0  # a model that does not fit beside the other keeps its exclusive_model so long
    exclusive_loads: float = 10.0  # and so many times its load, so that loads take a tenth of the time at most
    turn_seconds: float = 10.0  # two models on the same cores
    turns_below: float = 0.9  # together they do less than this part of what they do by turns

    @property
    def models(self) -> tuple[str, ...]:
        """Each once, in the order of the steps."""
        return tuple(dict.fromkeys(name for name in (self.vision_model, self.feedback_model) if name is not None))

    @property
    def reopen_seconds(self) -> float:
        """Between two slots that are opened: what the last one has changed must be seen first."""
        return 5 * self.sample_seconds

    @property
    def trust_seconds(self) -> float:
        """How long a decision holds if none comes after it."""
        return 5 * self.sample_seconds + self.grace_seconds

    def wedge_seconds(self, model: str) -> float:
        """CallsInFlight, and no token from any of them for so long: what one is given is over without a word."""
        given = ((self.vision_model, self.vision_timeout_seconds), (self.feedback_model, self.feedback_timeout_seconds))
        return max((seconds for name, seconds in given if name == model), default=math.inf)

    def context_tokens(self, model: str) -> frozenset[int]:
        """What is asked of Ollama for this model; empty: nothing."""
        asked = ((self.vision_model, self.vision_context_tokens), (self.feedback_model, self.feedback_context_tokens))
        return frozenset(tokens for name, tokens in asked if name == model and tokens is not None)
