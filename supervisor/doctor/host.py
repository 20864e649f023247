"""How much memory this host has for Ollama."""

from dataclasses import dataclass
from pathlib import Path

MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Host:
    """Bytes. `available_bytes` is what programs could still take without anything being swapped (proc(5), MemAvailable)."""

    total_bytes: int
    available_bytes: int
    cores: int


def host(cores: int, meminfo: Path = MEMINFO) -> Host:
    lines = (line.partition(":") for line in meminfo.read_text().splitlines())
    kibibytes = {name: int(size.split()[0]) for name, _, size in lines}
    return Host(kibibytes["MemTotal"] * 1024, kibibytes["MemAvailable"] * 1024, cores)
