"""Memory of NVIDIA cards, through the optional extra `gpu`. Everything is None without the extra, a driver or a card."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any


class Gpu:
    """NVML, opened once. A missing library or driver is not logged, because most hosts have no card."""

    def __init__(self) -> None:
        self._nvml = _opened()

    def used_bytes(self, pids: Collection[int]) -> int | None:
        """Memory of these processes on all cards. None if unknown, as in a container, where the driver sees no pids."""
        by_card = self._of_each_card("nvmlDeviceGetComputeRunningProcesses")
        if by_card is None:
            return None
        holders = [holder for card in by_card for holder in card]
        sizes = [each.usedGpuMemory for each in holders if each.pid in pids and each.usedGpuMemory is not None]
        return sum(sizes) if sizes or not holders else None

    def free_bytes(self) -> int | None:
        """Free memory of all cards. None without a card."""
        memories = self._of_each_card("nvmlDeviceGetMemoryInfo")
        return sum(memory.free for memory in memories) if memories else None

    def _of_each_card(self, query: str) -> list[Any] | None:
        if self._nvml is None:
            return None
        try:
            cards = [self._nvml.nvmlDeviceGetHandleByIndex(number) for number in range(self._nvml.nvmlDeviceGetCount())]
            return [getattr(self._nvml, query)(card) for card in cards]
        except self._nvml.NVMLError:  # for example a driver that is being replaced
            return None


def _opened() -> Any:
    with suppress(ImportError):
        import pynvml

        with suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            return pynvml
    return None
