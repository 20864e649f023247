"""When a model is to be loaded, and when one that was asked to leave is gone."""

from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState, ModelStatus
from supervisor.admission.turns import active_model, blocks_active_model, is_pair_too_big, must_alternate

MEMORY_IS_BACK_BYTES = 256 * 2**20  # what Ollama's own processes hold without a model, and more
MOST_DOUBLINGS = 4


def is_load_due(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """It is missing, work needs it, and there is room."""
    is_missing = not state.is_listed(model.name) and not model.is_unlistable
    return (
        is_missing
        and _is_needed(model, state, policy, now_seconds)
        and _is_room(state, policy, now_seconds)
        and now_seconds >= _retry_at(model, policy)
    )


def is_leaving(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Asked to, and still expected to do so: a request would bring it back."""
    return model.name in state.unloading and now_seconds < model.unload_began_at_seconds + policy.unload_seconds


def is_anybody_leaving(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    return any(is_leaving(model, state, policy, now_seconds) for model in state.models)


def is_memory_back(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """A model leaves the list before its process ends."""
    host = state.host
    is_seen = host is not None and host.ollama_bytes is not None and host.at_seconds > state.gone_at_seconds
    is_agreed = state.observed_bytes <= state.reported_bytes + MEMORY_IS_BACK_BYTES
    return (is_seen and is_agreed) or now_seconds >= state.gone_at_seconds + policy.memory_back_seconds


def _is_needed(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Everything that waits comes to the feedback model in the end; where only one may be asked, the lock must be ours."""
    is_wanted = model.jobs > 0 or (state.waiting > 0 and model.name == policy.feedback_model)
    return is_wanted and (
        not must_alternate(state, policy) or model.name == active_model(state, policy, now_seconds) == state.exclusive_model
    )


def _is_room(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Nobody loads, nobody leaves, and nobody has yet to be asked to leave."""
    is_crowded = is_pair_too_big(state, policy) and any(blocks_active_model(each, state) for each in state.models)
    is_busy = is_anybody_leaving(state, policy, now_seconds) or any(model.is_loading for model in state.models)
    return not is_crowded and not is_busy and is_memory_back(state, policy, now_seconds)


def _retry_at(model: ModelStatus, policy: AdmissionPolicy) -> float:
    if not model.load_failures:
        return model.load_failed_at_seconds
    waits_seconds = policy.load_retry_seconds * 2.0 ** min(model.load_failures - 1, MOST_DOUBLINGS)
    return model.load_failed_at_seconds + waits_seconds
