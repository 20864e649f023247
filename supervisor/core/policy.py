"""The numbers that `decide` goes by."""

from dataclasses import dataclass

from worker.ipc.backoff import doubling

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Policy:
    """All times in seconds. The defaults are those of the settings; tests give their own."""

    tick_seconds: float = 1.0  # how stale the scoreboard may be read
    busy_tick_seconds: float = 0.1  # the same while a job is in hand, or a boot that others may wait for
    boot_timeout_seconds: float = 30.0
    terminate_grace_seconds: float = 5.0
    drain_timeout_seconds: float = 60.0
    drain_shortened_seconds: float = 5.0
    release_seconds: float = 2.0  # what the monitor has after the last worker, to give leases back (invariant 2)
    backoff_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    healthy_after_seconds: float = 10.0
    burst_starts: int = 8  # of one slot in `burst_seconds`, however short the drawn waits are (invariant 8)
    burst_seconds: float = 60.0
    restart_window_seconds: float = 60.0
    restart_intensity: int = 5  # OTP's word: crashes without any progress
    memory_soft_bytes: int = 512 * MEBIBYTE  # growth since the boot; 0: no limit
    memory_hard_bytes: int = 1024 * MEBIBYTE  # resident set; 0: no limit
    minimum_lifetime_seconds: float = 60.0

    def restart_delay_seconds(self, crashes_in_a_row: int) -> float:
        """Return the longest wait before a restart: none after the first crash, then doubling."""
        if crashes_in_a_row <= 1:
            return 0.0
        return doubling(self.backoff_seconds, self.backoff_max_seconds, crashes_in_a_row - 2)
