"""The lock of the model that may be asked, where two models do not fit together. Held by the monitor's connection."""

import random
import time
from collections import deque
from collections.abc import Callable

from supervisor.monitor.queue.permit_waits import PermitHolder
from supervisor.monitor.queue.permit_watch import PermitWatch
from supervisor.monitor.queue.requests import CheckModelUse
from worker.queue.connection import AsyncConnection
from worker.queue.model_lock import ModelLockKeys, acquire_model_lock, is_in_use, release_model_lock
from worker.queue.permits import Permits

RETRY_SECONDS = 0.2  # while another instance holds the other model's lock, with jitter, because two may have collided
FREE_EVERY_SECONDS = 2.0  # while another instance holds the other model's lock: is its monitor alive?
IDLE_SECONDS = 3600.0


class ModelLockClient:
    """Acquires the lock of one of `models` on one `endpoint`. With fewer than two models no lock is ever wanted.

    `on_change` receives the model whose lock is held now, or None.
    """

    def __init__(
        self, endpoint: str, models: tuple[str, ...], permits: PermitWatch, on_change: Callable[[str | None], None]
    ) -> None:
        self._endpoint, self._models, self._permits, self._on_change = endpoint, models, permits, on_change
        self._wanted: str | None = None
        self._held: str | None = None
        self._retry_at_seconds = self._free_at_seconds = float("-inf")
        self._overdue, self._lost_pids = frozenset[PermitHolder](), frozenset[int]()
        self._checks: deque[CheckModelUse] = deque()

    def want(self, model: str | None) -> None:
        """Sets the lock to acquire, None to hold none. `serve` retries until it is so."""
        if model != self._wanted:
            self._wanted, self._retry_at_seconds = model, float("-inf")

    def add_check(self, check: CheckModelUse) -> None:
        self._checks.append(check)

    def due_in_seconds(self) -> float:
        """Time until `serve` has work again."""
        if self._checks:
            return 0.0
        return max(0.0, self._retry_at_seconds - time.monotonic()) if self._wanted != self._held else IDLE_SECONDS

    async def serve(self, connection: AsyncConnection) -> None:
        """Does everything that is due. A check leaves the queue only after its statement was answered."""
        while self._checks:
            check = self._checks[0]
            answer = await is_in_use(
                connection, Permits.of(self._endpoint, check.model, 0, self._permits.lost_numbers(check.model))
            )
            self._checks.popleft()
            if answer:
                self._permits.request_searches()
            if not check.is_in_use.done():
                check.is_in_use.set_result(answer)
        if self._wanted != self._held and time.monotonic() >= self._retry_at_seconds:
            await self._change(connection)

    def connection_lost(self) -> None:
        """The lock ended with its connection."""
        self._set_held(None)

    async def _change(self, connection: AsyncConnection) -> None:
        """Releases the lock that is held, then tries once to acquire the one that is wanted."""
        if self._held is not None:
            await release_model_lock(connection)
            self._set_held(None)
        if self._wanted is not None and await acquire_model_lock(connection, self._keys(self._wanted), self._lost_pids):
            self._set_held(self._wanted)
            self._overdue, self._lost_pids = frozenset(), frozenset()
        else:
            await self._free_other_lock(connection)
            self._retry_at_seconds = time.monotonic() + RETRY_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311  jitter is no secret

    async def _free_other_lock(self, connection: AsyncConnection) -> None:
        """Ends the session of a dead monitor that holds the other model's lock. Searches rarely, because a turn takes its time.

        A session that is still there at the next search is lost, and its lock does not count until the search after that.
        """
        if self._wanted is None or time.monotonic() < self._free_at_seconds:
            return
        self._free_at_seconds = time.monotonic() + FREE_EVERY_SECONDS
        keys = self._keys(self._wanted)
        known = {holder.identity for holder in self._overdue}
        self._overdue = await self._permits.free_model_lock(connection, keys.other, self._other(self._wanted), self._overdue)
        self._lost_pids = frozenset(each.backend_pid for each in self._overdue if each.backend_pid and each.identity in known)

    def _set_held(self, model: str | None) -> None:
        if model != self._held:
            self._held = model
            self._on_change(model)

    def _keys(self, model: str) -> ModelLockKeys:
        return ModelLockKeys.of(self._endpoint, model, self._other(model))

    def _other(self, model: str) -> str:
        return next(each for each in self._models if each != model)
