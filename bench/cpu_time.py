"""The CPU time of another process."""

import time


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads, from clock_getcpuclockid(3). /proc counts in steps of 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)
