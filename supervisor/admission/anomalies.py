"""Anomalies in Ollama's list: shown in the status, used by no rule."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from supervisor.admission.facts import LoadedModel
from supervisor.admission.model_state import ModelState
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState

MUCH_MORE = 1.25  # times the reported size, and
MUCH_MORE_BYTES = 256 * 2**20  # above it: more than a runner's own code, so a prompt cache or a projector


class AnomalyKind(Enum):
    """Kinds of anomalies, in the words of the status. Sources: sections 3.5 and 10 of the notes on Ollama's /api/ps."""

    HOLDS_MORE = "Ollama's processes use far more memory than it reports"
    FOREIGN = "a model that this service does not use is in memory"
    MISSING = "a model has calls in flight and is not listed"
    UNLISTED = "a model was loaded and is not listed: Ollama uses another name for it, or OLLAMA_KEEP_ALIVE is 0"
    CONTEXT = "a model was loaded with another context length than requested"
    SPILLED = "a model is only partly on the GPU"
    FELL_OFF = "a model was on the GPU and is now in main memory only, so it answers many times slower"
    ALIAS = "two names stand for one model: each request for one of them reloads the other"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """`model` is empty if the anomaly concerns all models."""

    kind: AnomalyKind
    model: str = ""


def find_anomalies(state: AdmissionState, policy: AdmissionPolicy) -> tuple[Anomaly, ...]:
    """Return the anomalies of the last list."""
    first_names: dict[str, str] = {}
    for loaded_model in state.listed:
        first_names[loaded_model.digest] = min(loaded_model.name, first_names.get(loaded_model.digest, loaded_model.name))
    found = list(_of_the_list(state))
    for loaded_model in state.listed:
        found.extend(_of_one_model(loaded_model, first_names[loaded_model.digest], policy))
    return tuple(found)


def _of_the_list(state: AdmissionState) -> Iterator[Anomaly]:
    reported = state.reported_bytes
    if state.listed and state.observed_bytes > max(MUCH_MORE * reported, reported + MUCH_MORE_BYTES):
        yield Anomaly(AnomalyKind.HOLDS_MORE)
    for model in state.models:
        if model.in_flight and state.listed_at_seconds is not None and not model.is_listed:
            yield Anomaly(AnomalyKind.MISSING, model.name)
        if model.state is ModelState.UNLISTED:
            yield Anomaly(AnomalyKind.UNLISTED, model.name)
    for loaded_model in state.listed:
        known = state.model(loaded_model.name)
        if known is not None and known.on_gpu_bytes and not loaded_model.size_vram_bytes:
            yield Anomaly(AnomalyKind.FELL_OFF, loaded_model.name)


def _of_one_model(loaded_model: LoadedModel, first_name: str, policy: AdmissionPolicy) -> Iterator[Anomaly]:
    """`first_name`: the first name, in alphabetical order, of those that stand for the same file."""
    if loaded_model.name not in policy.models:
        yield Anomaly(AnomalyKind.FOREIGN, loaded_model.name)
    requested = policy.context_tokens(loaded_model.name)
    largest_tokens = loaded_model.largest_context_tokens or math.inf
    if requested and loaded_model.context_tokens not in {min(tokens, largest_tokens) for tokens in requested}:
        yield Anomaly(AnomalyKind.CONTEXT, loaded_model.name)
    if 0 < loaded_model.size_vram_bytes < loaded_model.size_bytes:
        yield Anomaly(AnomalyKind.SPILLED, loaded_model.name)
    if first_name < loaded_model.name:
        yield Anomaly(AnomalyKind.ALIAS, loaded_model.name)
