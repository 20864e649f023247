"""The CPU time of another process."""

import time


def cpu_seconds(pid: int) -> float:
    """Of all its threads, by the process's own CPU clock (clock_getcpuclockid(3)): /proc counts in steps of 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)
