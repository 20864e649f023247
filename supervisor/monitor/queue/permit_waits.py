"""Slots that wait for a permit, holders of permits, and lost permits. Pure: `permit_watch` queries the database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from worker.ipc.scoreboard import MAX_CALLS
from worker.queue.permit_sessions import PermitSession

Identity = tuple[str, int, str, int | None]


@dataclass(frozen=True, slots=True)
class PermitHolder:
    """Holder of one permit. `backend_pid` is the server process of its session, None for a permit of this host.

    `is_overdue`: it holds the permit for no job.
    """

    model: str
    number: int
    name: str
    address: str | None = None
    backend_pid: int | None = None
    quiet_seconds: float | None = None
    is_overdue: bool = False

    @classmethod
    def of(cls, session: PermitSession, model: str) -> "PermitHolder":
        name = session.application_name or "a session without a name"
        return cls(
            model, session.number, name, session.client_address, session.backend_pid, session.quiet_seconds, session.is_overdue
        )

    @classmethod
    def of_host(cls, pid: int, model: str, number: int, *, is_alive: bool, has_lease: bool) -> "PermitHolder":
        """Describe the socket of a process. If the process has ended, one that it had started keeps the socket open."""
        name = f"process {pid} of this host" if is_alive else f"a process that outlived process {pid} of this host"
        return cls(model, number, name, is_overdue=not (is_alive and has_lease))

    @property
    def identity(self) -> Identity:
        return self.model, self.number, self.name, self.backend_pid


@dataclass(frozen=True, slots=True)
class SlotWait:
    """Wait of one slot's worker in one job since `since_seconds` (monotonic). The model is None until a search has found it."""

    job_id: UUID | None
    backend_pid: int
    since_seconds: float
    model: str | None = None


@dataclass(frozen=True, slots=True)
class PermitWait:
    """Slots that wait for a permit of one model, since when (monotonic) at the longest, and the holders of its permits."""

    model: str
    slots: tuple[int, ...]
    since_seconds: float
    holders: tuple[PermitHolder, ...]


@dataclass(frozen=True, slots=True)
class LostPermit:
    """Permit that is held for no job since `since_seconds` (monotonic) and was still held at the search after that."""

    holder: PermitHolder
    since_seconds: float


def permit_waits(
    waits: Mapping[int, SlotWait], holders: Iterable[PermitHolder], started_by_seconds: float
) -> tuple[PermitWait, ...]:
    """Group the waits that have lasted since `started_by_seconds` by their model. A wait without a known model is left out."""
    long = {slot: wait for slot, wait in waits.items() if wait.since_seconds <= started_by_seconds and wait.model}
    return tuple(
        PermitWait(
            model,
            tuple(slot for slot, wait in long.items() if wait.model == model),
            min(wait.since_seconds for wait in long.values() if wait.model == model),
            tuple(holder for holder in holders if holder.model == model),
        )
        for model in sorted({wait.model for wait in long.values() if wait.model})
    )


def as_bits(lost: Iterable[LostPermit], model: str) -> int:
    """Return the numbers of a model's lost permits as bits for the scoreboard, which has no place for higher ones."""
    numbers = {each.holder.number for each in lost if each.holder.model == model and each.holder.number <= MAX_CALLS}
    return sum(1 << number - 1 for number in numbers)
