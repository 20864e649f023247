"""Conditions of loads: when a model must be loaded, and when an unloaded one has released its memory."""

from supervisor.admission.model_state import ModelState
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState, ModelStatus
from supervisor.admission.turns import active_model, blocks_active_model, is_pair_too_big, must_alternate
from worker.ipc.backoff import doubling

MEMORY_IS_BACK_BYTES = 256 * 2**20  # more than Ollama's own processes use without a model
MAX_RETRY_FACTOR = 16  # longest wait between two tries, in first waits
CHEAP_SECONDS = 2.0  # a load that fails within this time costs the server little
MAX_CHEAP_FACTOR = 2  # longest wait after such a load, in first waits


def is_load_due(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Return True if jobs need the model, it is not loaded, and there is room."""
    return (
        model.state is ModelState.ABSENT
        and _is_needed(model, state, policy, now_seconds)
        and _is_room(state, policy, now_seconds)
        and now_seconds >= _retry_at_seconds(model, policy)
    )


def is_leaving(model: ModelStatus, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Being unloaded, for less than `unload_seconds`. A request would load it again."""
    return model.is_unloading and now_seconds < model.unload_began_at_seconds + policy.unload_seconds


def is_any_leaving(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    return any(is_leaving(model, policy, now_seconds) for model in state.models)


def is_memory_back(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Return True once an unloaded model's process has ended, which is later than its end in the list."""
    host = state.host
    is_measured = host is not None and host.ollama_bytes is not None and host.at_seconds > state.gone_at_seconds
    is_explained = state.observed_bytes <= state.reported_bytes + MEMORY_IS_BACK_BYTES
    return (is_measured and is_explained) or now_seconds >= state.gone_at_seconds + policy.memory_back_seconds


def _is_needed(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Jobs wait for the model. Each job needs the feedback model in the end. By turns only the active model is needed."""
    is_wanted = model.jobs > 0 or (state.waiting > 0 and model.name == policy.feedback_model)
    if not is_wanted or not must_alternate(state, policy):
        return is_wanted
    return model.name == active_model(state, policy, now_seconds) == state.locked_model


def _is_room(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """No load or unload is in progress, and no model must be unloaded first."""
    is_crowded = is_pair_too_big(state, policy) and any(blocks_active_model(each, state) for each in state.models)
    is_busy = is_any_leaving(state, policy, now_seconds) or any(model.is_loading for model in state.models)
    return not is_crowded and not is_busy and is_memory_back(state, policy, now_seconds)


def _retry_at_seconds(model: ModelStatus, policy: AdmissionPolicy) -> float:
    """A load that failed at once, as of a model that is not installed, is soon repeated. Any other one costs much memory."""
    if not model.load_failures:
        return model.load_failed_at_seconds
    is_cheap = model.load_failed_at_seconds <= model.load_began_at_seconds + CHEAP_SECONDS
    first_seconds = policy.probe_seconds if is_cheap else policy.load_retry_seconds
    max_seconds = (MAX_CHEAP_FACTOR if is_cheap else MAX_RETRY_FACTOR) * first_seconds
    return model.load_failed_at_seconds + doubling(first_seconds, max_seconds, model.load_failures - 1)
