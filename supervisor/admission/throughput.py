"""How fast a model speaks alone, and while the other one of ours computes on the same cores."""

from dataclasses import dataclass, replace

ENOUGH = 3  # samples of a kind, before anything follows from them
WEIGHT = 0.3  # of the newest sample
TOGETHER_SECONDS = 3600.0  # how long nothing new is known of two models together before they are tried together again


@dataclass(frozen=True, slots=True)
class Ewma:
    """An exponential mean of tokens per second."""

    value: float = 0.0
    samples: int = 0

    def with_sample(self, value: float) -> "Ewma":
        mean = value if not self.samples else self.value + WEIGHT * (value - self.value)
        return Ewma(mean, min(self.samples + 1, ENOUGH))

    @property
    def is_known(self) -> bool:
        return self.samples >= ENOUGH


@dataclass(frozen=True, slots=True)
class Throughput:
    alone: Ewma = Ewma()
    together: Ewma = Ewma()

    def measured(self, tokens_per_second: float, *, is_alone: bool) -> "Throughput":
        if is_alone:
            return replace(self, alone=self.alone.with_sample(tokens_per_second))
        return replace(self, together=self.together.with_sample(tokens_per_second))

    @property
    def part(self) -> float | None:
        """What the other model leaves of its speed; None while too little was measured."""
        is_known = self.alone.is_known and self.together.is_known and self.alone.value > 0
        return self.together.value / self.alone.value if is_known else None
