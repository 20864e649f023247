"""Send an answer to the client, streamed or whole, at the speed of its tokens."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from testkit.ollama_simulator.answer import Answer, Ending, Piece
from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.apply_fault import forever
from testkit.ollama_simulator.exchange import Exchange, head
from testkit.ollama_simulator.runner import Runner
from testkit.ollama_simulator.token import token_id, tokens
from testkit.ollama_simulator.wire import json_response, line, raw_json_response, stream_response


class AnswerStream:
    """The headers are sent with the first token, as in Ollama, so an error before it has its own status."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._stream = stream_response()

    async def send(self, answer: Answer, runner: Runner) -> web.StreamResponse:
        """Send the answer in the form that the request asks for. With Ending.SILENCE this does not return."""
        send = self._streamed if self._exchange.request.is_streamed else self._whole
        return await send(answer, runner)

    async def break_off(self, error: ApiError) -> web.StreamResponse:
        """End with an error. After the first line it is sent as the last line, without a status (recording 23)."""
        if not self._stream.prepared:
            raise error
        await self._stream.write(line({"error": error.text}))
        await self._stream.write_eof()
        return self._stream

    async def _streamed(self, answer: Answer, runner: Runner) -> web.StreamResponse:
        async for piece in _paced(answer, self._exchange.simulator.settings.tokens_per_second):
            await self._write(piece.raw + b"\n" if piece.raw else line({**self._fields(piece), "done": False}))
        await _end(answer.ending, runner)
        if answer.ending is not Ending.CUT:
            await self._write(line({**self._fields(Piece()), **self._tail(answer)}))
        await self._stream.prepare(self._exchange.http)  # needed if the answer has no line, else without effect
        await self._stream.write_eof()
        return self._stream

    async def _write(self, encoded: bytes) -> None:
        await self._stream.prepare(self._exchange.http)
        await self._stream.write(encoded)
        self._exchange.call.first_byte()

    async def _whole(self, answer: Answer, runner: Runner) -> web.StreamResponse:
        pieces = await _all_pieces(answer, self._exchange.simulator.settings.tokens_per_second)
        await _end(answer.ending, runner)
        garbage = b"".join(piece.raw for piece in pieces)
        if garbage:
            return raw_json_response(garbage)
        content, thinking = "".join(piece.content for piece in pieces), "".join(piece.thinking for piece in pieces)
        return json_response({**self._fields(Piece(content, thinking)), **self._tail(answer)})

    def _fields(self, piece: Piece) -> dict[str, object]:
        return {**head(self._exchange.request), **self._exchange.dialect.fields(piece.content, piece.thinking)}

    def _tail(self, answer: Answer) -> dict[str, object]:
        if answer.ending is not Ending.DONE:
            return {"done": False}
        exchange, pieces = self._exchange, tuple(answer.pieces)
        context: dict[str, object] = {}
        if exchange.dialect.has_context and not exchange.request.is_raw:
            context = {
                "context": [*map(token_id, tokens(exchange.request.prompt)), *(token_id(piece.content) for piece in pieces)]
            }
        end_tokens = 1 if answer.done_reason == "stop" else 0  # the end counts as a token (recordings 05 and 11)
        metrics = exchange.watch.metrics(exchange.request.prompt_tokens, len(pieces) + end_tokens)
        return {"done": True, "done_reason": answer.done_reason, **context, **metrics}


async def _paced(answer: Answer, tokens_per_second: float) -> AsyncIterator[Piece]:
    """Yield each piece at its time from the start, so that delays do not add up."""
    loop = asyncio.get_running_loop()
    start, token_seconds = loop.time(), _token_seconds(answer, tokens_per_second)
    for number, piece in enumerate(answer.pieces, start=1):
        await asyncio.sleep(max(0.0, start + number * token_seconds - loop.time()))
        yield piece


async def _all_pieces(answer: Answer, tokens_per_second: float) -> tuple[Piece, ...]:
    """Return all pieces after the time that they take. For an endless answer, wait until cancelled."""
    if answer.is_endless:
        await forever()
    pieces = tuple(answer.pieces)
    await asyncio.sleep(len(pieces) * _token_seconds(answer, tokens_per_second))
    return pieces


def _token_seconds(answer: Answer, tokens_per_second: float) -> float:
    return 1 / tokens_per_second if answer.token_seconds is None else answer.token_seconds


async def _end(ending: Ending, runner: Runner) -> None:
    if ending is Ending.DEATH:
        runner.kill()
    if ending in (Ending.DEATH, Ending.SILENCE):
        await forever()  # cancelled after a death
