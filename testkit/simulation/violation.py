"""An invariant that does not hold."""


class Violation(Exception):
    """`invariant` is its number and name in the architecture, or the bound that follows from it."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
