"""A loaded model: slots for running requests, an unlimited queue for waiting ones, and its death."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.footprint import footprint
from testkit.ollama_simulator.keep_alive import DEFAULT_SECONDS
from testkit.ollama_simulator.options import LoadOptions
from testkit.ollama_simulator.settings import Settings
from testkit.ollama_simulator.timestamp import FOREVER_NS


class RunnerDiedError(Exception):
    """The runner's process died during a request to it."""


class Runner:
    """`users` counts running and waiting requests. The scheduler unloads at zero, after `keep_alive_seconds`.

    `is_leaving`: the runner is being evicted and ignores keep_alive. A dead runner stays in the scheduler's list and in ps
    until the next request for its model.
    """

    def __init__(self, model: Model, options: LoadOptions, settings: Settings) -> None:
        num_parallel = 1 if model.build.is_serial else settings.num_parallel
        self.model = model
        self.options = options
        self.footprint = footprint(model, options, num_parallel, settings)
        self.keep_alive_seconds = DEFAULT_SECONDS
        self.is_leaving = False
        self.users = 0
        self.running = 0
        self.is_dead = False
        self.unloaded = asyncio.Event()
        self.expiry: asyncio.TimerHandle | None = None
        self._expires_at_ns: int | None = None
        self._slots = asyncio.Semaphore(num_parallel)
        self._lives: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot for the length of the block. Slots are given in order, a cancelled caller frees its place at once.

        Raises RunnerDiedError if the runner dies while the block runs or waits.
        """
        async with self.life(), self._slots:
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """End the block with RunnerDiedError when the runner dies. An asyncio timeout without a time is used as the signal."""
        if self.is_dead:
            raise RunnerDiedError
        life = asyncio.timeout(None)
        try:
            async with life:
                self._lives.add(life)
                yield
        except TimeoutError as error:
            if not life.expired():
                raise
            raise RunnerDiedError from error
        finally:
            self._lives.discard(life)

    def kill(self) -> None:
        """Kill the runner like the kernel. All blocks in `life` end with an error."""
        if not self.is_dead:
            self.is_dead = True
            for life in self._lives:
                life.reschedule(asyncio.get_running_loop().time())

    @property
    def true_bytes(self) -> int:
        """0 after its death, because the kernel frees all memory at once."""
        return 0 if self.is_dead else self.footprint.true_bytes

    def take(self) -> None:
        self.users += 1
        if self.expiry is not None:
            self.expiry.cancel()

    def set_expiry(self) -> None:
        """Update `expires_at`. This happens only when the runner becomes idle or is evicted, so a busy one shows an old time."""
        self._expires_at_ns = self._from_now_ns()

    @property
    def expires_at_ns(self) -> int:
        return self._from_now_ns() if self._expires_at_ns is None else self._expires_at_ns

    def _from_now_ns(self) -> int:
        is_finite = math.isfinite(self.keep_alive_seconds)
        return time.time_ns() + (int(self.keep_alive_seconds * 1e9) if is_finite else FOREVER_NS)
