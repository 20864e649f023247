"""The monitor's requests to Ollama: list the loaded models, load one, unload one, probe one. Every request ends in time.

Endpoints, replies and their limits are those of worker.ollama.api.
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any

from supervisor.admission.breaker import PROBE_SILENT
from supervisor.admission.facts import ListError, ListFailed, LoadedModel, ModelsListed
from supervisor.monitor.outgoing import FAILURES, Answer, Request, RequestEnd, is_unreachable, is_unresolved, send
from worker.ollama.api import GENERATE, PS, SHOW, Body, Endpoint, Reply, load_request, probe_request, unload_request
from worker.ollama.errors import REQUEST_FAILURES, NameUnresolved, ServerUnreachable, StreamBroken
from worker.ollama.models import ListedModel
from worker.ollama.window import within
from worker.queue.outages import is_exhausted

LIST_SECONDS = (
    2.0  # the server waits for locks that a load or an unload holds; a later list would be outdated (docs/ollama-api.md 3.4)
)
MAX_DESCRIBED_MODELS = 64  # more than a server can hold in memory
PAUSE_SECONDS = 1.0  # after a further try of a probe, which a server may reject at once
UNLOAD_SECONDS = 5.0  # answered at once, also while the model is busy (docs/ollama-api.md 2.6)


class OllamaServer:
    """The server at one URL. No method raises: a failure is a value."""

    def __init__(self, base_url: str, load_seconds: float) -> None:
        self._base_url, self._load_seconds = base_url, load_seconds
        self._long_requests: set[asyncio.Task[RequestEnd]] = set()
        self._model_tokens: dict[str, int] = {}  # the largest window of each model, 0 if it could not be read

    async def listed(self) -> ModelsListed | ListFailed:
        """The loaded models, within LIST_SECONDS."""
        try:
            answer = await self._send(PS, None, LIST_SECONDS)
            found = PS.parse(answer.status, answer.body)
        except FAILURES as error:
            return ListFailed(_list_error(error), time.monotonic())
        except REQUEST_FAILURES:
            return ListFailed(ListError.INVALID, time.monotonic())
        listed_at_seconds = time.monotonic()
        await self._describe_one(found.models)
        models = [_loaded_model(each, self._model_tokens.get(each.name, 0)) for each in found.models]
        return ModelsListed(tuple(models), listed_at_seconds)

    async def load(self, model: str, options: Mapping[str, int]) -> bool:
        """True when the model is loaded. Ollama aborts a load whose request ends, so the timeout is long.

        As in the workers' requests, the window is at most that of the model.
        """
        return (await self._unless_given_up(self._loaded(model, options))).is_ok

    async def _loaded(self, model: str, options: Mapping[str, int]) -> RequestEnd:
        body = load_request(model, within(options, await self._largest_context(model)))
        return await self._generate(body, self._load_seconds)

    async def _describe_one(self, listed: Sequence[ListedModel]) -> None:
        """Read the description of one more listed model: a list with thousands of names must not delay the next sample."""
        unknown = next((each.name for each in listed if each.name not in self._model_tokens), None)
        if unknown is not None:
            await self._largest_context(unknown)

    async def _largest_context(self, model: str) -> int:
        """Tokens for which the model was trained. They are read once, because Ollama limits the window itself too."""
        if model not in self._model_tokens and len(self._model_tokens) < MAX_DESCRIBED_MODELS:
            self._model_tokens[model] = 0
            with suppress(*FAILURES, *REQUEST_FAILURES):
                answer = await self._send(SHOW, {"model": model}, LIST_SECONDS)
                self._model_tokens[model] = SHOW.parse(answer.status, answer.body).context_tokens
        return self._model_tokens.get(model, 0)

    async def unload(self, model: str) -> bool:
        """True if Ollama accepted the request. The model leaves memory after its last call, and then is no longer listed."""
        return (await self._generate(unload_request(model), UNLOAD_SECONDS)).is_ok

    async def probe(
        self, model: str, options: Mapping[str, int], *, has_picture: bool, try_seconds: float, timeout_seconds: float
    ) -> RequestEnd:
        """Ask the model for one token. Further tries run beside the first one, which may wait behind other clients' calls.

        A server that has returned may never answer a request from before, so no try alone decides.
        """
        return await self._unless_given_up(self._first_answer(model, options, has_picture, try_seconds, timeout_seconds))

    def give_up(self) -> None:
        """End loads and probes, whose connections are dead: the server has not been reachable for some time."""
        for request in self._long_requests:
            request.cancel()

    async def _first_answer(
        self, model: str, options: Mapping[str, int], has_picture: bool, try_seconds: float, timeout_seconds: float
    ) -> RequestEnd:
        body = probe_request(model, within(options, await self._largest_context(model)), has_picture=has_picture)
        first = asyncio.create_task(self._generate(body, timeout_seconds))
        try:
            await asyncio.wait({first}, timeout=try_seconds)
            while not first.done():
                if (again := await self._generate(body, try_seconds)).is_ok:
                    return again
                await asyncio.wait({first}, timeout=PAUSE_SECONDS)
            return first.result()
        finally:
            first.cancel()

    async def _unless_given_up(self, work: Coroutine[Any, Any, RequestEnd]) -> RequestEnd:
        request = asyncio.create_task(work)
        self._long_requests.add(request)
        try:
            await asyncio.wait({request})
            return RequestEnd(ServerUnreachable.__name__) if request.cancelled() else request.result()
        finally:
            self._long_requests.discard(request)
            request.cancel()

    async def _generate(self, body: Body, timeout_seconds: float) -> RequestEnd:
        try:
            answer = await self._send(GENERATE, body, timeout_seconds)
        except FAILURES as error:
            return RequestEnd(_error_class(error))
        try:
            return RequestEnd() if GENERATE.parse(answer.status, answer.body).done else RequestEnd(StreamBroken.__name__)
        except REQUEST_FAILURES as error:
            return RequestEnd(type(error).__name__, answer.retry_after_seconds)

    async def _send(self, endpoint: Endpoint[Reply], body: Body | None, timeout_seconds: float) -> Answer:
        url = self._base_url + endpoint.path
        return await send(Request(endpoint.method, url, timeout_seconds, endpoint.limit_bytes, body))


def _list_error(error: Exception) -> ListError:
    if is_unresolved(error):
        return ListError.UNRESOLVED
    if is_exhausted(error):
        return ListError.EXHAUSTED
    if is_unreachable(error):
        return ListError.UNREACHABLE
    return ListError.LATE if isinstance(error, TimeoutError) else ListError.INVALID


def _error_class(error: Exception) -> str:
    if is_unresolved(error):
        return NameUnresolved.__name__
    if is_unreachable(error):
        return ServerUnreachable.__name__
    return PROBE_SILENT if isinstance(error, TimeoutError) else StreamBroken.__name__


def _loaded_model(found: ListedModel, largest_context_tokens: int) -> LoadedModel:
    return LoadedModel(
        name=found.name,
        digest=found.digest,
        size_bytes=found.size,
        size_vram_bytes=found.size_vram,
        context_tokens=found.context_length,
        largest_context_tokens=largest_context_tokens,
    )
