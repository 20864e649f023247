"""A process's own memory: its limit in the kernel, and its size."""

import re
import resource
from pathlib import Path

_PRIVATE = re.compile(rb"^Private_(?:Clean|Dirty): +(\d+) kB$", re.MULTILINE)


def limit_memory(hard_bytes: int) -> None:
    """Limits further allocations to `hard_bytes`. 0 sets no limit.

    This is a backstop for an allocation that is faster than the supervisor's next sample. It raises MemoryError here, before
    the host runs out of memory. RLIMIT_DATA counts allocated memory and the supervisor counts used memory, so the size at the
    fork is added. Only the soft limit is set, because a child that decodes a document sets its own.
    """
    if hard_bytes:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = data_bytes() + hard_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def uss_bytes() -> int:
    """Private pages, clean and dirty (proc_pid_smaps(5)). 0 if the kernel does not report them."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_bytes()
    except OSError:
        return 0
    return 1024 * sum(int(size) for size in _PRIVATE.findall(rollup))


def data_bytes() -> int:
    """Size that RLIMIT_DATA counts: private writable memory, and the stack."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()


def rss_bytes() -> int:
    """Size of the pages in memory, those of shared files included, as the kernel's peak of a child counts it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
