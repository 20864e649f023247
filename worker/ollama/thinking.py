"""Models that think even if asked not to, and the tokens allowed for it."""

from dataclasses import dataclass
from typing import Literal

ThinkLevel = Literal["low", "medium", "high"]
# `num_predict` counts thoughts too. An order of magnitude for school tasks, not a measurement: a model that needs more is cut
# off, and the step is tried a second time.
THOUGHT_TOKENS: dict[ThinkLevel, int] = {"low": 1024, "medium": 4096, "high": 12_288}
_CANNOT_STOP = "gpt-oss"  # Ollama ignores `think: false` for this family (docs/ollama-api.md 6.1)


@dataclass(frozen=True, slots=True)
class Thinking:
    """The request's `think`, and the tokens to allow for it."""

    think: Literal[False] | ThinkLevel
    tokens: int


def thinking(model: str, level: ThinkLevel | Literal[""]) -> Thinking:
    """Off, except for the models that cannot switch it off: these get the level, `low` if none is set.

    They are recognised by name, with or without namespace and tag.
    """
    if not model.rpartition("/")[2].lower().startswith(_CANNOT_STOP):
        return Thinking(think=False, tokens=0)
    chosen: ThinkLevel = level or "low"
    return Thinking(chosen, THOUGHT_TOKENS[chosen])
