"""`options` of a request: Ollama's types, and the three options that have an effect here."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.catalogue import Model

DEFAULT_NUM_CTX = 4096  # Ollama's default context below 23 GiB of VRAM
MIN_NUM_CTX = 4
MIN_NUM_CTX_VISION = 2048
LIMIT_CONTEXTS = 10  # Ollama limits num_predict to ten contexts (llm/llama_server.go)

GO_TYPES = {  # api/types.go, Options, unknown names are ignored
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"), "integer"),
    **dict.fromkeys(("num_keep", "seed", "num_predict", "top_k", "repeat_last_n"), "integer"),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p", "repeat_penalty"), "float32"),
    **dict.fromkeys(("presence_penalty", "frequency_penalty"), "float32"),
    "use_mmap": "boolean",
    "stop": "array",
}
LOAD_OPTIONS = (
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "use_mmap",
)  # like num_ctx: a change reloads the model


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """The options of a load. `num_ctx` is the context of one slot in tokens.

    `can_shift`: at the end of the window the engine drops the oldest tokens and goes on.
    """

    num_ctx: int
    others: tuple[object, ...]
    can_shift: bool = True

    def of(self, model: Model, *, may_shift: bool) -> "LoadOptions":
        """Limit the options to what the model supports. A model with a projector cannot shift."""
        least = MIN_NUM_CTX_VISION if model.is_vision else MIN_NUM_CTX
        num_ctx = min(max(self.num_ctx, least), model.build.context_length)
        return replace(self, num_ctx=num_ctx, can_shift=may_shift and not model.is_vision)


@dataclass(frozen=True, slots=True)
class Options:
    """`limit_tokens` is num_predict, or ten contexts if num_predict is not positive or larger."""

    load: LoadOptions
    limit_tokens: int
    stop: tuple[str, ...]

    def of(self, model: Model, *, may_shift: bool) -> "Options":
        return replace(self, load=self.load.of(model, may_shift=may_shift))


def read_options(given: Mapping[str, object]) -> Options:
    """Parse the options. A value of a wrong type is a 500, because Ollama reads options after it has found the model."""
    values = {name: value for name, value in given.items() if name in GO_TYPES and value is not None}
    for name, value in values.items():
        _check(name, value)
    stop, num_ctx = values.get("stop"), _whole(values.get("num_ctx")) or DEFAULT_NUM_CTX
    limit_tokens = LIMIT_CONTEXTS * num_ctx
    num_predict = _whole(values.get("num_predict"))
    return Options(
        load=LoadOptions(num_ctx, tuple(values.get(name) for name in LOAD_OPTIONS)),
        limit_tokens=min(num_predict, limit_tokens) if num_predict > 0 else limit_tokens,
        stop=tuple(map(str, stop)) if isinstance(stop, list) else (),
    )


def _check(name: str, value: object) -> None:
    go_type = GO_TYPES[name]
    fits = {
        "integer": isinstance(value, int | float) and not isinstance(value, bool),
        "float32": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "array": isinstance(value, list),
    }
    if not fits[go_type]:
        raise ApiError(500, f'option "{name}" must be of type {go_type}')
    if isinstance(value, list) and not all(isinstance(item, str) for item in value):
        raise ApiError(500, f'option "{name}" must be of an array of strings')


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
