"""The context window: cut a long prompt, and limit the length of the answer."""

from dataclasses import replace

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.dialect import Dialect
from testkit.ollama_simulator.exchange import Exchange
from testkit.ollama_simulator.json_text import compact
from testkit.ollama_simulator.request import SYSTEM, ParsedRequest
from testkit.ollama_simulator.token import tokens

HEAD_TOKENS = 4  # num_keep, the beginning that a cut prompt keeps
CUT_EXTRA_TOKENS = 2  # recording 17: 1026 tokens of a window of 2048
CANNOT_SHIFT = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, "
    "adjust the context length in settings, or use a model with a longer context length"
)


def fitted(exchange: Exchange) -> Exchange:
    """Cut the prompt to the window. Raises ApiError 400 where Ollama does not cut (docs/ollama-api.md 6.4)."""
    options, num_ctx = exchange.options, exchange.options.load.num_ctx
    request = _cut(exchange.request, exchange.model, exchange.dialect, num_ctx)
    if not options.load.can_shift:  # without a shift the answer ends with the window
        options = replace(options, limit_tokens=min(options.limit_tokens, max(num_ctx - request.prompt_tokens, 1)))
    return replace(exchange, request=request, options=options)


def _cut(request: ParsedRequest, model: Model, dialect: Dialect, num_ctx: int) -> ParsedRequest:
    if request.prompt_tokens < num_ctx:
        return request
    if request.images or not request.may_truncate:
        raise _too_long(request, num_ctx)
    kept = _without_oldest_turns(request, num_ctx)
    if kept.prompt_tokens < num_ctx:
        return kept
    if dialect.is_native(model):
        raise _too_long(kept, num_ctx)
    if not request.may_shift:
        raise ApiError(400, CANNOT_SHIFT)
    pieces, tail_tokens = tokens(kept.prompt), num_ctx // 2 + CUT_EXTRA_TOKENS - HEAD_TOKENS
    return replace(kept, prompt="".join([*pieces[:HEAD_TOKENS], *pieces[-tail_tokens:]]))


def _without_oldest_turns(request: ParsedRequest, num_ctx: int) -> ParsedRequest:
    """Drop the oldest turns. The system text and the last turn stay."""
    turns = list(request.turns)
    while sum(len(tokens(turn.text)) for turn in turns) >= num_ctx:
        oldest = next((turn for turn in turns[:-1] if turn.role != SYSTEM), None)
        if oldest is None:
            break
        turns.remove(oldest)
    return replace(request, turns=tuple(turns), prompt="\n".join(turn.text for turn in turns))


def _too_long(request: ParsedRequest, num_ctx: int) -> ApiError:
    count = request.prompt_tokens
    message = f"request ({count} tokens) exceeds the available context size ({num_ctx} tokens), try increasing it"
    error = {"code": 400, "message": message, "type": "exceed_context_size_error", "n_prompt_tokens": count, "n_ctx": num_ctx}
    return ApiError(400, compact({"error": error}))
