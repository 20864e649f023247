"""/api/chat and /api/generate, step by step: read, find, load, wait for a slot, look at the prompt, speak."""

import asyncio
import time
from contextlib import suppress

from aiohttp import web

from testkit.ollama_simulator import mishap
from testkit.ollama_simulator.answer import Answer, check_format, compose
from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import read_object
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.dialect import CHAT, GENERATE, Dialect
from testkit.ollama_simulator.exchange import Exchange, head
from testkit.ollama_simulator.fault import Fault, fault_in_header
from testkit.ollama_simulator.ocr import UnreadableImageError, ocr_text
from testkit.ollama_simulator.options import read_options
from testkit.ollama_simulator.request import Ask
from testkit.ollama_simulator.runner import Runner, RunnerDiedError
from testkit.ollama_simulator.simulator import SIMULATOR
from testkit.ollama_simulator.speech import Speech
from testkit.ollama_simulator.stopwatch import Stopwatch
from testkit.ollama_simulator.window import fitted
from testkit.ollama_simulator.wire import json_response

RUNNER_DIED = (500, "an error was encountered while running the model: unexpected EOF")  # recordings 23 and 24


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
        options = read_options(ask.options).of(model, may_shift=ask.may_shift)
        fault = None if ask.is_empty else await _fault(http, ask, model)
        watch = Stopwatch(call.started_ns)
        return await _scheduled(Exchange(http, simulator, dialect, call, ask, model, options, fault, watch))


async def _scheduled(exchange: Exchange) -> web.StreamResponse:
    ask = exchange.ask
    await mishap.before_scheduling(exchange.fault, ask, exchange.http)
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
    check_format(exchange.ask)
    exchange = fitted(exchange)
    speech = Speech(exchange)
    try:
        async with runner.slot():
            exchange.watch.slot_ns = time.monotonic_ns()
            answer = await _composed(exchange)
            await mishap.before_first_token(exchange.fault)
            await _look_at_prompt(exchange, runner)
            return await speech.say(mishap.spoiled(exchange.fault, answer, exchange.options), runner)
    except RunnerDiedError:
        return await speech.break_off(ApiError(*RUNNER_DIED))


async def _look_at_prompt(exchange: Exchange, runner: Runner) -> None:
    """Here the runner's hidden memory grows, and here the kernel may kill it, or another."""
    runner.footprint.remember(exchange.ask, exchange.model)
    exchange.simulator.host.press()
    settings = exchange.simulator.settings
    await asyncio.sleep(len(exchange.ask.images) * settings.vision_seconds + 1 / settings.tokens_per_second)
    exchange.watch.prompt_ns = time.monotonic_ns()


async def _composed(exchange: Exchange) -> Answer:
    """In a thread where pixels are to be decoded, so that the other slots go on speaking."""
    parts = exchange.ask, exchange.model, exchange.options, exchange.dialect
    return await asyncio.to_thread(compose, *parts) if exchange.ask.images else compose(*parts)


async def _fault(http: web.Request, ask: Ask, model: Model) -> Fault | None:
    """Of the request's own header, or else of an order. Pixels are decoded in a thread, as in `_composed`."""
    header, faults = http.headers.get("X-Simulator-Fault"), http.app[SIMULATOR].faults
    if header is not None:
        return fault_in_header(header)
    read = await asyncio.to_thread(_readable, ask.images) if ask.images and faults.reads(model.name) else ""
    return faults.take(model.name, f"{ask.prompt}\n{read}")


def _readable(images: tuple[bytes, ...]) -> str:
    """What the images say, without those that say nothing because they are damaged."""
    texts = []
    for image in images:
        with suppress(UnreadableImageError):
            texts.append(ocr_text(image))
    return "\n".join(texts)


def _check_think(ask: Ask, model: Model) -> None:
    if ask.think and not model.is_thinking:
        raise ApiError(400, f'"{ask.model}" does not support thinking')


def _empty_answer(dialect: Dialect, ask: Ask, done_reason: str) -> web.Response:
    """One JSON object even where a stream was asked for."""
    return json_response({**head(ask), **dialect.said("", ""), "done": True, "done_reason": done_reason})
