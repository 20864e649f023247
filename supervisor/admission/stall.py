"""How long work has been held, and what is then tried."""

from supervisor.admission.loads import is_anybody_leaving
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState


def is_unknown(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Ollama has not listed its models for longer than it may."""
    told_at = state.began_at_seconds if state.listed_at_seconds is None else state.listed_at_seconds
    return now_seconds > told_at + policy.grace_seconds


def is_held_too_long(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    return state.held is not None and now_seconds >= state.held.since_seconds + policy.max_hold_seconds


def is_relief_due(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Memory is what work waits for, and there is something to unload."""
    is_wanted = policy.limit_bytes > 0 and state.used_bytes > policy.low_water_bytes and not state.slots
    is_done = state.held is not None and state.held.has_evicted
    return is_wanted and not is_done and any(state.is_listed(model.name) for model in state.models)


def is_canary_due(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """When a relief was no help, or none was possible. Until a job is leased."""
    is_tried = not is_relief_due(state, policy) and not is_anybody_leaving(state, policy, now_seconds)
    is_calm = state.slots > 0 or now_seconds >= state.slots_changed_at_seconds + policy.reopen_seconds
    return is_tried and is_calm and is_held_too_long(state, policy, now_seconds)
