"""What admission asks of the database, done on the monitor's one connection between its looks at the queue."""

import asyncio
import random
import time
from collections.abc import Callable

from worker.queue.dead_leases import AsyncConnection
from worker.queue.model_lock import ModelLockKeys, acquire_model_lock, is_in_use, release_model_lock
from worker.queue.permits import Permits

RETRY_SECONDS = 0.2  # while another instance is in the other phase; with jitter, as two may have met
IDLE_SECONDS = 3600.0


class ModelLockClient:
    """`models` on one `endpoint`; with fewer than two there are no phases.

    `on_model_lock` is told whose phase is ours now; `stir` tells who owns the connection that there is something to do.
    """

    def __init__(self, endpoint: str, models: tuple[str, ...]) -> None:
        self._endpoint, self._models = endpoint, models
        self._wanted: str | None = None
        self._held: str | None = None
        self._retry_at_seconds = float("-inf")
        self._questions: list[tuple[str, asyncio.Future[bool]]] = []
        self.on_model_lock: Callable[[str | None], None] = lambda _: None
        self.stir: Callable[[], None] = lambda: None

    def want(self, model: str | None) -> None:
        """None: leave the phase. Tried again and again until it is so."""
        if model != self._wanted:
            self._wanted, self._retry_at_seconds = model, float("-inf")
            self.stir()

    async def is_asked(self, model: str) -> bool:
        """Whether a worker of any instance is in a call to the model. Waits for the database."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._questions.append((model, answer))
        self.stir()
        return await answer

    def due_in_seconds(self) -> float:
        """When there is something to do again."""
        if self._questions:
            return 0.0
        return max(0.0, self._retry_at_seconds - time.monotonic()) if self._wanted != self._held else IDLE_SECONDS

    async def serve(self, connection: AsyncConnection) -> None:
        """Everything that is due."""
        while self._questions:
            model, answer = self._questions[0]
            is_busy = await is_in_use(connection, Permits.of(self._endpoint, model, 0))
            self._questions.pop(0)
            if not answer.done():
                answer.set_result(is_busy)
        if self._wanted != self._held and time.monotonic() >= self._retry_at_seconds:
            await self._change(connection)

    def lost(self) -> None:
        """The connection is gone, and the lock with it."""
        self._hold(None)

    async def _change(self, connection: AsyncConnection) -> None:
        """Out of the one phase before into the other."""
        if self._held is not None:
            await release_model_lock(connection, self._keys(self._held))
            self._hold(None)
        if self._wanted is not None and await acquire_model_lock(connection, self._keys(self._wanted)):
            self._hold(self._wanted)
        else:
            self._retry_at_seconds = time.monotonic() + RETRY_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311  no secret

    def _hold(self, model: str | None) -> None:
        if model != self._held:
            self._held = model
            self.on_model_lock(model)

    def _keys(self, model: str) -> ModelLockKeys:
        other = next(each for each in self._models if each != model)
        return ModelLockKeys.of(self._endpoint, model, other)
