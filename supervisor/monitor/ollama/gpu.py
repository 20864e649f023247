"""Memory of NVIDIA cards, through the optional extra `gpu`. Without it, a driver or a card there is nothing to tell."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any


class Gpu:
    """NVML, opened once. Absent quietly: most hosts have none."""

    def __init__(self) -> None:
        self._nvml = _opened()

    def held_bytes(self, pids: Collection[int]) -> int | None:
        """What these processes hold on all cards; None where nobody can tell (in a container the driver knows no pids)."""
        by_card = self._of_each_card("nvmlDeviceGetComputeRunningProcesses")
        if by_card is None:
            return None
        holders = [holder for card in by_card for holder in card]
        sizes = [each.usedGpuMemory for each in holders if each.pid in pids and each.usedGpuMemory is not None]
        return sum(sizes) if sizes or not holders else None

    def free_bytes(self) -> int | None:
        """What nobody holds on all cards; None without a card."""
        memories = self._of_each_card("nvmlDeviceGetMemoryInfo")
        return sum(memory.free for memory in memories) if memories else None

    def _of_each_card(self, question: str) -> list[Any] | None:
        if self._nvml is None:
            return None
        try:
            cards = [self._nvml.nvmlDeviceGetHandleByIndex(number) for number in range(self._nvml.nvmlDeviceGetCount())]
            return [getattr(self._nvml, question)(card) for card in cards]
        except self._nvml.NVMLError:  # a driver that was just replaced: not known now
            return None


def _opened() -> Any:
    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            return pynvml
    return None
