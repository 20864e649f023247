"""The monitor's requests to Ollama: list the loaded models, load one, unload one. Every request ends in time.

Endpoints, replies and their limits are those of worker.ollama.api. The HTTP client is aiohttp, whose server the monitor runs
anyway: with httpx a sample costs 1.5 ms of CPU time instead of 0.4 ms, and each request repeats failing imports.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from supervisor.admission.facts import ListError, ListFailed, LoadedModel, ModelsListed
from worker.names import LOOKUP_SECONDS, resolve_async
from worker.ollama.api import GENERATE, PS, SHOW, Body, Endpoint, Reply, load_request, unload_request
from worker.ollama.errors import REQUEST_FAILURES
from worker.ollama.models import ListedModel
from worker.ollama.window import within
from worker.queue.outages import is_exhausted

LIST_SECONDS = (
    2.0  # the server waits for locks that a load or an unload holds; a later list would be outdated (docs/ollama-api.md 3.4)
)
LOOKUP_SHARE = 3 / 4  # of the time of a request: a lookup that hangs then differs from a server that does not answer
MAX_DESCRIBED_MODELS = 64  # more than a server can hold in memory
UNLOAD_SECONDS = 5.0  # answered at once, also while the model is busy (docs/ollama-api.md 2.6)


class OllamaServer:
    """The server at one URL. No method raises: a failure is a value."""

    def __init__(self, base_url: str, load_seconds: float) -> None:
        self._base_url, self._load_seconds = base_url, load_seconds
        self._model_tokens: dict[str, int] = {}  # the largest window of each model, 0 if it could not be read

    async def listed(self) -> ModelsListed | ListFailed:
        """The loaded models, within LIST_SECONDS."""
        try:
            found = await self._request(PS, None, LIST_SECONDS)
        except aiohttp.ClientConnectorDNSError:
            return ListFailed(ListError.UNRESOLVED, time.monotonic())
        except TimeoutError:
            return ListFailed(ListError.LATE, time.monotonic())
        except (aiohttp.ClientError, OSError) as error:
            return ListFailed(ListError.EXHAUSTED if is_exhausted(error) else ListError.UNREACHABLE, time.monotonic())
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
        return await self._is_done(load_request(model, within(options, await self._largest_context(model))), self._load_seconds)

    async def _describe_one(self, listed: Sequence[ListedModel]) -> None:
        """Read the description of one more listed model: a list with thousands of names must not delay the next sample."""
        unknown = next((each.name for each in listed if each.name not in self._model_tokens), None)
        if unknown is not None:
            await self._largest_context(unknown)

    async def _largest_context(self, model: str) -> int:
        """Tokens for which the model was trained. They are read once, because Ollama limits the window itself too."""
        if model not in self._model_tokens and len(self._model_tokens) < MAX_DESCRIBED_MODELS:
            self._model_tokens[model] = 0
            with suppress(TimeoutError, aiohttp.ClientError, OSError, *REQUEST_FAILURES):
                self._model_tokens[model] = (await self._request(SHOW, {"model": model}, LIST_SECONDS)).context_tokens
        return self._model_tokens.get(model, 0)

    async def unload(self, model: str) -> bool:
        """True if Ollama accepted the request. The model leaves memory after its last call, and then is no longer listed."""
        return await self._is_done(unload_request(model), UNLOAD_SECONDS)

    async def _is_done(self, body: Body, timeout_seconds: float) -> bool:
        try:
            return (await self._request(GENERATE, body, timeout_seconds)).done
        except (TimeoutError, aiohttp.ClientError, OSError, *REQUEST_FAILURES):
            return False

    async def _request(self, endpoint: Endpoint[Reply], body: Body | None, timeout_seconds: float) -> Reply:
        """On a connection of its own, so that a late reply never reaches a later request."""
        async with (
            asyncio.timeout(timeout_seconds),
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_Resolver(timeout_seconds * LOOKUP_SHARE)),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
            ) as session,
            session.request(endpoint.method, self._base_url + endpoint.path, json=body, allow_redirects=False) as response,
        ):
            content = await _bounded(response, endpoint.limit_bytes(response.status))
        return endpoint.parse(response.status, content)


class _Resolver(AbstractResolver):
    """Looks names up without a thread. A thread that hangs would delay the end of the monitor by minutes."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = min(timeout_seconds, LOOKUP_SECONDS)

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:  # noqa: ARG002  the family is any
        return [_resolved(host, address, port) for address in await resolve_async(host, self._timeout_seconds)]

    async def close(self) -> None:
        """Nothing is kept between two lookups."""


def _resolved(host: str, address: str, port: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=socket.AF_INET6 if ":" in address else socket.AF_INET,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


async def _bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The body, cut after `max_bytes`: a cut body is no valid JSON."""
    body = b""
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > max_bytes:
            return body[:max_bytes]
    return body


def _loaded_model(found: ListedModel, largest_context_tokens: int) -> LoadedModel:
    return LoadedModel(
        name=found.name,
        digest=found.digest,
        size_bytes=found.size,
        size_vram_bytes=found.size_vram,
        context_tokens=found.context_length,
        largest_context_tokens=largest_context_tokens,
    )
