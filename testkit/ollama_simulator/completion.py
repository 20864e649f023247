"""/api/chat and /api/generate, step by step: parse, find and load the model, wait for a slot, process the prompt, answer."""

import asyncio
import time
from contextlib import suppress

from aiohttp import web

from testkit.ollama_simulator import apply_fault
from testkit.ollama_simulator.answer import Answer, check_format, compose
from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.body import read_object
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.dialect import CHAT, GENERATE, Dialect
from testkit.ollama_simulator.exchange import Exchange, head
from testkit.ollama_simulator.fault import Fault, fault_in_header
from testkit.ollama_simulator.ocr import UnreadableImageError, ocr_text
from testkit.ollama_simulator.options import read_options
from testkit.ollama_simulator.request import ParsedRequest
from testkit.ollama_simulator.runner import Runner, RunnerDiedError
from testkit.ollama_simulator.simulator import SIMULATOR
from testkit.ollama_simulator.stopwatch import Stopwatch
from testkit.ollama_simulator.streaming import AnswerStream
from testkit.ollama_simulator.window import fitted
from testkit.ollama_simulator.wire import json_response

RUNNER_DIED = (500, "an error was encountered while running the model: unexpected EOF")  # recordings 23 and 24


async def chat(http: web.Request) -> web.StreamResponse:
    return await _answer(http, CHAT)


async def generate(http: web.Request) -> web.StreamResponse:
    return await _answer(http, GENERATE)


async def _answer(http: web.Request, dialect: Dialect) -> web.StreamResponse:
    """The task is cancelled when its client disconnects, also while it waits for a load or a slot."""
    simulator = http.app[SIMULATOR]
    with simulator.calls.record(dialect.path) as call:
        request = dialect.read(read_object(await http.read(), dialect.struct))
        if not request.model:
            raise ApiError(*dialect.missing_model)
        model = simulator.catalogue.find(request.model)
        simulator.calls.identify(call, request, model.name)
        if request.is_empty and request.keep_alive_seconds == 0:
            simulator.scheduler.expire(model)
            return _empty_answer(dialect, request, "unload")
        _check_think(request, model)
        options = read_options(request.options).of(model, may_shift=request.may_shift)
        fault = None if request.is_empty else await _fault(http, request, model)
        watch = Stopwatch(call.started_ns)
        return await _scheduled(Exchange(http, simulator, dialect, call, request, model, options, fault, watch))


async def _scheduled(exchange: Exchange) -> web.StreamResponse:
    request = exchange.request
    await apply_fault.before_scheduling(exchange.fault, request, exchange.http)
    scheduler = exchange.simulator.scheduler
    async with scheduler.runner(exchange.model, exchange.options.load, request.keep_alive_seconds) as runner:
        exchange.watch.loaded_ns = time.monotonic_ns()
        if request.is_empty:
            return _empty_answer(exchange.dialect, request, "load")
        try:
            return await _answered(exchange, runner)
        except ApiError as error:
            raise ApiError(error.status, error.text, is_streamed=request.is_streamed) from error


async def _answered(exchange: Exchange, runner: Runner) -> web.StreamResponse:
    check_format(exchange.request)
    exchange = fitted(exchange)
    stream = AnswerStream(exchange)
    try:
        async with runner.slot():
            exchange.watch.slot_ns = time.monotonic_ns()
            answer = await _composed(exchange)
            await apply_fault.before_first_token(exchange.fault)
            await _process_prompt(exchange, runner)
            return await stream.send(apply_fault.with_fault(exchange.fault, answer, exchange.options), runner)
    except RunnerDiedError:
        return await stream.break_off(ApiError(*RUNNER_DIED))


async def _process_prompt(exchange: Exchange, runner: Runner) -> None:
    """Grow the runner's unreported memory. The kernel may then kill this or another runner."""
    runner.footprint.remember(exchange.request, exchange.model)
    exchange.simulator.host.press()
    settings = exchange.simulator.settings
    await asyncio.sleep(len(exchange.request.images) * settings.vision_seconds + 1 / settings.tokens_per_second)
    exchange.watch.prompt_ns = time.monotonic_ns()


async def _composed(exchange: Exchange) -> Answer:
    """Compose in a thread if pixels must be decoded, so that the other slots are not delayed."""
    parts = exchange.request, exchange.model, exchange.options, exchange.dialect
    return await asyncio.to_thread(compose, *parts) if exchange.request.images else compose(*parts)


async def _fault(http: web.Request, request: ParsedRequest, model: Model) -> Fault | None:
    """Return the fault of the request's header, else one that was set for it. Pixels are decoded in a thread."""
    header, faults = http.headers.get("X-Simulator-Fault"), http.app[SIMULATOR].faults
    if header is not None:
        return fault_in_header(header)
    read = await asyncio.to_thread(_readable_text, request.images) if request.images and faults.reads(model.name) else ""
    return faults.take(model.name, f"{request.prompt}\n{read}")


def _readable_text(images: tuple[bytes, ...]) -> str:
    """Return the text in the images, without damaged images."""
    texts = []
    for image in images:
        with suppress(UnreadableImageError):
            texts.append(ocr_text(image))
    return "\n".join(texts)


def _check_think(request: ParsedRequest, model: Model) -> None:
    if request.think and not model.is_thinking:
        raise ApiError(400, f'"{request.model}" does not support thinking')


def _empty_answer(dialect: Dialect, request: ParsedRequest, done_reason: str) -> web.Response:
    """Return one JSON object, also for a streaming request."""
    return json_response({**head(request), **dialect.fields("", ""), "done": True, "done_reason": done_reason})
