"""Evidence that the server keeps only one of two models: it replaces each by the other."""

from dataclasses import dataclass, replace

ENOUGH = 3  # consecutive replacements after which the pair counts as too large; one or two may be expiries


@dataclass(frozen=True, slots=True)
class Replacements:
    """`last`: the model that was last listed without the other one. `count`: replacements in a row that no unload explains."""

    last: str | None = None
    count: int = 0

    @property
    def prove_too_large(self) -> bool:
        return self.count >= ENOUGH

    def listed(self, models: tuple[str, ...]) -> "Replacements":
        """Models listed together fit together. An empty list (loading, idle) proves nothing."""
        if len(models) > 1:
            return Replacements()
        if not models or models[0] == self.last:
            return self
        return Replacements(models[0], self.count + (self.last is not None))

    def unload_begun(self) -> "Replacements":
        """Start the count again, because the next replacement has an explanation. A proof remains."""
        return replace(self, last=None, count=self.count if self.prove_too_large else 0)
