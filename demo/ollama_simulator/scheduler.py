"""Which models are loaded: one load at a time, expiry by keep_alive (Ollama's server/sched.go)."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from demo.ollama_simulator.catalogue import Model
from demo.ollama_simulator.keep_alive import DEFAULT_SECONDS
from demo.ollama_simulator.options import LoadOptions
from demo.ollama_simulator.runner import Runner


class Scheduler:
    """A request for a model that is loaded as wanted goes straight to it; any other waits for its load, in order."""

    def __init__(self, num_parallel: int, load_seconds: float) -> None:
        self.loading: str | None = None
        self._num_parallel = num_parallel
        self._load_seconds = load_seconds
        self._runners: dict[str, Runner] = {}
        self._loads = asyncio.Lock()

    @asynccontextmanager
    async def runner(self, model: Model, options: LoadOptions, keep_alive_seconds: float | None) -> AsyncIterator[Runner]:
        """Holds the runner as long as the block lasts. The last request that names a keep_alive decides it for all."""
        runner = self._loaded(model, options)
        if runner is None:
            async with self._loads:
                runner = self._loaded(model, options) or await self._load(model, options)
        runner.take()
        if keep_alive_seconds is not None:
            runner.keep_alive_seconds = keep_alive_seconds
        try:
            yield runner
        finally:
            self._give_back(runner)

    def expire(self, model: Model) -> None:
        """Unloads now if idle, else as soon as the last request has ended."""
        runner = self._runners.get(model.name)
        if runner is not None:
            runner.keep_alive_seconds = 0
            runner.set_expiry()
            self._unload_if_idle(runner)

    def runners(self) -> list[Runner]:
        """Those loaded; the latest to expire first, by whole seconds, as /api/ps lists them."""
        return sorted(self._runners.values(), key=lambda runner: -(runner.expires_at_ns // 1_000_000_000))

    def _loaded(self, model: Model, options: LoadOptions) -> Runner | None:
        runner = self._runners.get(model.name)
        return runner if runner is not None and runner.options == options and not runner.is_dead else None

    async def _load(self, model: Model, options: LoadOptions) -> Runner:
        """Bound to the first request: if its client leaves, the load is lost, and the next one starts from zero."""
        other = self._runners.get(model.name)
        if other is not None:
            self.expire(model)
            await other.unloaded.wait()
        self.loading = model.name
        try:
            await asyncio.sleep(self._load_seconds)
        finally:
            self.loading = None
        runner = Runner(model, options, self._num_parallel, DEFAULT_SECONDS)
        self._runners[model.name] = runner
        return runner

    def _give_back(self, runner: Runner) -> None:
        runner.users -= 1
        if runner.users > 0:
            return
        runner.set_expiry()
        if runner.keep_alive_seconds == 0:
            self._unload_if_idle(runner)
        elif math.isfinite(runner.keep_alive_seconds):
            loop = asyncio.get_running_loop()
            runner.expiry = loop.call_later(runner.keep_alive_seconds, self._unload_if_idle, runner)

    def _unload_if_idle(self, runner: Runner) -> None:
        if runner.users == 0 and self._runners.get(runner.model.name) is runner:
            del self._runners[runner.model.name]
            runner.unloaded.set()
