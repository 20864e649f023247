"""The numbers that the rules use: times, limits and bounds."""

from dataclasses import dataclass

from worker.ipc.backoff import doubling
from worker.ipc.contract import Activity

MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Policy:
    """Times are in seconds. The defaults equal those of the settings, and tests use their own."""

    tick_seconds: float = 1.0  # longest time between two readings of the scoreboard
    busy_tick_seconds: float = 0.1  # the same while a worker has a job in hand or a process boots
    boot_timeout_seconds: float = 30.0
    terminate_grace_seconds: float = 5.0
    drain_timeout_seconds: float = 60.0
    drain_shortened_seconds: float = 5.0
    reclaim_seconds: float = 2.0  # for the monitor to reclaim leases after the last worker left (invariant 2)
    backoff_seconds: float = 1.0
    backoff_max_seconds: float = 60.0
    healthy_after_seconds: float = 10.0
    burst_starts: int = 8  # most starts of one slot in `burst_seconds`, however short the drawn waits are (invariant 8)
    burst_seconds: float = 60.0
    restart_window_seconds: float = 60.0
    restart_intensity: int = 5  # crashes without progress before the supervisor gives up (a term of OTP)
    memory_soft_bytes: int = 512 * MEBIBYTE  # growth since the boot, 0: no limit
    memory_hard_bytes: int = 1024 * MEBIBYTE  # resident set, 0: no limit
    minimum_lifetime_seconds: float = 60.0
    longest_step_seconds: float = 86.0  # after which a worker that waits for an unused permit is replaced
    foreign_calls: frozenset[Activity] = frozenset()  # calls of adapters of another package, which may ignore their limit

    def restart_delay_seconds(self, crashes_in_a_row: int) -> float:
        """Return the longest wait before a restart: none after the first crash, then doubling."""
        if crashes_in_a_row <= 1:
            return 0.0
        return doubling(self.backoff_seconds, self.backoff_max_seconds, crashes_in_a_row - 2)
