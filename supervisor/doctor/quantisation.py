"""Bits per weight of a model. They determine its memory and, on a CPU, its speed."""

import re
from enum import Enum

_UNQUANTISED = frozenset({"F16", "BF16", "F32", "F64", "FP16", "FP32"})
_FOUR_BITS = frozenset({"MXFP4", "NVFP4"})  # floating-point numbers of four bits, with a scale for each block
_BITS = re.compile(r"I?T?Q(\d)")
_TAG_OF_BITS = re.compile(r"-(?:fp|bf|f|i?q)\d+[a-z0-9_]*$", re.IGNORECASE)
GOOD_BITS = 5  # more bits hardly improve an answer, as measured perplexities of quantised models show
UNQUANTISED_BITS = 16


class QuantisationClass(Enum):
    """Class of a quantisation. LARGE has more bits than are useful."""

    UNQUANTISED = "unquantised"
    LARGE = "large"
    GOOD = "good"
    UNKNOWN = "unknown"


def bits(level: str, size_bytes: int, parameters: int) -> int | None:
    """Bits per weight by Ollama's name (`Q4_K_M`, `MXFP4`, `F16`), else by the size of the file. None if both are unknown."""
    word = level.upper()
    if word in _UNQUANTISED:
        return UNQUANTISED_BITS
    if word in _FOUR_BITS:
        return 4
    if found := _BITS.match(word):
        return int(found[1])
    return round(size_bytes * 8 / parameters) if parameters else None


def kind(weight_bits: int | None) -> QuantisationClass:
    """Classify by bits per weight."""
    if weight_bits is None:
        return QuantisationClass.UNKNOWN
    if weight_bits >= UNQUANTISED_BITS:
        return QuantisationClass.UNQUANTISED
    return QuantisationClass.LARGE if weight_bits > GOOD_BITS else QuantisationClass.GOOD


def smaller_tag(model: str) -> str:
    """Name of the same model with four bits in Ollama's library: `gemma3:4b-it-q4_K_M` for `gemma3:4b-it-fp16`."""
    name, _, tag = model.partition(":")
    stem = _TAG_OF_BITS.sub("", f"-{tag}").lstrip("-")
    return f"{name}:{stem}-q4_K_M" if stem and stem != "latest" else f"{name}:q4_K_M"
