"""/api/chat and /api/generate, step by step: read, find, load, wait for a slot, look at the prompt, speak."""

import asyncio
import time

from aiohttp import web

from demo.ollama_simulator import fault as faults
from demo.ollama_simulator.answer import Answer, check_format, compose
from demo.ollama_simulator.api_error import ApiError
from demo.ollama_simulator.body import read_object
from demo.ollama_simulator.catalogue import Model
from demo.ollama_simulator.dialect import CHAT, GENERATE, Dialect
from demo.ollama_simulator.exchange import Exchange, head
from demo.ollama_simulator.options import read_options
from demo.ollama_simulator.request import Ask
from demo.ollama_simulator.runner import Runner
from demo.ollama_simulator.simulator import SIMULATOR
from demo.ollama_simulator.speech import streamed, whole
from demo.ollama_simulator.stopwatch import Stopwatch
from demo.ollama_simulator.wire import json_response


async def chat(http: web.Request) -> web.StreamResponse:
    return await _answer(http, CHAT)


async def generate(http: web.Request) -> web.StreamResponse:
    return await _answer(http, GENERATE)


async def _answer(http: web.Request, dialect: Dialect) -> web.StreamResponse:
    """A client that leaves cancels this task wherever it stands: in line for a load or a slot, or speaking."""
    simulator = http.app[SIMULATOR]
    with simulator.calls.record(dialect.path) as call:
        ask = dialect.read(read_object(await http.read(), dialect.struct))
        if not ask.model:
            raise ApiError(*dialect.missing_model)
        model = simulator.catalogue.find(ask.model)
        simulator.calls.identify(call, ask, model.name)
        if ask.is_empty and ask.keep_alive_seconds == 0:
            simulator.scheduler.expire(model)
            return _empty_answer(dialect, ask, "unload")
        _check_think(ask, model)
        options = read_options(ask.options)
        fault = None if ask.is_empty else simulator.faults.take(model.name)
        watch = Stopwatch(call.started_ns)
        return await _scheduled(Exchange(http, simulator, dialect, call, ask, model, options, fault, watch))


async def _scheduled(exchange: Exchange) -> web.StreamResponse:
    ask = exchange.ask
    faults.before_scheduling(exchange.fault)
    scheduler = exchange.simulator.scheduler
    async with scheduler.runner(exchange.model, exchange.options.load, ask.keep_alive_seconds) as runner:
        exchange.watch.loaded_ns = time.monotonic_ns()
        if ask.is_empty:
            return _empty_answer(exchange.dialect, ask, "load")
        try:
            return await _spoken(exchange, runner)
        except ApiError as error:
            raise ApiError(error.status, error.text, is_streamed=ask.is_streamed) from error


async def _spoken(exchange: Exchange, runner: Runner) -> web.StreamResponse:
    ask, settings = exchange.ask, exchange.simulator.settings
    check_format(ask)
    async with runner.slot():
        exchange.watch.slot_ns = time.monotonic_ns()
        answer = await _composed(exchange)
        await faults.before_first_token(exchange.fault)
        await asyncio.sleep(len(ask.images) * settings.vision_seconds + 1 / settings.tokens_per_second)
        exchange.watch.prompt_ns = time.monotonic_ns()
        return await (streamed(exchange, answer) if ask.is_streamed else whole(exchange, answer))


async def _composed(exchange: Exchange) -> Answer:
    """In a thread where pixels are to be decoded, so that the other slots go on speaking."""
    parts = exchange.ask, exchange.model, exchange.options, exchange.dialect
    return await asyncio.to_thread(compose, *parts) if exchange.ask.images else compose(*parts)


def _check_think(ask: Ask, model: Model) -> None:
    if ask.think and not model.is_thinking:
        raise ApiError(400, f'"{ask.model}" does not support thinking')


def _empty_answer(dialect: Dialect, ask: Ask, done_reason: str) -> web.Response:
    """One JSON object even where a stream was asked for."""
    return json_response({**head(ask), **dialect.said("", ""), "done": True, "done_reason": done_reason})
