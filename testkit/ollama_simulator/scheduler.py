"""Which models are loaded: one load at a time, eviction, expiry by keep_alive (Ollama's server/sched.go)."""

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
    """A request that needs a load. Its client has left when the future is cancelled."""

    model: Model
    options: LoadOptions
    runner: asyncio.Future[Runner]


class Scheduler:
    """A request for a model that is loaded as wanted goes straight to it, past all others. Any other stands in line, and the
    first in line alone is worked on: until its place is free and its model loaded, everybody behind it waits.
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
        """Holds the runner as long as the block lasts. The last request that names a keep_alive decides it for all.

        ApiError 503 when the line is full, 500 when the model's process does not survive the load.
        """
        runner = self._loaded(model, options)
        if runner is not None:
            runner.take()
        else:
            runner = await self._in_line(model, options)
        if keep_alive_seconds is not None and not runner.is_leaving:
            runner.keep_alive_seconds = keep_alive_seconds
        try:
            yield runner
        finally:
            self._give_back(runner)

    def expire(self, model: Model) -> None:
        """Unloads now if idle, else as soon as the last request has ended."""
        runner = self._runners.get(model.name)
        if runner is not None:
            self._expire(runner)

    def runners(self) -> list[Runner]:
        """Those loaded; the latest to expire first, by whole seconds, as /api/ps lists them."""
        return sorted(self._runners.values(), key=lambda runner: -(runner.expires_at_ns // 1_000_000_000))

    def _loaded(self, model: Model, options: LoadOptions) -> Runner | None:
        runner = self._runners.get(model.name)
        return runner if runner is not None and runner.options == options and not runner.is_dead else None

    async def _in_line(self, model: Model, options: LoadOptions) -> Runner:
        """The runner, already taken. Who leaves the line keeps its place occupied until it comes to the front, as in Ollama."""
        if len(self._pending) > self._settings.max_queue:  # the first is no longer in Ollama's queue
            raise ApiError(*QUEUE_FULL)
        pending = Pending(model, options, asyncio.get_running_loop().create_future())
        self._pending.append(pending)
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        try:
            return await pending.runner
        except asyncio.CancelledError:
            if not pending.runner.cancelled() and pending.runner.exception() is None:
                self._give_back(pending.runner.result())  # left in the moment in which it was served
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
        """Waits without a limit for a victim that is busy, even for a client that has left meanwhile."""
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
        """Who has to go first: the same model, loaded otherwise or dead; or, where all places are taken, not the one that was
        used longest ago but the one with the shortest keep_alive, the idle before the busy.
        """
        if model.name in self._runners:
            return self._runners[model.name]
        if len(self._runners) < self._settings.max_loaded_models:
            return None
        ordered = sorted(self._runners.values(), key=lambda runner: (runner.keep_alive_seconds, runner.model.name))
        return next((runner for runner in ordered if runner.users == 0), ordered[0])

    def _evict(self, victim: Runner) -> None:
        """With Ollama's bug a request with a keep_alive undoes this (ollama.md, 4.5)."""
        victim.is_leaving = not self._settings.resurrection_bug
        self._expire(victim)

    async def _load(self, pending: Pending) -> Runner | None:
        """Bound to its request: if the client leaves, the load is lost, and the next one starts from zero."""
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
        """It is gone from ps before its memory is back."""
        if runner.users == 0 and self._runners.get(runner.model.name) is runner:
            del self._runners[runner.model.name]
            self._host.release(runner)
            runner.unloaded.set()
