"""How much memory the workers take, each with the decoder that it has forked, sampled while they work."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from resource import getpagesize


@dataclass(slots=True)
class Memory:
    """`samples`: per worker's pid, (Unix time, bytes)."""

    samples: dict[int, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))

    def sample(self, worker_pids: Collection[int]) -> None:
        used: dict[int, int] = defaultdict(int)
        for pid, parent, rss_bytes in _processes():
            used[pid if pid in worker_pids else parent] += rss_bytes
        for pid in worker_pids:
            self.samples[pid].append((time.time(), used[pid]))

    def peak_mb(self, pid: int, from_seconds: float, until_seconds: float) -> float | None:
        """The largest sample of the time, or of the last one before where it was too short for one."""
        seen = [size for at, size in self.samples[pid] if from_seconds <= at <= until_seconds]
        seen = seen or [size for at, size in self.samples[pid] if at < from_seconds][-1:]
        return round(max(seen) / 1e6, 1) if seen else None


def _processes() -> Iterator[tuple[int, int, int]]:
    """(pid, parent's pid, loaded_model bytes) of every process; of its name, which may hold anything, nothing is read."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            yield int(stat.parent.name), int(fields[1]), int(fields[21]) * getpagesize()
