"""The typed messages between supervisor and monitor, one per packet of a SOCK_SEQPACKET pair, never blocking."""

import os
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worker.ipc.scoreboard import MAX_SLOTS

MAX_MESSAGE_BYTES = 8192  # an answer that names every setting there is

Slot = Annotated[int, Field(ge=0, lt=MAX_SLOTS, strict=True)]
Name = Annotated[str, Field(max_length=48)]


class ReclaimLeaseRequest(BaseModel):
    """Supervisor to monitor: give this dead worker's lease back. `job_id` is None if it died before it knew its job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["return_lease"] = "return_lease"
    job_id: UUID | None
    lease_key: UUID
    is_counted: bool


class LeaseReclaimedReport(BaseModel):
    """Monitor to supervisor: done. `outcome`: returned, quarantined or not_found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lease_returned"] = "lease_returned"
    lease_key: UUID
    outcome: Annotated[str, Field(max_length=32)]


class ScaleCommand(BaseModel):
    """Monitor to supervisor: an operator wants so many workers. `number` is the order's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["scale"] = "scale"
    number: int
    workers: Annotated[int, Field(ge=1, le=MAX_SLOTS, strict=True)]


class RecycleCommand(BaseModel):
    """Monitor to supervisor: new processes in these slots, or in all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["recycle"] = "recycle"
    number: int
    slots: Literal["all"] | Annotated[tuple[Slot, ...], Field(min_length=1, max_length=MAX_SLOTS)]


class ReloadCommand(BaseModel):
    """Monitor to supervisor: read the settings again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["reload"] = "reload"
    number: int


class CommandResult(BaseModel):
    """Supervisor to monitor: what it will do about the order. `names`: the wrong variables, or the slots without a worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["order_answer"] = "order_answer"
    number: int
    outcome: Literal["accepted", "stopping", "no_worker", "wrong_settings"]
    workers: int  # wanted from now on
    names: Annotated[tuple[Name, ...], Field(max_length=128)] = ()


Command = ScaleCommand | RecycleCommand | ReloadCommand
Message = ReclaimLeaseRequest | LeaseReclaimedReport | Command | CommandResult
_ANY: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def send(fd: int, message: Message) -> bool:
    """False if the other side takes nothing now; who sends looks at what is still to be done and tries again."""
    try:
        os.write(fd, message.model_dump_json().encode())
    except OSError:
        return False
    return True


def receive(fd: int) -> list[Message] | None:
    """All messages that have come; None when the other side is gone and nothing is left.

    A malformed one is dropped: whatever it asked for is still visible as undone.
    """
    messages: list[Message] = []
    while True:
        try:
            packet = os.read(fd, MAX_MESSAGE_BYTES)
        except OSError:
            return messages
        if not packet:
            return messages or None
        try:
            messages.append(_ANY.validate_json(packet))
        except ValidationError:
            continue
