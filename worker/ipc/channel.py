"""Messages between supervisor and monitor: one per packet of a SOCK_SEQPACKET pair that never blocks."""

import os
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from worker.ipc.scoreboard import MAX_SLOTS

MAX_NAMES, MAX_NAME_LENGTH = 128, 48
MAX_MESSAGE_BYTES = 8192  # the longest message is a result that names every setting

Slot = Annotated[int, Field(ge=0, lt=MAX_SLOTS, strict=True)]
Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]


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


class _Command(_Message):
    """Sent by the monitor to the supervisor. `number` identifies the command in its result and in the token.

    After `until_seconds` of the monotonic clock, which both processes share, the command is not carried out.
    """

    number: int
    until_seconds: float = 0.0


class ScaleCommand(_Command):
    """Change the number of workers."""

    kind: Literal["scale"] = "scale"
    workers: Annotated[int, Field(ge=1, le=MAX_SLOTS, strict=True)]


class RecycleCommand(_Command):
    """Replace the processes in these slots, or in all of them."""

    kind: Literal["recycle"] = "recycle"
    slots: Literal["all"] | Annotated[tuple[Slot, ...], Field(min_length=1, max_length=MAX_SLOTS)]


class ReloadCommand(_Command):
    """Read the settings again."""

    kind: Literal["reload"] = "reload"


class CommandResult(_Message):
    """Supervisor to monitor: the command is accepted or rejected.

    `names` are the invalid variables (wrong_settings), valid ones that need a new start (needs_restart), the changed ones of an
    accepted reload, or the slots without a worker (no_worker). A reader shows at most MAX_NAMES of them.
    """

    kind: Literal["command_result"] = "command_result"
    number: int
    outcome: Literal["accepted", "stopping", "no_worker", "wrong_settings", "needs_restart"]
    workers: int  # number of workers wanted after the command
    names: Annotated[tuple[Name, ...], Field(max_length=MAX_NAMES)] = ()


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


def offer(token_fd: int, number: int) -> None:
    """Put the number of a command into the token, an eventfd without a number in it. Precedes the command."""
    os.eventfd_write(token_fd, number)


def take(token_fd: int, number: int) -> bool:
    """Take the number out of the token. Of the two sides only one succeeds: the supervisor takes the command or it is withdrawn.

    A number of another command stays in the token.
    """
    try:
        found = os.eventfd_read(token_fd)
    except OSError:
        return False
    if found != number:
        os.eventfd_write(token_fd, found)
    return found == number
