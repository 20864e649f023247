"""Time for which this host was suspended. The monotonic clock stands still meanwhile, and leases go on."""

import time


def suspended_seconds() -> float:
    """Return the whole time since the host's boot. CLOCK_BOOTTIME goes on in a suspension (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)
