"""Out-of-memory kills by the kernel: `oom_kill` in memory.events of the supervisor's own control group (cgroup v2)."""

import os
import re
from pathlib import Path

KEPT_SECONDS = 10.0  # a killed process of many gigabytes needs time to end, and an older kill was of another process
_READ_BYTES = 4096
_OOM_KILL = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


class OomWatch:
    """Counts OOM kills that are not yet attributed to an exit. Without the file it counts none."""

    def __init__(self, events: Path | None) -> None:
        self._fd = os.open(events, os.O_RDONLY | os.O_CLOEXEC) if events else -1
        self._total = self._read()
        self._unclaimed_at_seconds: list[float] = []

    @property
    def fds(self) -> set[int]:
        """Descriptors that children must not keep."""
        return {self._fd} - {-1}

    def update(self, now_seconds: float) -> None:
        """Read the counter, and note new kills with the time."""
        before, self._total = self._total, self._read()
        fresh = [now_seconds] * min(self._total - before, 64)  # as many as there may be workers
        kept = [at for at in self._unclaimed_at_seconds if now_seconds < at + KEPT_SECONDS]
        self._unclaimed_at_seconds = (kept + fresh)[-64:]

    def claim(self, now_seconds: float) -> bool:
        """Attribute an exit by a SIGKILL of unknown origin to the kernel if it has an unclaimed kill, and return if it had."""
        self.update(now_seconds)
        return bool(self._unclaimed_at_seconds and self._unclaimed_at_seconds.pop(0))

    def _read(self) -> int:
        try:
            found = _OOM_KILL.search(os.pread(self._fd, _READ_BYTES, 0)) if self._fd >= 0 else None
        except OSError:  # the group is gone or not visible
            found = None
        return int(found[1]) if found else 0


def own_memory_events(proc: Path = Path("/proc/self")) -> Path | None:
    """Return memory.events of this process's group, or None without cgroup v2 or its memory controller."""
    try:
        group = re.search(r"^0::(/.*)$", (proc / "cgroup").read_text(), re.MULTILINE)
        mount = re.search(r"^(?:\S+ ){3}(\S+) (\S+) .*- cgroup2 ", (proc / "mountinfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    if not group or not mount:
        return None
    below = group[1].removeprefix(mount[1] if mount[1] != "/" else "").lstrip("/")  # a container has only a part of the tree
    events = Path(mount[2]) / below / "memory.events"
    return events if os.access(events, os.R_OK) else None
