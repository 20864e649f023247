"""A command is either taken by the supervisor or withdrawn by the monitor, never both, whatever the processes do meanwhile."""

import asyncio
import os
import socket
import time
from collections.abc import Iterator

import pytest

from supervisor.monitor import pending_commands
from supervisor.monitor.pending_commands import PendingCommands, Unanswered
from worker.ipc import channel
from worker.ipc.channel import CommandResult, ScaleCommand

SOON_SECONDS = 0.05
ROUNDS = 300


class Side:
    """The supervisor's side of a channel."""

    def __init__(self, fd: int, token_fd: int) -> None:
        self.fd, self.token_fd = fd, token_fd

    def taken(self) -> list[int]:
        """Return the numbers of the commands that have arrived and are carried out."""
        found = [each for each in channel.receive(self.fd) or () if isinstance(each, ScaleCommand)]
        now = time.monotonic
        return [each.number for each in found if now() < each.until_seconds and channel.take(self.token_fd, each.number)]


@pytest.fixture
def sides() -> Iterator[tuple[PendingCommands, Side]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    token_fd = os.eventfd(0, os.EFD_NONBLOCK)
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        yield PendingCommands(ours.fileno(), token_fd), Side(theirs.fileno(), token_fd)
    os.close(token_fd)


def scale(commands: PendingCommands) -> ScaleCommand:
    return ScaleCommand.model_validate({**commands.stamp(), "workers": 2})


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of an operator are shortened, because nothing depends on their length."""
    monkeypatch.setattr(pending_commands, "TAKE_SECONDS", SOON_SECONDS)
    monkeypatch.setattr(pending_commands, "RESULT_SECONDS", SOON_SECONDS)


def test_a_withdrawn_command_is_never_taken(sides: tuple[PendingCommands, Side]) -> None:
    """The supervisor reads it after its end, before and after the next command: it carries out the next one only."""
    commands, supervisor = sides
    assert asyncio.run(commands.send(scale(commands))) is Unanswered.WITHDRAWN
    second = scale(commands)
    assert asyncio.run(sent_and_taken(commands, second, supervisor)) == (Unanswered.UNKNOWN, [second.number])


async def sent_and_taken(
    commands: PendingCommands, command: ScaleCommand, supervisor: Side
) -> tuple[CommandResult | Unanswered, list[int]]:
    """Send a command, and read the channel once it is sent."""
    task = asyncio.create_task(commands.send(command))
    await asyncio.sleep(0)
    taken = supervisor.taken()
    return await task, taken


def test_a_taken_command_is_not_called_withdrawn(sides: tuple[PendingCommands, Side]) -> None:
    """The supervisor takes it and is suspended before its answer: the outcome is unknown."""
    commands, supervisor = sides
    command = scale(commands)
    assert asyncio.run(sent_and_taken(commands, command, supervisor)) == (Unanswered.UNKNOWN, [command.number])


def test_a_full_channel_withdraws_the_command(sides: tuple[PendingCommands, Side]) -> None:
    """Nothing was sent, so nothing is carried out, and the next command is not blocked."""
    commands, supervisor = sides
    while channel.send(commands._channel_fd, ScaleCommand(number=0, workers=2)):
        pass
    assert asyncio.run(commands.send(scale(commands))) is Unanswered.WITHDRAWN
    assert supervisor.taken() == []
    command = scale(commands)
    assert asyncio.run(sent_and_taken(commands, command, supervisor))[1] == [command.number]


def test_both_sides_agree_at_the_end_of_a_command(sides: tuple[PendingCommands, Side], monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor takes commands around the instant of their end. A command that is withdrawn was not taken."""
    commands, supervisor = sides
    monkeypatch.setattr(pending_commands, "TAKE_SECONDS", 0.001)
    monkeypatch.setattr(pending_commands, "RESULT_SECONDS", 0.0)
    outcomes = set()
    for number in range(ROUNDS):
        command = scale(commands)
        outcome, taken = asyncio.run(raced(commands, command, supervisor, command.until_seconds + (number % 60 - 30) / 1e5))
        assert (outcome is Unanswered.WITHDRAWN) == (taken == [])
        outcomes.add(outcome)
    assert outcomes == {Unanswered.WITHDRAWN, Unanswered.UNKNOWN}


async def raced(
    commands: PendingCommands, command: ScaleCommand, supervisor: Side, at_seconds: float
) -> tuple[CommandResult | Unanswered, list[int]]:
    """Send a command, and take it at this time from another thread."""

    def take() -> list[int]:
        while time.monotonic() < at_seconds:
            pass
        return supervisor.taken()

    taking = asyncio.get_running_loop().run_in_executor(None, take)
    outcome = await commands.send(command)
    return outcome, await taking
