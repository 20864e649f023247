"""The models of the simulator."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from testkit.ollama_simulator.api_error import ApiError
from testkit.ollama_simulator.size import read_size

EXTRA_CAPABILITIES = {"vision": ("vision",), "thinking": ("tools", "thinking"), "rendered": (), "serial": ()}
CONTEXT = "context"  # the model's largest window, in tokens
REMOTE = "remote"  # the host to which the server passes the requests on
MANNERS = ("looping", "short-prompts", "describing", "blind")  # of vision models, see ocr.in_manner
SIZES = {"size": "size_bytes", "projector": "projector_bytes", "growth": "growth_bytes"}
INSTALLED_AT = "2026-11-23T08:07:00.745967314Z"


@dataclass(frozen=True, slots=True)
class Build:
    """The properties of a model file, sizes in bytes and tokens.

    `size_bytes` is the file, `projector_bytes` the part of it for images. `cache_bytes_per_token` is the key-value cache of one
    token, the product of `layers`, `heads`, `key_heads` and `key_width` (None: the embedding's share). `growth_bytes` is the
    growth of the runner's prompt cache with each further prompt (None: the cache of its tokens). `is_rendered`: Ollama renders
    the prompt of a chat itself (Go template, harmony), not the engine. `is_serial`: the model has one slot, because Ollama
    ignores OLLAMA_NUM_PARALLEL for some families (docs/ollama-api.md 4.2).
    """

    family: str
    parameter_size: str
    parameter_count: int
    quantization_level: str
    size_bytes: int
    context_length: int
    embedding_length: int
    cache_bytes_per_token: int
    projector_bytes: int = 0
    layers: int = 1
    heads: int = 4
    key_heads: int = 2
    key_width: int | None = None
    growth_bytes: int | None = None
    is_rendered: bool = False
    is_serial: bool = False
    remote_host: str = ""


# the model of the recordings: 2048 bytes per token and slot follow from the sizes in recording 19
UNKNOWN_BUILD = Build("llama", "1.26M", 1_260_032, "unknown", 5_049_529, 32_768, 512, 2048)
UNKNOWN_VISION_BUILD = replace(UNKNOWN_BUILD, size_bytes=6_281_785, projector_bytes=1_232_256)
BUILDS = {
    "qwen2.5vl:3b": Build(
        "qwen25vl", "3.8B", 3_754_622_976, "Q4_K_M", 3_200_627_168, 128_000, 2048, 36_864, 1_336_000_000, 36, 16
    ),
    "gpt-oss:latest": Build(
        "gptoss", "20.9B", 20_914_757_184, "MXFP4", 13_793_441_244, 131_072, 2880, 49_152, 0, 24, 64, 8, 64, is_rendered=True
    ),
}
SENTENCE = (" Die", " Rechnung", " ist", " richtig", " und", " der", " Weg", " ist", "  gut", " beschrieben", " .")
ROUNDS = {"loop:latest": SENTENCE, "stutter:latest": (" …",)}  # the recorded models with endless answers


@dataclass(frozen=True, slots=True)
class Model:
    """`name` includes the tag. `capabilities` are Ollama's: completion, vision, tools, thinking.

    `round` is the repeated text of a model whose answers do not end, empty for all others. `manner` is one of MANNERS.
    """

    name: str
    build: Build
    capabilities: tuple[str, ...]
    round: tuple[str, ...] = ()
    manner: str = ""

    @property
    def is_vision(self) -> bool:
        return "vision" in self.capabilities

    @property
    def is_thinking(self) -> bool:
        return "thinking" in self.capabilities

    @property
    def digest(self) -> str:
        """64 hexadecimal digits, computed from the name because there is no file."""
        return hashlib.sha256(self.name.encode()).hexdigest()


class Catalogue:
    """Models by full name, in the order given."""

    def __init__(self, specifications: Iterable[str]) -> None:
        models = [_model(specification) for specification in specifications]
        self.models = {model.name: model for model in models}

    def find(self, name: str) -> Model:
        """Find a model, with the tag `latest` as the default. Raises ApiError 404."""
        model = self.models.get(full_name(name))
        if model is None:
            raise not_found(name)
        return model


def not_found(name: str) -> ApiError:
    return ApiError(404, f"model '{name}' not found")


def full_name(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _model(specification: str) -> Model:
    """Parse NAME[:TAG] followed by any of EXTRA_CAPABILITIES, MANNERS, SIZES, context=, remote= and quant=, each after a colon.

    Raises ValueError for an invalid size.
    """
    parts, extras = specification.split(":"), []
    while len(parts) > 1 and (
        parts[-1] in {*EXTRA_CAPABILITIES, *MANNERS} or parts[-1].partition("=")[0] in {*SIZES, CONTEXT, REMOTE, "quant"}
    ):
        extras.append(parts.pop())
    name = full_name(":".join(parts))
    flags = [extra for extra in reversed(extras) if extra in EXTRA_CAPABILITIES]
    unknown = UNKNOWN_VISION_BUILD if "vision" in flags else UNKNOWN_BUILD
    build = _sized(BUILDS.get(name, unknown), [extra for extra in extras if "=" in extra])
    build = replace(build, is_rendered=build.is_rendered or "rendered" in flags, is_serial="serial" in flags)
    capabilities = [word for flag in flags for word in EXTRA_CAPABILITIES[flag]]
    manner = next((extra for extra in extras if extra in MANNERS), "")
    return Model(name, build, ("completion", *capabilities), ROUNDS.get(name, ()), manner)


def _sized(build: Build, given: list[str]) -> Build:
    for field, _, size in (extra.partition("=") for extra in given):
        if field == REMOTE:
            build = replace(build, remote_host=size)
            continue
        if field == CONTEXT:
            build = replace(build, context_length=int(size))
            continue
        if field == "quant":
            build = replace(build, quantization_level=size)
            continue
        build = replace(build, **{SIZES[field]: read_size(size)})  # type: ignore[arg-type]  # all three are numbers of bytes
    return build
