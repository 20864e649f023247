"""Memory of this host, Ollama's share of it, and memory pressure. A measurement reads a few files of the kernel."""

import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from supervisor.admission.facts import HostMeasured
from supervisor.monitor.ollama.gpu import Gpu
from supervisor.monitor.ollama.processes import OllamaProcesses
from supervisor.settings.model import Settings
from worker.ollama.address import LOOPBACK

PROC = Path("/proc")
MAX_READ_CHARACTERS = 65_536
_PRESSURE = re.compile(r"^some avg10=(\d+\.\d+)", re.MULTILINE)


class Host:
    """`cgroup` is the directory of Ollama's control group (cgroup v2), or None. It is preferred to Ollama's processes.

    An Ollama that is not on loopback runs on another host or in a container, so its processes cannot be measured here.
    """

    def __init__(self, base_url: str, cgroup: Path | None) -> None:
        parts = urlsplit(base_url)
        self._cgroup, self._gpu = cgroup, Gpu()
        self._processes = OllamaProcesses(parts.port or 80) if parts.hostname in LOOPBACK else None

    @classmethod
    def of(cls, settings: Settings) -> "Host":
        cgroup = settings.supervisor.ollama_cgroup
        return cls(settings.worker.ollama_base_url, Path(cgroup) if cgroup else None)

    @property
    def is_remote(self) -> bool:
        """True if Ollama's memory cannot be measured on this host."""
        return self._processes is None and self._cgroup is None

    def measured(self) -> HostMeasured:
        now_seconds = time.monotonic()
        sizes = _table(_text(PROC / "meminfo"))
        total_bytes, available_bytes = sizes.get("MemTotal", 0) * 1024, sizes.get("MemAvailable", 0) * 1024
        used_bytes = self._used_bytes(now_seconds)
        max_bytes = _number(_text(self._cgroup / "memory.max")) if self._cgroup else None
        if max_bytes is not None and max_bytes < total_bytes:
            total_bytes, available_bytes = max_bytes, min(available_bytes, max(0, max_bytes - (used_bytes or 0)))
        return HostMeasured(
            ollama_bytes=used_bytes,
            available_bytes=available_bytes,
            total_bytes=total_bytes,
            pressure=_pressure(_text(PROC / "pressure" / "memory")),
            gpu_bytes=self._gpu.used_bytes(self._processes.pids(now_seconds)) if self._processes else None,
            gpu_free_bytes=self._gpu.free_bytes() if not self.is_remote else None,
            at_seconds=now_seconds,
        )

    def _used_bytes(self, now_seconds: float) -> int | None:
        if self._cgroup is not None and (used_bytes := cgroup_bytes(self._cgroup)) is not None:
            return used_bytes
        return self._processes.size_bytes(now_seconds) if self._processes else None


def cgroup_bytes(cgroup: Path) -> int | None:
    """memory.current without inactive file pages, because the kernel frees those at once when memory is needed."""
    current_bytes = _number(_text(cgroup / "memory.current"))
    if current_bytes is None:
        return None
    return max(0, current_bytes - _table(_text(cgroup / "memory.stat")).get("inactive_file", 0))


def total_memory_bytes() -> int:
    """Memory of this host, used and free."""
    return _table(_text(PROC / "meminfo")).get("MemTotal", 0) * 1024


def _text(path: Path) -> str:
    """Empty if the file does not exist or is not readable."""
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            return file.read(MAX_READ_CHARACTERS)
    except OSError:
        return ""


def _table(text: str) -> dict[str, int]:
    """Parses lines `name: number unit` and `name number`."""
    pairs = (line.replace(":", " ").split()[:2] for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _number(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None


def _pressure(text: str) -> float | None:
    """The share of the last ten seconds in which some process waited for memory."""
    found = _PRESSURE.search(text)
    return float(found[1]) / 100 if found else None
