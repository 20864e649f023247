"""An installed model: sizes in bytes and tokens, from the description of its files."""

from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.doctor import quantisation
from supervisor.doctor.quantisation import QuantisationClass
from worker.ipc.contract import Step
from worker.ollama.api import Description
from worker.ollama.models import ListedModel

# One call at a time, whatever OLLAMA_NUM_PARALLEL is (docs/ollama-api.md 4.2).
SERIAL_FAMILIES = ("mllama", "qwen3vl", "qwen35", "qwen3next", "lfm2", "nemotron_h")
_BITS_OF_FILE_TYPE = {0: 32, 1: 16, 7: 8}  # general.file_type of a projector: F32, F16, Q8_0
VISION, COMPLETION = "vision", "completion"

ModelInfo = Mapping[str, int | float | str]


def model_variable(step: Step) -> str:
    """The setting that names the step's model."""
    return f"AI_{step.name}_MODEL"


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """`weight_bytes` are all files but the projector, which encodes pictures.

    `cached_values_per_token` is the count of numbers that the key-value cache holds per token, None if it is not known.
    """

    name: str
    steps: tuple[Step, ...]
    family: str
    parameter_size: str
    quantisation: str
    weight_bits: int | None
    weight_bytes: int
    projector_bytes: int
    cached_values_per_token: int | None
    context_tokens: int
    capabilities: tuple[str, ...]
    remote_host: str = ""  # empty for a model that runs on this server

    @property
    def kind(self) -> QuantisationClass:
        return quantisation.kind(self.weight_bits)

    @property
    def is_serial(self) -> bool:
        return self.family.startswith(SERIAL_FAMILIES)

    def calls_at_once(self, num_parallel: int) -> int:
        """Concurrent calls that Ollama runs with this setting."""
        return 1 if self.is_serial else num_parallel


def installed_model(steps: tuple[Step, ...], listed: ListedModel, description: Description) -> InstalledModel:
    """Combine the entry of /api/tags with the description of /api/show."""
    info, projector_bytes = description.model_info, min(_projector_bytes(description.projector_info), listed.size)
    weight_bytes, details = listed.size - projector_bytes, description.details
    return InstalledModel(
        name=listed.name,
        steps=steps,
        family=details.family,
        parameter_size=details.parameter_size,
        quantisation=details.quantization_level,
        weight_bits=quantisation.bits(details.quantization_level, weight_bytes, _number(info, "general.parameter_count")),
        weight_bytes=weight_bytes,
        projector_bytes=projector_bytes,
        cached_values_per_token=_cached_values(info),
        context_tokens=_number(info, f"{info.get('general.architecture')}.context_length"),
        capabilities=tuple(description.capabilities),
        remote_host=description.remote_host or description.remote_model,
    )


def _projector_bytes(info: ModelInfo) -> int:
    bits = _BITS_OF_FILE_TYPE.get(_number(info, "general.file_type"), 16)
    return _number(info, "general.parameter_count") * bits // 8


def _cached_values(info: ModelInfo) -> int | None:
    """Keys and values of all layers.

    Ollama omits head counts that differ from layer to layer. Then no layer is assumed to share its keys among heads, which
    overestimates and never underestimates.
    """
    family = info.get("general.architecture")
    layers, heads = _number(info, f"{family}.block_count"), _number(info, f"{family}.attention.head_count")
    if not layers or not heads:
        return None
    head_width = _number(info, f"{family}.embedding_length") // heads
    key_width = _number(info, f"{family}.attention.key_length") or head_width
    value_width = _number(info, f"{family}.attention.value_length") or head_width
    return layers * (_number(info, f"{family}.attention.head_count_kv") or heads) * (key_width + value_width)


def _number(info: ModelInfo, key: str) -> int:
    value = info.get(key, 0)
    return int(value) if isinstance(value, int | float) and value > 0 else 0
