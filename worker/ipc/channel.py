"""Messages between supervisor and monitor: one per packet of a SOCK_SEQPACKET pair that never blocks."""

import os
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worker.ipc.scoreboard import MAX_SLOTS

MAX_MESSAGE_BYTES = 8192  # the longest message is a result that names every setting

Slot = Annotated[int, Field(ge=0, lt=MAX_SLOTS, strict=True)]
Name = Annotated[str, Field(max_length=48)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReclaimLeaseRequest(_Message):
    """Supervisor to monitor: reclaim a dead worker's lease. `job_id` is None if the worker died before it knew its job.

    `is_counted`: the death counts as a crash of the job.
    """

    kind: Literal["reclaim_lease"] = "reclaim_lease"
    job_id: UUID | None
    lease_key: UUID
    is_counted: bool


class LeaseReclaimedReport(_Message):
    """Monitor to supervisor: the request is done. `outcome` is a value of `worker.queue.dead_leases.ReclaimResult`."""

    kind: Literal["lease_reclaimed"] = "lease_reclaimed"
    lease_key: UUID
    outcome: Annotated[str, Field(max_length=32)]


class ScaleCommand(_Message):
    """Monitor to supervisor: change the number of workers. `number` identifies a command, also in its result."""

    kind: Literal["scale"] = "scale"
    number: int
    workers: Annotated[int, Field(ge=1, le=MAX_SLOTS, strict=True)]


class RecycleCommand(_Message):
    """Monitor to supervisor: replace the processes in these slots, or in all of them."""

    kind: Literal["recycle"] = "recycle"
    number: int
    slots: Literal["all"] | Annotated[tuple[Slot, ...], Field(min_length=1, max_length=MAX_SLOTS)]


class ReloadCommand(_Message):
    """Monitor to supervisor: read the settings again."""

    kind: Literal["reload"] = "reload"
    number: int


class CommandResult(_Message):
    """Supervisor to monitor: the command is accepted or rejected.

    `names` are the invalid variables (wrong_settings) or the slots without a worker (no_worker).
    """

    kind: Literal["command_result"] = "command_result"
    number: int
    outcome: Literal["accepted", "stopping", "no_worker", "wrong_settings"]
    workers: int  # number of workers wanted after the command
    names: Annotated[tuple[Name, ...], Field(max_length=128)] = ()


Command = ScaleCommand | RecycleCommand | ReloadCommand
Message = ReclaimLeaseRequest | LeaseReclaimedReport | Command | CommandResult
_ANY: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="kind")])


def send(fd: int, message: Message) -> bool:
    """False if the socket is full or closed. The sender keeps its work as undone and sends the message again later."""
    try:
        os.write(fd, message.model_dump_json().encode())
    except OSError:
        return False
    return True


def receive(fd: int) -> list[Message] | None:
    """All messages that have arrived. None if the other side closed the socket and no message is left.

    A malformed message is dropped. Its sender still has the work as undone and repeats it.
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
