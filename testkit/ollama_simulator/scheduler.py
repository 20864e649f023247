"""Load, evict and expire models, one load at a time (Ollama's server/sched.go)."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.host import Host
from testkit.ollama_simulator.options import LoadOptions
from testkit.ollama_simulator.runner import Runner, RunnerDiedError
from testkit.ollama_simulator.settings import Settings

QUEUE_FULL = (503, "server busy, please try again.  maximum pending requests exceeded")
LOAD_KILLED = (500, "llama-server process has terminated: signal: killed")


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A request that needs a load. The future is cancelled when the client disconnects."""

    model: Model
    options: LoadOptions
    runner: asyncio.Future[Runner]


class Scheduler:
    """A request for a model that is loaded with the same options starts at once.

    All others wait in one queue. Only its first request is served: the others wait until that model is loaded.
    """

    def __init__(self, settings: Settings, host: Host) -> None:
        self.loading: Runner | None = None
        self._settings = settings
        self._host = host
        self._runners: dict[str, Runner] = {}
        self._pending: deque[Pending] = deque()
        self._worker: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def runner(self, model: Model, options: LoadOptions, keep_alive_seconds: float | None) -> AsyncIterator[Runner]:
        """Hold the runner for the length of the block. The latest keep_alive of any request applies.

        Raises ApiError 503 when the queue is full, 500 when the model's process dies during the load.
        """
        runner = self._loaded(model, options)
        if runner is not None:
            runner.take()
        else:
            runner = await self._queued(model, options)
        if keep_alive_seconds is not None and not runner.is_leaving:
            runner.keep_alive_seconds = keep_alive_seconds
        try:
            yield runner
        finally:
            self._give_back(runner)

    def expire(self, model: Model) -> None:
        """Unload now if idle, else after the last request."""
        runner = self._runners.get(model.name)
        if runner is not None:
            self._expire(runner)

    def runners(self) -> list[Runner]:
        """Return the loaded runners in the order of /api/ps: the latest to expire first, by whole seconds."""
        return sorted(self._runners.values(), key=lambda runner: -(runner.expires_at_ns // 1_000_000_000))

    def _loaded(self, model: Model, options: LoadOptions) -> Runner | None:
        runner = self._runners.get(model.name)
        return runner if runner is not None and runner.options == options and not runner.is_dead else None

    async def _queued(self, model: Model, options: LoadOptions) -> Runner:
        """Wait for the runner and take it. A cancelled request keeps its place in the queue until its turn, as in Ollama."""
        if len(self._pending) > self._settings.max_queue:  # the first one has left Ollama's queue
            raise ApiError(*QUEUE_FULL)
        pending = Pending(model, options, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await pending.runner
        except asyncio.CancelledError:
            if not pending.runner.cancelled() and pending.runner.exception() is None:
                self._give_back(pending.runner.result())  # cancelled just after it was served
            raise

    async def _work(self) -> None:
        while self._pending:
            pending = self._pending[0]
            try:
                await self._serve(pending)
            except ApiError as error:
                if not pending.runner.done():
                    pending.runner.set_exception(error)
            finally:
                self._pending.popleft()

    async def _serve(self, pending: Pending) -> None:
        """Wait for a busy victim without a limit, even if the client disconnects meanwhile."""
        runner = None
        while not pending.runner.done() and runner is None:
            runner = self._loaded(pending.model, pending.options)
            victim = self._victim(pending.model)
            if runner is None and victim is not None:
                self._evict(victim)
                await victim.unloaded.wait()
            elif runner is None:
                runner = await self._load(pending)
        if runner is not None and not pending.runner.done():
            runner.take()
            pending.runner.set_result(runner)

    def _victim(self, model: Model) -> Runner | None:
        """Return the runner to unload first: the same model, dead or loaded with other options. If the limit of loaded models is
        reached: the one with the shortest keep_alive, idle ones before busy ones.
        """
        if model.name in self._runners:
            return self._runners[model.name]
        if len(self._runners) < self._settings.max_loaded_models:
            return None
        ordered = sorted(self._runners.values(), key=lambda runner: (runner.keep_alive_seconds, runner.model.name))
        return next((runner for runner in ordered if runner.users == 0), ordered[0])

    def _evict(self, victim: Runner) -> None:
        """Evict. With Ollama's bug a later request with a keep_alive cancels the eviction (docs/ollama-api.md 4.5)."""
        victim.is_leaving = not self._settings.resurrection_bug
        self._expire(victim)

    async def _load(self, pending: Pending) -> Runner | None:
        """Load for one request. If its client disconnects, the load is lost and the next one starts again."""
        await self._host.settled()
        runner = Runner(pending.model, pending.options, self._settings)
        self.loading = runner
        self._host.admit(runner)
        try:
            async with runner.life():
                await asyncio.wait([pending.runner], timeout=self._settings.load_seconds)
        except RunnerDiedError as error:
            raise ApiError(*LOAD_KILLED) from error
        finally:
            self.loading = None
            if runner.is_dead or pending.runner.done():
                self._host.release(runner)
        if pending.runner.done():
            return None
        self._runners[pending.model.name] = runner
        return runner

    def _expire(self, runner: Runner) -> None:
        runner.keep_alive_seconds = 0
        runner.set_expiry()
        self._unload_if_idle(runner)

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
        """Unload. The runner disappears from ps before its memory is free."""
        if runner.users == 0 and self._runners.get(runner.model.name) is runner:
            del self._runners[runner.model.name]
            self._host.release(runner)
            runner.unloaded.set()
