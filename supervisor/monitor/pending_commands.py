"""Commands of an operator on their way to the supervisor: each is answered, withdrawn, or of unknown outcome."""

import asyncio
import time
from enum import Enum

from worker.ipc import channel
from worker.ipc.channel import Command, CommandResult

TAKE_SECONDS = 5.0  # far above one turn of the supervisor's loop, in which it takes a command and answers
RESULT_SECONDS = 2.0  # for the answer after the supervisor has taken the command


class Unanswered(Enum):
    """Reason why a command has no result, for the operator."""

    WITHDRAWN = "the supervisor did not take the command within 5 s, so it is not carried out: check `status`, then repeat it"
    UNKNOWN = "the supervisor took the command and has not answered, so it may be carried out: check `status`"


class PendingCommands:
    """The command that the supervisor has not answered yet. One is sent at a time, because the token has room for one.

    A command that the supervisor does not take before its end is withdrawn: the token decides which of the two processes
    was first, also if the supervisor is suspended and continues at that moment.
    """

    def __init__(self, channel_fd: int, token_fd: int) -> None:
        self._channel_fd, self._token_fd, self._last_number = channel_fd, token_fd, 0
        self._results: dict[int, asyncio.Future[CommandResult]] = {}
        self._turn = asyncio.Lock()

    def stamp(self) -> dict[str, float]:
        """Return the number and the end of a new command. The wait for its turn counts."""
        self._last_number += 1
        return {"number": self._last_number, "until_seconds": time.monotonic() + TAKE_SECONDS}

    async def send(self, command: Command) -> CommandResult | Unanswered:
        try:
            async with asyncio.timeout_at(command.until_seconds):
                await self._turn.acquire()
        except TimeoutError:
            return Unanswered.WITHDRAWN
        result: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._results[command.number] = result
        try:
            return await self._exchange(command, result)
        finally:
            channel.take(self._token_fd, command.number)  # also if this task is cancelled
            del self._results[command.number]
            self._turn.release()

    async def _exchange(self, command: Command, result: "asyncio.Future[CommandResult]") -> CommandResult | Unanswered:
        channel.offer(self._token_fd, command.number)
        if channel.send(self._channel_fd, command):
            await asyncio.wait([result], timeout=command.until_seconds - time.monotonic())
        if not result.done() and channel.take(self._token_fd, command.number):
            return Unanswered.WITHDRAWN
        await asyncio.wait([result], timeout=RESULT_SECONDS)
        return result.result() if result.done() else Unanswered.UNKNOWN

    def set_result(self, result: CommandResult) -> None:
        pending = self._results.get(result.number)
        if pending is not None and not pending.done():
            pending.set_result(result)
