"""Orders of an operator on their way to the supervisor, each until it is answered."""

import asyncio

from worker.ipc import channel
from worker.ipc.channel import Command, CommandResult

ANSWER_SECONDS = 5.0  # the supervisor answers in the same turn of its loop


class PendingCommands:
    """Numbers the orders, so that each answer finds who asked."""

    def __init__(self, channel_fd: int) -> None:
        self._channel_fd, self._last = channel_fd, 0
        self._waiting: dict[int, asyncio.Future[CommandResult]] = {}

    def next_number(self) -> int:
        self._last += 1
        return self._last

    async def place(self, order: Command) -> CommandResult | None:
        """None: no answer. The order may still be carried out; each is safe to repeat."""
        waiting: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self._waiting[order.number] = waiting
        try:
            if not channel.send(self._channel_fd, order):
                return None
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting
        except TimeoutError:
            return None
        finally:
            del self._waiting[order.number]

    def answered(self, answer: CommandResult) -> None:
        waiting = self._waiting.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
