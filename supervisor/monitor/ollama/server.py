"""The Ollama server as the monitor asks it: what is loaded, and to load or let go of a model. Every request ends in time."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic import BaseModel, ValidationError

from supervisor.admission.facts import ListError, ListFailed, LoadedModel, ModelsListed
from worker.ollama.loaded_models import ListedModel, ListedModels

LIST_SECONDS = 2.0  # it waits for locks that a load or an unload holds; who is late knows nothing (ollama.md 3.4)
UNLOAD_SECONDS = 5.0  # answered at once, also while the model is busy (ollama.md 2.6)
MAX_LIST_BYTES = 1_000_000  # some 700 bytes a model
MAX_ANSWER_BYTES = 65_536
HTTP_OK = 200


class _Reply(BaseModel):
    done: bool = False


class OllamaServer:
    """One connection pool for the monitor's life."""

    def __init__(self, base_url: str, load_seconds: float) -> None:
        self._base_url, self._load_seconds = base_url, load_seconds

    async def listed(self) -> ModelsListed | ListFailed:
        """What /api/ps says. Whatever it is, it comes within LIST_SECONDS."""
        try:
            status, body = await self._ask("GET", "/api/ps", None, LIST_SECONDS, MAX_LIST_BYTES)
        except TimeoutError:
            return ListFailed(ListError.LATE, time.monotonic())
        except (aiohttp.ClientError, OSError):
            return ListFailed(ListError.UNREACHABLE, time.monotonic())
        try:
            found = ListedModels.model_validate_json(body) if status == HTTP_OK else None
        except ValidationError:
            found = None
        if found is None:
            return ListFailed(ListError.INVALID, time.monotonic())
        return ModelsListed(tuple(map(_loaded_model, found.models)), time.monotonic())

    async def load(self, model: str, options: Mapping[str, int]) -> bool:
        """Whether it is loaded; the server answers when it is. The load ends with this request, so its time is long."""
        return await self._is_done({"model": model, "prompt": "", "options": dict(options)}, self._load_seconds)

    async def unload(self, model: str) -> bool:
        """Whether it was asked to leave. It does when nobody uses it any more; /api/ps tells when it has."""
        return await self._is_done({"model": model, "prompt": "", "keep_alive": 0}, UNLOAD_SECONDS)

    async def _is_done(self, request: Mapping[str, object], timeout_seconds: float) -> bool:
        try:
            status, body = await self._ask("POST", "/api/generate", request, timeout_seconds, MAX_ANSWER_BYTES)
            return status == HTTP_OK and _Reply.model_validate_json(body).done
        except (TimeoutError, aiohttp.ClientError, OSError, ValidationError):
            return False

    async def _ask(self, method: str, path: str, body: Any, timeout_seconds: float, max_bytes: int) -> tuple[int, bytes]:
        """A connection of its own: one that a late answer may still come over is never used again."""
        async with (
            asyncio.timeout(timeout_seconds),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False) as session,
            session.request(method, self._base_url + path, json=body, allow_redirects=False) as response,
        ):
            return response.status, await _bounded(response, max_bytes)


async def _bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """All of a body that is not longer than it may be; else its beginning, which is no JSON."""
    pieces = b""
    async for piece in response.content.iter_any():
        pieces += piece
        if len(pieces) > max_bytes:
            return pieces[:max_bytes]
    return pieces


def _loaded_model(found: ListedModel) -> LoadedModel:
    return LoadedModel(
        name=found.name,
        digest=found.digest,
        size_bytes=found.size,
        size_vram_bytes=found.size_vram,
        context_tokens=found.context_length,
    )
