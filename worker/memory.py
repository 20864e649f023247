"""A process's own memory: the limit that the kernel holds it to, and what is its alone."""

import re
import resource
from pathlib import Path

_PRIVATE = re.compile(rb"^Private_(?:Clean|Dirty): +(\d+) kB$", re.MULTILINE)


def limit_memory(hard_bytes: int) -> None:
    """A backstop for an allocation that is faster than the supervisor's next look: MemoryError here, not a host without memory.

    RLIMIT_DATA counts what was asked for, the supervisor what is in use; so what stands at the fork comes on top. It is the
    soft limit alone, as a child that decodes a document sets its own. 0: no limit.
    """
    if hard_bytes:
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = data_bytes() + hard_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def uss_bytes() -> int:
    """Private pages, clean and dirty (proc_pid_smaps(5)); 0 where the kernel does not tell."""
    try:
        rollup = Path("/proc/self/smaps_rollup").read_bytes()
    except OSError:
        return 0
    return 1024 * sum(int(size) for size in _PRIVATE.findall(rollup))


def data_bytes() -> int:
    """What RLIMIT_DATA counts: private writable memory, and the stack."""
    return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
