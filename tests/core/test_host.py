"""Memory of the host and of Ollama's cgroup: read from files as the kernel writes them, and from none where there are none."""

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
def test_what_the_kernel_tells_is_told() -> None:
    """Total and available memory, and the pressure as a share."""
    seen = Host(REMOTE, None).measured()
    assert (seen.total_bytes, seen.available_bytes, seen.pressure) == (16 * GIB, 8 * GIB, 0.125)


def test_a_kernel_without_pressure_tells_none(proc: Path) -> None:
    """Not every kernel has PSI: that is no pressure of 0."""
    (proc / "pressure" / "memory").unlink()
    assert Host(REMOTE, None).measured().pressure is None


@pytest.mark.usefixtures("proc")
def test_of_a_remote_ollama_nothing_is_seen() -> None:
    """Processes of this host are not its own, and that is said."""
    remote = Host(REMOTE, None)
    assert remote.is_remote
    assert remote.measured().ollama_bytes is None


@pytest.mark.usefixtures("proc")
def test_a_cgroup_counts_what_it_cannot_do_without(tmp_path: Path) -> None:
    """Its memory without the file pages that nobody used lately, and its limit in the host's place where that is less."""
    group = cgroup(tmp_path, current=6 * GIB, max=8 * GIB, stat=f"anon 1\ninactive_file {2 * GIB}\nactive_file 7")
    watched = Host(REMOTE, group)
    seen = watched.measured()
    assert not watched.is_remote
    assert (seen.ollama_bytes, seen.total_bytes, seen.available_bytes) == (4 * GIB, 8 * GIB, 4 * GIB)


@pytest.mark.usefixtures("proc")
def test_a_cgroup_without_a_limit_has_the_host_s(tmp_path: Path) -> None:
    """The kernel writes `max` then; and a group that has gone holds nothing that is known."""
    group = cgroup(tmp_path, current=GIB, max="max")
    watched = Host(REMOTE, group)
    assert (watched.measured().ollama_bytes, watched.measured().total_bytes) == (GIB, 16 * GIB)
    (group / "memory.current").unlink()
    assert watched.measured().ollama_bytes is None


# Cards: there is none here, so the library's place is taken by what it would say


class Nvml(types.ModuleType):
    """Two cards; processes 1 and 2 hold memory there, of 3 the driver does not know how much."""

    class NVMLError(Exception):
        """As the library names it."""

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


@pytest.mark.parametrize(("pids", "held_bytes"), [({1}, 3 * GIB), ({3}, None), ({4}, None)])
def test_cards_hold_what_our_processes_hold_on_all_of_them(
    pids: set[int], held_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' memory is not Ollama's, and what the driver does not know is not 0."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    assert Gpu().held_bytes(pids) == held_bytes


@pytest.mark.usefixtures("proc")
def test_what_is_free_on_all_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this host; a remote Ollama has cards of its own."""
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    seen = [Host(url, None).measured().gpu_free_bytes for url in ("http://127.0.0.1:11434", REMOTE)]
    assert seen == [3 * GIB, None]


@pytest.mark.parametrize("module", [None, Nvml(works=False)])
def test_without_library_or_driver_nothing_is_told(module: types.ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is optional, and so are the driver and the card."""
    monkeypatch.setitem(sys.modules, "pynvml", module)
    assert (Gpu().held_bytes({1}), Gpu().free_bytes()) == (None, None)
