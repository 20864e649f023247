"""What workers may do, why not more, and what is to be done at Ollama."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from supervisor.admission.facts import DecisionPublished
from worker.ipc.contract import HoldReason
from worker.ipc.scoreboard import MAX_SLOTS

FREE = MAX_SLOTS  # no bound: of slots, and of calls to one model


@dataclass(frozen=True, slots=True)
class Preload:
    """Load it by a request without a prompt, so that no job pays for that."""

    model: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Ask Ollama to let go of them. Only where nothing of ours, of any instance, is in flight to them."""

    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AcquireModelLock:
    """Make it this model's exclusive_model, if no other instance is in another one. Wanted again and again until it is so.

    None: leave the exclusive_model.
    """

    model: str | None


Act = Preload | Unload | AcquireModelLock


@dataclass(frozen=True, slots=True)
class Decision:
    """`slots`: how many slots may lease. `calls`: how many calls each model may have; 0: its gate is closed.

    After `until_seconds` of the monotonic clock nobody leases. `reasons`: all that hold something back, the weightiest first;
    `closed`: the models that each of them keeps from being asked.
    """

    slots: int = FREE
    calls: Mapping[str, int] = field(default_factory=dict)
    turn: str | None = None
    reasons: tuple[HoldReason, ...] = ()
    acts: tuple[Act, ...] = ()
    until_seconds: float = math.inf
    closed: Mapping[HoldReason, tuple[str, ...]] = field(default_factory=dict)

    def calls_of(self, model: str | None) -> int:
        """A step without a model has no gate."""
        return FREE if model is None else self.calls.get(model, FREE)

    @property
    def reason(self) -> HoldReason:
        return self.reasons[0] if self.reasons else HoldReason.NONE

    def told(self, at_seconds: float) -> DecisionPublished:
        """The fact that the workers have it."""
        return DecisionPublished(self.slots, tuple(sorted(self.calls.items())), self.turn, at_seconds)
