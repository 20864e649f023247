"""The models that the simulator pretends to have."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from demo.ollama_simulator.api_error import ApiError

EXTRA_CAPABILITIES = {"vision": ("vision",), "thinking": ("tools", "thinking")}
INSTALLED_AT = "2026-11-23T08:07:00.745967314Z"


@dataclass(frozen=True, slots=True)
class Build:
    """What a model file says of itself; sizes in bytes and tokens."""

    family: str
    parameter_size: str
    parameter_count: int
    quantization_level: str
    size_bytes: int
    context_length: int
    embedding_length: int


UNKNOWN_BUILD = Build("llama", "1.26M", 1_260_032, "unknown", 5_049_529, 32_768, 512)  # the recordings' own model
BUILDS = {
    "qwen2.5vl:3b": Build("qwen25vl", "3.8B", 3_754_622_976, "Q4_K_M", 3_200_627_168, 128_000, 2048),
    "gpt-oss:latest": Build("gptoss", "20.9B", 20_914_757_184, "MXFP4", 13_793_441_244, 131_072, 2880),
}


@dataclass(frozen=True, slots=True)
class Model:
    """`name` always has its tag. `capabilities` are Ollama's words: completion, vision, tools, thinking."""

    name: str
    build: Build
    capabilities: tuple[str, ...]

    @property
    def is_vision(self) -> bool:
        return "vision" in self.capabilities

    @property
    def is_thinking(self) -> bool:
        return "thinking" in self.capabilities

    @property
    def digest(self) -> str:
        """64 hexadecimal digits; of the name, as there is no file."""
        return hashlib.sha256(self.name.encode()).hexdigest()


class Catalogue:
    """Models by full name, in the order given."""

    def __init__(self, specifications: Iterable[str]) -> None:
        models = [_model(specification) for specification in specifications]
        self.models = {model.name: model for model in models}

    def find(self, name: str) -> Model:
        """404 for a name that is not there; `latest` is the tag where none is given."""
        model = self.models.get(full_name(name))
        if model is None:
            raise not_found(name)
        return model


def not_found(name: str) -> ApiError:
    return ApiError(404, f"model '{name}' not found")


def full_name(name: str) -> str:
    return name if ":" in name else f"{name}:latest"


def _model(specification: str) -> Model:
    """NAME, NAME:vision or NAME:thinking, where NAME may have a tag of its own."""
    head, _, last = specification.rpartition(":")
    extra = EXTRA_CAPABILITIES.get(last, ()) if head else ()
    name = full_name(head if extra else specification)
    return Model(name, BUILDS.get(name, UNKNOWN_BUILD), ("completion", *extra))
