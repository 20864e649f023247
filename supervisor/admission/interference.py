"""Measured interference: how much two models slow each other down when they compute on the same cores.

Learns from the speed of each answered call. The rest of admission asks one question: `needs_turns`.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

ENOUGH = 3  # samples of a kind before a conclusion is drawn
WEIGHT = 0.3  # of the newest sample
FORGET_SECONDS = 3600.0  # age at which a speed measured together is dropped, so that both models are tried together again


@dataclass(frozen=True, slots=True)
class Ewma:
    """Exponentially weighted mean of tokens per second."""

    value: float = 0.0
    samples: int = 0  # counted up to ENOUGH

    def with_sample(self, value: float) -> "Ewma":
        mean = value if not self.samples else self.value + WEIGHT * (value - self.value)
        return Ewma(mean, min(self.samples + 1, ENOUGH))

    @property
    def is_known(self) -> bool:
        return self.samples >= ENOUGH


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one model, and when it last computed."""

    model: str
    alone: Ewma = Ewma()
    together: Ewma = Ewma()  # while the other model computed as well
    together_at_seconds: float = 0.0  # time of the last sample of `together`
    busy_until_seconds: float = -math.inf  # last time at which a call was seen in flight, or ended

    @property
    def share(self) -> float | None:
        """Part of its speed that remains beside the other model. None until both speeds are known."""
        is_known = self.alone.is_known and self.together.is_known and self.alone.value > 0
        return self.together.value / self.alone.value if is_known else None


@dataclass(frozen=True, slots=True)
class Interference:
    """Speeds of our models, alone and together."""

    speeds: tuple[Speed, ...]

    @classmethod
    def of(cls, models: Iterable[str]) -> "Interference":
        return cls(tuple(Speed(model) for model in models))

    def needs_turns(self, min_shares: float) -> bool:
        """Return True if the models harm each other, or while turns are needed to measure whether they do."""
        return self.is_harmful(min_shares) or self.is_measuring

    def is_harmful(self, min_shares: float) -> bool:
        """Return True if the shares of two models add up to less than `min_shares`: by turns they would add up to 1."""
        shares = [speed.share for speed in self.speeds if speed.share is not None]
        return len(shares) == len(self.speeds) > 1 and sum(shares) < min_shares

    @property
    def is_measuring(self) -> bool:
        """True while the speed of each model beside the other is known, but not the speed of each alone.

        Under steady work only turns let one model run alone.
        """
        is_half_known = all(speed.together.is_known for speed in self.speeds)
        return len(self.speeds) > 1 and is_half_known and not all(speed.alone.is_known for speed in self.speeds)

    def is_measured_alone(self, model: str) -> bool:
        return any(speed.model == model and speed.alone.is_known for speed in self.speeds)

    def call_ended(self, model: str, at_seconds: float) -> "Interference":
        return self._with(replace(self._of(model), busy_until_seconds=at_seconds))

    def call_answered(
        self, model: str, tokens_per_second: float, began_at_seconds: float, at_seconds: float, *, others_in_flight: bool
    ) -> "Interference":
        """Learn a speed. The call was alone if no call to another model overlapped it, even one that has ended since."""
        speed = self._of(model)
        others = [other for other in self.speeds if other.model != model]
        if others_in_flight or any(other.busy_until_seconds > began_at_seconds for other in others):
            together = speed.together.with_sample(tokens_per_second)
            return self._with(replace(speed, together=together, together_at_seconds=at_seconds))
        return self._with(replace(speed, alone=speed.alone.with_sample(tokens_per_second)))

    def sampled(self, busy: frozenset[str], at_seconds: float) -> "Interference":
        """Note which models have calls in flight, and drop outdated speeds: during turns nothing new is measured together."""
        return Interference(tuple(_sampled(speed, at_seconds, is_busy=speed.model in busy) for speed in self.speeds))

    def _of(self, model: str) -> Speed:
        return next(speed for speed in self.speeds if speed.model == model)

    def _with(self, changed: Speed) -> "Interference":
        return Interference(tuple(changed if speed.model == changed.model else speed for speed in self.speeds))


def _sampled(speed: Speed, at_seconds: float, *, is_busy: bool) -> Speed:
    if is_busy:
        speed = replace(speed, busy_until_seconds=at_seconds)
    is_outdated = at_seconds >= speed.together_at_seconds + FORGET_SECONDS
    return replace(speed, together=Ewma()) if speed.together.samples and is_outdated else speed
