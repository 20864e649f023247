"""The memory that the runners share, and the kernel that kills a runner when it is exhausted."""

import asyncio

from testkit.ollama_simulator.runner import Runner


class Host:
    """`memory_bytes` None means no limit. The memory of an unloaded runner is free `return_seconds` later."""

    def __init__(self, memory_bytes: int | None, return_seconds: float) -> None:
        self.memory_bytes = memory_bytes
        self.killed_runners = 0
        self.returning_bytes = 0
        self._return_seconds = return_seconds
        self._runners: list[Runner] = []
        self._is_settled = asyncio.Event()
        self._is_settled.set()

    @property
    def used_bytes(self) -> int:
        return sum(runner.true_bytes for runner in self._runners) + self.returning_bytes

    def admit(self, runner: Runner) -> None:
        self._runners.append(runner)
        self.press()

    def press(self) -> None:
        """Kill the largest runners until the rest fits. Call this after a runner has grown."""
        while self.memory_bytes is not None and self.used_bytes > self.memory_bytes:
            biggest = max(self._runners, key=lambda runner: runner.true_bytes, default=None)
            if biggest is None or biggest.is_dead:
                return
            biggest.kill()
            self.killed_runners += 1

    def release(self, runner: Runner) -> None:
        self._runners.remove(runner)
        if self.memory_bytes is None or not runner.true_bytes:
            return
        self.returning_bytes += runner.true_bytes
        self._is_settled.clear()
        asyncio.get_running_loop().call_later(self._return_seconds, self._return, runner.true_bytes)

    async def settled(self) -> None:
        """Wait until the memory of unloaded runners is free, as Ollama does before a load (docs/ollama-api.md 3.4)."""
        await self._is_settled.wait()

    def _return(self, size_bytes: int) -> None:
        self.returning_bytes -= size_bytes
        if not self.returning_bytes:
            self._is_settled.set()
