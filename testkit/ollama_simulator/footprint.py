"""The memory of one runner: the size in ps, and the true size (docs/ollama-api.md 3.5)."""

import hashlib
from dataclasses import dataclass, field

from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.options import LoadOptions
from testkit.ollama_simulator.request import ParsedRequest
from testkit.ollama_simulator.settings import Settings

COMPUTE_BYTES = 10_500_852  # buffers beside weights and cache, from the size in recording 04
OVERHEAD_BYTES = 10 * 2**20  # of the process, measured: 260 MiB used, 251.5 reported
MAX_PROMPTS = 10_000


@dataclass(slots=True)
class Footprint:
    """`reported_bytes` is constant. The true size is `loaded_bytes`, from the start of the load, and a growing prompt cache."""

    reported_bytes: int
    loaded_bytes: int
    cache_limit_bytes: int
    cache_bytes: int = 0
    prompts: set[bytes] = field(default_factory=set)

    @property
    def true_bytes(self) -> int:
        return self.loaded_bytes + self.cache_bytes

    def remember(self, request: ParsedRequest, model: Model) -> None:
        """Grow the cache for each new prompt until it is full. The first prompt does not grow it."""
        digest = hashlib.sha256(b"".join([request.prompt.encode("utf-8", errors="replace"), *request.images])).digest()
        if digest in self.prompts or len(self.prompts) >= MAX_PROMPTS:
            return
        growth_bytes = model.build.growth_bytes
        if growth_bytes is None:
            growth_bytes = request.prompt_tokens * model.build.cache_bytes_per_token
        if self.prompts:
            self.cache_bytes = min(self.cache_bytes + growth_bytes, self.cache_limit_bytes)
        self.prompts.add(digest)


def footprint(model: Model, options: LoadOptions, num_parallel: int, settings: Settings) -> Footprint:
    """Compute the sizes. The cache of all slots is allocated at the load. ps counts neither projector nor process."""
    build = model.build
    projector_bytes = build.projector_bytes if model.is_vision else 0
    buffers_bytes = options.num_ctx * num_parallel * build.cache_bytes_per_token + COMPUTE_BYTES
    counted_bytes = max(build.size_bytes - projector_bytes, 0) + buffers_bytes
    return Footprint(
        reported_bytes=int(counted_bytes / settings.under_reporting),
        loaded_bytes=build.size_bytes + buffers_bytes + OVERHEAD_BYTES,
        cache_limit_bytes=settings.prompt_cache_bytes,
    )
