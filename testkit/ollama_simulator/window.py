"""The context window: what a model sees of a prompt that is too long, and how much it may say after one that is not."""

from dataclasses import replace

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.catalogue import Model
from testkit.ollama_simulator.dialect import Dialect
from testkit.ollama_simulator.exchange import Exchange
from testkit.ollama_simulator.json_text import compact
from testkit.ollama_simulator.request import SYSTEM, Ask
from testkit.ollama_simulator.token import tokens

HEAD_TOKENS = 4  # num_keep, the beginning that a cut prompt keeps
CUT_EXTRA_TOKENS = 2  # recording 17: 1026 tokens of a window of 2048
CANNOT_SHIFT = (
    "the prompt is longer than the context length currently available to the model; shorten the prompt, "
    "adjust the context length in settings, or use a model with a longer context length"
)


def fitted(exchange: Exchange) -> Exchange:
    """The exchange as far as its model sees it. Raises ApiError 400 where Ollama does not cut (ollama.md, 6.4)."""
    options, num_ctx = exchange.options, exchange.options.load.num_ctx
    ask = _cut(exchange.ask, exchange.model, exchange.dialect, num_ctx)
    if not options.load.can_shift:  # where the engine cannot shift the window, what is said ends with it
        options = replace(options, limit_tokens=min(options.limit_tokens, max(num_ctx - ask.prompt_tokens, 1)))
    return replace(exchange, ask=ask, options=options)


def _cut(ask: Ask, model: Model, dialect: Dialect, num_ctx: int) -> Ask:
    if ask.prompt_tokens < num_ctx:
        return ask
    if ask.images or not ask.may_truncate:
        raise _too_long(ask, num_ctx)
    kept = _without_oldest_turns(ask, num_ctx)
    if kept.prompt_tokens < num_ctx:
        return kept
    if dialect.is_native(model):
        raise _too_long(kept, num_ctx)
    if not ask.may_shift:
        raise ApiError(400, CANNOT_SHIFT)
    pieces, tail_tokens = tokens(kept.prompt), num_ctx // 2 + CUT_EXTRA_TOKENS - HEAD_TOKENS
    return replace(kept, prompt="".join([*pieces[:HEAD_TOKENS], *pieces[-tail_tokens:]]))


def _without_oldest_turns(ask: Ask, num_ctx: int) -> Ask:
    """The system's words and the last turn stay."""
    turns = list(ask.turns)
    while sum(len(tokens(turn.text)) for turn in turns) >= num_ctx:
        oldest = next((turn for turn in turns[:-1] if turn.role != SYSTEM), None)
        if oldest is None:
            break
        turns.remove(oldest)
    return replace(ask, turns=tuple(turns), prompt="\n".join(turn.text for turn in turns))


def _too_long(ask: Ask, num_ctx: int) -> ApiError:
    count = ask.prompt_tokens
    message = f"request ({count} tokens) exceeds the available context size ({num_ctx} tokens), try increasing it"
    error = {"code": 400, "message": message, "type": "exceed_context_size_error", "n_prompt_tokens": count, "n_ctx": num_ctx}
    return ApiError(400, compact({"error": error}))
