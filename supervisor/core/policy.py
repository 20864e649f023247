"""The numbers that `decide` goes by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """All times in seconds. The defaults are those of the settings; tests give their own."""

    tick_seconds: float = 1.0  # how stale the scoreboard may be read
    boot_timeout_seconds: float = 30.0
    terminate_grace_seconds: float = 5.0
    drain_timeout_seconds: float = 60.0
    drain_shortened_seconds: float = 5.0
    release_seconds: float = 2.0  # what the monitor has after the last worker, to give leases back (invariant 2)
    backoff_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    healthy_after_seconds: float = 10.0

    def restart_delay_seconds(self, crashes_in_a_row: int) -> float:
        """At once after the first; then doubling: 0, 1, 2, 4 … makes seven starts in a slot's first minute (invariant 8)."""
        if crashes_in_a_row <= 1:
            return 0.0
        doubled = self.backoff_seconds * 2.0 ** min(crashes_in_a_row - 2, 30)
        return min(doubled, self.backoff_max_seconds)
