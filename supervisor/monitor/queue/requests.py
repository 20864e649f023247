"""Requests of the monitor's other tasks to the one that owns the database connection."""

import asyncio
from dataclasses import dataclass

from supervisor.admission.decision import AcquireModelLock
from worker.ipc.channel import ReclaimLeaseRequest


@dataclass(frozen=True, slots=True)
class PollSoon:
    """Poll again in a moment, because a job was entered or put back."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Replace the connection by a new one, because no work moves forward although this one answers."""


@dataclass(frozen=True, slots=True)
class CheckModelUse:
    """Set `is_in_use`: a worker of any instance is in a call to the model."""

    model: str
    is_in_use: asyncio.Future[bool]


DatabaseRequest = PollSoon | Reconnect | ReclaimLeaseRequest | AcquireModelLock | CheckModelUse


class DatabaseRequests:
    """Requests that are not accepted yet, oldest first. They survive an outage of the database.

    A request that equals a pending one replaces it, so that the list stays short during an outage.
    """

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self._pending: dict[DatabaseRequest, None] = {}

    def send(self, request: DatabaseRequest) -> None:
        self._pending.pop(request, None)
        self._pending[request] = None
        self.arrived.set()

    def take_all(self) -> list[DatabaseRequest]:
        taken = list(self._pending)
        self._pending.clear()
        return taken

    async def is_model_in_use(self, model: str) -> bool:
        """Waits until the database has answered."""
        is_in_use: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.send(CheckModelUse(model, is_in_use))
        return await is_in_use
