"""What of Ollama's list cannot be believed, or was not expected: told in the status, decides nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from supervisor.admission.facts import LoadedModel
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState

MUCH_MORE = 1.25  # times the reported size, and
MUCH_MORE_BYTES = 256 * 2**20  # beyond it: a prompt cache or a projector, not a runner's own code


class AnomalyKind(Enum):
    """The kinds. Sources: section 3.5 and 10 of what is known of Ollama's /api/ps."""

    HOLDS_MORE = "Ollama's processes hold far more than it reports"
    FOREIGN = "a model that we did not ask for is in memory"
    MISSING = "a model that has calls in flight is not listed"
    UNLISTED = "a model was loaded and is not listed: it has another name there, or OLLAMA_KEEP_ALIVE is 0"
    CONTEXT = "a model has another context than was asked for"
    SPILLED = "a model is only partly on the GPU"
    ALIAS = "two names stand for one model: each request for one reloads the other"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """`model` is empty where it is about all of them."""

    lie: AnomalyKind
    model: str = ""


def notes(state: AdmissionState, policy: AdmissionPolicy) -> tuple[Anomaly, ...]:
    """What the status should say, of the last look."""
    first: dict[str, str] = {}
    for loaded_model in state.listed:
        first[loaded_model.digest] = min(loaded_model.name, first.get(loaded_model.digest, loaded_model.name))
    each = (note for loaded_model in state.listed for note in _of_one(loaded_model, first[loaded_model.digest], policy))
    return (*_of_all(state), *each)


def _of_all(state: AdmissionState) -> Iterator[Anomaly]:
    reported = state.reported_bytes
    if state.listed and state.observed_bytes > max(MUCH_MORE * reported, reported + MUCH_MORE_BYTES):
        yield Anomaly(AnomalyKind.HOLDS_MORE)
    for model in state.models:
        if model.in_flight and state.listed_at_seconds is not None and not state.is_listed(model.name):
            yield Anomaly(AnomalyKind.MISSING, model.name)
        if model.is_unlistable:
            yield Anomaly(AnomalyKind.UNLISTED, model.name)


def _of_one(loaded_model: LoadedModel, first_of_blob: str, policy: AdmissionPolicy) -> Iterator[Anomaly]:
    if loaded_model.name not in policy.models:
        yield Anomaly(AnomalyKind.FOREIGN, loaded_model.name)
    asked = policy.context_tokens(loaded_model.name)
    if asked and loaded_model.context_tokens not in asked:
        yield Anomaly(AnomalyKind.CONTEXT, loaded_model.name)
    if 0 < loaded_model.size_vram_bytes < loaded_model.size_bytes:
        yield Anomaly(AnomalyKind.SPILLED, loaded_model.name)
    if first_of_blob < loaded_model.name:
        yield Anomaly(AnomalyKind.ALIAS, loaded_model.name)
