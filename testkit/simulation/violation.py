"""An invariant that does not hold."""


class Violation(Exception):
    """A broken invariant: its number and name in the architecture, or a bound that follows from one."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
