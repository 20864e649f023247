"""A loaded model: slots for requests that compute, a line without limit for those that wait."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from demo.ollama_simulator.catalogue import Model
from demo.ollama_simulator.options import LoadOptions
from demo.ollama_simulator.timestamp import FOREVER_NS


class Runner:
    """`users` counts requests that compute or wait; the scheduler unloads at zero, after `keep_alive_seconds`."""

    def __init__(self, model: Model, options: LoadOptions, num_parallel: int, keep_alive_seconds: float) -> None:
        self.model = model
        self.options = options
        self.keep_alive_seconds = keep_alive_seconds
        self.users = 0
        self.running = 0
        self.unloaded = asyncio.Event()
        self.expiry: asyncio.TimerHandle | None = None
        self._expires_at_ns: int | None = None
        self._slots = asyncio.Semaphore(num_parallel)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """First come, first served; a caller that is cancelled leaves the line, or its slot, at once."""
        async with self._slots:
            self.running += 1
            try:
                yield
            finally:
                self.running -= 1

    def take(self) -> None:
        self.users += 1
        if self.expiry is not None:
            self.expiry.cancel()

    def set_expiry(self) -> None:
        """`expires_at` moves only here, when the runner becomes idle or is told to go: a busy one shows an old time."""
        self._expires_at_ns = self._from_now_ns()

    @property
    def expires_at_ns(self) -> int:
        return self._from_now_ns() if self._expires_at_ns is None else self._expires_at_ns

    def _from_now_ns(self) -> int:
        is_finite = math.isfinite(self.keep_alive_seconds)
        return time.time_ns() + (int(self.keep_alive_seconds * 1e9) if is_finite else FOREVER_NS)
