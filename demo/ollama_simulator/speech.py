"""An answer on its way to the client, streamed or whole, at the speed of its tokens."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from demo.ollama_simulator.answer import Answer, Piece
from demo.ollama_simulator.exchange import Exchange, head
from demo.ollama_simulator.fault import ends_early
from demo.ollama_simulator.token import TOKENS_PER_IMAGE, token_id, tokens
from demo.ollama_simulator.wire import json_response, line, stream_response


async def streamed(exchange: Exchange, answer: Answer) -> web.StreamResponse:
    """The headers leave with the first token, as Ollama's do: until then an error can still have a status of its own."""
    response = stream_response()
    async for piece in _paced(_pieces(exchange, answer), exchange.simulator.settings.tokens_per_second):
        said = exchange.dialect.said(piece.content, piece.thinking)
        await _send(exchange, response, {**head(exchange.ask), **said, "done": False})
    if not ends_early(exchange.fault):
        await _send(exchange, response, {**head(exchange.ask), **exchange.dialect.said("", ""), **_tail(exchange, answer)})
    await response.prepare(exchange.http)  # does nothing after the first line; an answer may have none
    await response.write_eof()
    return response


async def _send(exchange: Exchange, response: web.StreamResponse, payload: dict[str, object]) -> None:
    await response.prepare(exchange.http)
    await response.write(line(payload))
    exchange.call.first_byte()


async def whole(exchange: Exchange, answer: Answer) -> web.StreamResponse:
    pieces = _pieces(exchange, answer)
    await asyncio.sleep(len(pieces) / exchange.simulator.settings.tokens_per_second)
    content, thinking = "".join(piece.content for piece in pieces), "".join(piece.thinking for piece in pieces)
    tail = {"done": False} if ends_early(exchange.fault) else _tail(exchange, answer)
    return json_response({**head(exchange.ask), **exchange.dialect.said(content, thinking), **tail})


async def _paced(pieces: tuple[Piece, ...], tokens_per_second: float) -> AsyncIterator[Piece]:
    """Each piece at its own time, counted from the start, so that small delays do not add up."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, piece in enumerate(pieces, start=1):
        await asyncio.sleep(max(0.0, start + number / tokens_per_second - loop.time()))
        yield piece


def _pieces(exchange: Exchange, answer: Answer) -> tuple[Piece, ...]:
    half = (len(answer.pieces) + 1) // 2
    return answer.pieces[:half] if ends_early(exchange.fault) else answer.pieces


def _tail(exchange: Exchange, answer: Answer) -> dict[str, object]:
    prompt = tokens(exchange.ask.prompt)
    context: dict[str, object] = {}
    if exchange.dialect.has_context and not exchange.ask.is_raw:
        context = {"context": [*map(token_id, prompt), *(token_id(piece.content) for piece in answer.pieces)]}
    prompt_tokens = len(prompt) + TOKENS_PER_IMAGE * len(exchange.ask.images)
    metrics = exchange.watch.metrics(prompt_tokens, answer.eval_count)
    return {"done": True, "done_reason": answer.done_reason, **context, **metrics}
