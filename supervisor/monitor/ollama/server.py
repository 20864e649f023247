"""The monitor's requests to Ollama: list the loaded models, load a model, unload a model. Each has a timeout."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
from pydantic import BaseModel, ValidationError

from supervisor.admission.facts import ListError, ListFailed, LoadedModel, ModelsListed
from worker.ollama.loaded_models import ListedModel, ListedModels

LIST_SECONDS = 2.0  # the server waits for locks that a load or unload holds. A later list would be outdated (ollama.md 3.4)
UNLOAD_SECONDS = 5.0  # the server answers at once, even while the model is busy (ollama.md 2.6)
MAX_LIST_BYTES = 1_000_000  # about 700 bytes a model
MAX_ANSWER_BYTES = 65_536
HTTP_OK = 200


class _Reply(BaseModel):
    done: bool = False


class OllamaServer:
    """A client of one server. Each request has a connection of its own."""

    def __init__(self, base_url: str, load_seconds: float) -> None:
        self._base_url, self._load_seconds = base_url, load_seconds

    async def listed(self) -> ModelsListed | ListFailed:
        """The models in /api/ps, or the reason why there is no list. Ends within LIST_SECONDS."""
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
        """True if the model is loaded. A closed request would cancel the load, so the timeout is long."""
        return await self._is_done({"model": model, "prompt": "", "options": dict(options)}, self._load_seconds)

    async def unload(self, model: str) -> bool:
        """True if the server accepted. It unloads the model after its last call. Then /api/ps no longer lists it."""
        return await self._is_done({"model": model, "prompt": "", "keep_alive": 0}, UNLOAD_SECONDS)

    async def _is_done(self, request: Mapping[str, object], timeout_seconds: float) -> bool:
        try:
            status, body = await self._ask("POST", "/api/generate", request, timeout_seconds, MAX_ANSWER_BYTES)
            return status == HTTP_OK and _Reply.model_validate_json(body).done
        except (TimeoutError, aiohttp.ClientError, OSError, ValidationError):
            return False

    async def _ask(self, method: str, path: str, body: Any, timeout_seconds: float, max_bytes: int) -> tuple[int, bytes]:
        """Opens a new connection, because a late answer could still arrive on an old one."""
        async with (
            asyncio.timeout(timeout_seconds),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False) as session,
            session.request(method, self._base_url + path, json=body, allow_redirects=False) as response,
        ):
            return response.status, await _bounded(response, max_bytes)


async def _bounded(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """The whole body, or its first `max_bytes` if it is longer. A body that is cut is no valid JSON."""
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
