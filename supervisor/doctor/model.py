"""What a model's file says of itself, in bytes and tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from supervisor.doctor import quantisation
from supervisor.doctor.quantisation import QuantisationClass
from supervisor.doctor.server import Description, Tag

# One call at a time, whatever OLLAMA_NUM_PARALLEL says (ollama.md 4.2).
SERIAL_FAMILIES = ("mllama", "qwen3vl", "qwen35", "qwen3next", "lfm2", "nemotron_h")
_BITS_OF_FILE_TYPE = {0: 32, 1: 16, 7: 8}  # general.file_type of a projector: F32, F16, Q8_0
VISION, COMPLETION = "vision", "completion"

Facts = Mapping[str, int | float | str]


class Role(Enum):
    """What a model is for. The word is that of its settings: AI_<ROLE>_MODEL."""

    VISION = "vision"
    FEEDBACK = "feedback"

    @property
    def variable(self) -> str:
        return f"AI_{self.value.upper()}_MODEL"


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """`weight_bytes` are all files but the projector, which looks at pictures. `cached_values_per_token` is how many numbers the
    key-value cache holds of each token; None where the file does not say.
    """

    name: str
    roles: tuple[Role, ...]
    family: str
    parameter_size: str
    quantisation: str
    weight_bits: int | None
    weight_bytes: int
    projector_bytes: int
    cached_values_per_token: int | None
    context_tokens: int
    capabilities: tuple[str, ...]

    @property
    def kind(self) -> QuantisationClass:
        return quantisation.kind(self.weight_bits)

    @property
    def is_serial(self) -> bool:
        return self.family.startswith(SERIAL_FAMILIES)

    def calls_at_once(self, num_parallel: int) -> int:
        return 1 if self.is_serial else num_parallel


def model(roles: tuple[Role, ...], tag: Tag, said: Description) -> InstalledModel:
    info, projector_bytes = said.model_info, min(_projector_bytes(said.projector_info), tag.size)
    weight_bytes = tag.size - projector_bytes
    return InstalledModel(
        name=tag.name,
        roles=roles,
        family=said.details.family,
        parameter_size=said.details.parameter_size,
        quantisation=said.details.quantization_level,
        weight_bits=quantisation.bits(said.details.quantization_level, weight_bytes, _number(info, "general.parameter_count")),
        weight_bytes=weight_bytes,
        projector_bytes=projector_bytes,
        cached_values_per_token=_cached_values(info),
        context_tokens=_number(info, f"{info.get('general.architecture')}.context_length"),
        capabilities=tuple(said.capabilities),
    )


def _projector_bytes(info: Facts) -> int:
    bits = _BITS_OF_FILE_TYPE.get(_number(info, "general.file_type"), 16)
    return _number(info, "general.parameter_count") * bits // 8


def _cached_values(info: Facts) -> int | None:
    """Keys and values of all layers. Heads that differ from layer to layer are a list, which is not shown: then as if no layer
    shared its keys among heads, which is too much and never too little.
    """
    family = info.get("general.architecture")
    layers, heads = _number(info, f"{family}.block_count"), _number(info, f"{family}.attention.head_count")
    if not layers or not heads:
        return None
    head_width = _number(info, f"{family}.embedding_length") // heads
    key_width = _number(info, f"{family}.attention.key_length") or head_width
    value_width = _number(info, f"{family}.attention.value_length") or head_width
    return layers * (_number(info, f"{family}.attention.head_count_kv") or heads) * (key_width + value_width)


def _number(info: Facts, key: str) -> int:
    value = info.get(key, 0)
    return int(value) if isinstance(value, int | float) and value > 0 else 0
