"""What of Ollama's list cannot be believed, or was not expected: told in the status, decides nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from supervisor.admission.facts import Resident
from supervisor.admission.policy import Policy
from supervisor.admission.state import State

MUCH_MORE = 1.25  # times the reported size, and
MUCH_MORE_BYTES = 256 * 2**20  # beyond it: a prompt cache or a projector, not a runner's own code


class Lie(Enum):
    """The kinds. Sources: section 3.5 and 10 of what is known of Ollama's /api/ps."""

    HOLDS_MORE = "Ollama's processes hold far more than it reports"
    FOREIGN = "a model that we did not ask for is in memory"
    MISSING = "a model that has calls in flight is not listed"
    UNLISTED = "a model was loaded and is not listed: it has another name there, or OLLAMA_KEEP_ALIVE is 0"
    CONTEXT = "a model has another context than was asked for"
    SPILLED = "a model is only partly on the GPU"
    ALIAS = "two names stand for one model: each request for one reloads the other"


@dataclass(frozen=True, slots=True)
class Note:
    """`model` is empty where it is about all of them."""

    lie: Lie
    model: str = ""


def notes(state: State, policy: Policy) -> tuple[Note, ...]:
    """What the status should say, of the last look."""
    first: dict[str, str] = {}
    for resident in state.listed:
        first[resident.digest] = min(resident.name, first.get(resident.digest, resident.name))
    each = (note for resident in state.listed for note in _of_one(resident, first[resident.digest], policy))
    return (*_of_all(state), *each)


def _of_all(state: State) -> Iterator[Note]:
    reported = state.reported_bytes
    if state.listed and state.observed_bytes > max(MUCH_MORE * reported, reported + MUCH_MORE_BYTES):
        yield Note(Lie.HOLDS_MORE)
    for model in state.models:
        if model.in_flight and state.listed_at_seconds is not None and not state.is_listed(model.name):
            yield Note(Lie.MISSING, model.name)
        if model.is_unlistable:
            yield Note(Lie.UNLISTED, model.name)


def _of_one(resident: Resident, first_of_blob: str, policy: Policy) -> Iterator[Note]:
    if resident.name not in policy.models:
        yield Note(Lie.FOREIGN, resident.name)
    asked = policy.context_tokens(resident.name)
    if asked and resident.context_tokens not in asked:
        yield Note(Lie.CONTEXT, resident.name)
    if 0 < resident.size_vram_bytes < resident.size_bytes:
        yield Note(Lie.SPILLED, resident.name)
    if first_of_blob < resident.name:
        yield Note(Lie.ALIAS, resident.name)
