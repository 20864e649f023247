"""Memory of the host and of Ollama's cgroup, read from files as the kernel writes them. Any of them may be missing."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from supervisor.monitor.ollama import host
from supervisor.monitor.ollama.gpu import Gpu
from supervisor.monitor.ollama.host import Host

REMOTE, GIB = "http://ollama:11434", 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n"
PRESSURE = "some avg10=12.50 avg60=0.00 avg300=0.00 total=0\nfull avg10=3.00 avg60=0.00 avg300=0.00 total=0\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of 16 GiB, half of them available."""
    (tmp_path / "pressure").mkdir()
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "pressure" / "memory").write_text(PRESSURE)
    monkeypatch.setattr(host, "PROC", tmp_path)
    return tmp_path


def cgroup(directory: Path, **files: object) -> Path:
    group = directory / "ollama.service"
    group.mkdir()
    for name, text in files.items():
        (group / f"memory.{name}").write_text(f"{text}\n")
    return group


@pytest.mark.usefixtures("proc")
def test_values_of_the_kernel_are_read() -> None:
    """Total and available memory, and the pressure as a share."""
    measured = Host(REMOTE, None).measured()
    assert (measured.total_bytes, measured.available_bytes, measured.pressure) == (16 * GIB, 8 * GIB, 0.125)


def test_a_kernel_without_pressure_has_none(proc: Path) -> None:
    """Not every kernel has PSI. Unknown pressure is not a pressure of 0."""
    (proc / "pressure" / "memory").unlink()
    assert Host(REMOTE, None).measured().pressure is None


@pytest.mark.usefixtures("proc")
def test_a_remote_ollama_is_not_measured() -> None:
    """Processes of this host are not those of the remote server."""
    remote = Host(REMOTE, None)
    assert remote.is_remote
    assert remote.measured().ollama_bytes is None


@pytest.mark.usefixtures("proc")
def test_a_cgroup_counts_without_inactive_file_pages(tmp_path: Path) -> None:
    """The kernel can free inactive file pages at once. The group's limit counts if it is below the host's memory."""
    group = cgroup(tmp_path, current=6 * GIB, max=8 * GIB, stat=f"anon 1\ninactive_file {2 * GIB}\nactive_file 7")
    host_of_ollama = Host(REMOTE, group)
    measured = host_of_ollama.measured()
    assert not host_of_ollama.is_remote
    assert (measured.ollama_bytes, measured.total_bytes, measured.available_bytes) == (4 * GIB, 8 * GIB, 4 * GIB)


@pytest.mark.usefixtures("proc")
def test_a_cgroup_without_a_limit_has_the_host_s(tmp_path: Path) -> None:
    """The kernel then writes `max`. The memory of a removed group is unknown."""
    group = cgroup(tmp_path, current=GIB, max="max")
    host_of_ollama = Host(REMOTE, group)
    assert (host_of_ollama.measured().ollama_bytes, host_of_ollama.measured().total_bytes) == (GIB, 16 * GIB)
    (group / "memory.current").unlink()
    assert host_of_ollama.measured().ollama_bytes is None


# Cards: a stand-in replaces the library, because the test machine has no card


class Nvml(types.ModuleType):
    """Two cards. Processes 1 and 2 hold memory there, that of process 3 is unknown to the driver."""

    class NVMLError(Exception):
        """The library's own exception."""

    def __init__(self, *, works: bool = True) -> None:
        super().__init__("pynvml")
        self._is_healthy = works

    def nvmlInit(self) -> None:  # noqa: N802
        if not self._is_healthy:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> int:  # noqa: N802
        return number

    def nvmlDeviceGetMemoryInfo(self, card: int) -> Any:  # noqa: N802
        return types.SimpleNamespace(free=(card + 1) * GIB)

    def nvmlDeviceGetComputeRunningProcesses(self, card: int) -> list[Any]:  # noqa: N802
        held = [(1, GIB), (2, 5 * GIB)] if card == 0 else [(1, 2 * GIB), (3, None)]
        return [types.SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in held]


@pytest.mark.parametrize(("pids", "used_bytes"), [({1}, 3 * GIB), ({3}, None), ({4}, None)])
def test_memory_of_processes_is_summed_over_all_cards(
    pids: set[int], used_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory of other processes is not counted. Unknown memory is None, not 0."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert Gpu().used_bytes(pids) == used_bytes


@pytest.mark.usefixtures("proc")
def test_free_memory_is_summed_over_all_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only on the host of Ollama, because a remote one has other cards."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    measured = [Host(url, None).measured().gpu_free_bytes for url in ("http://127.0.0.1:11434", REMOTE)]
    assert measured == [3 * GIB, None]


@pytest.mark.parametrize("module", [None, Nvml(works=False)])
def test_without_library_or_driver_cards_are_unknown(module: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra, the driver and the card are optional."""
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert (Gpu().used_bytes({1}), Gpu().free_bytes()) == (None, None)
