"""Stalls: how long jobs have waited without a worker that holds one, and what is tried then."""

from supervisor.admission.loads import is_any_leaving
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState


def is_memory_unknown(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Ollama has not listed its models for more than `grace_seconds`."""
    known_at_seconds = state.began_at_seconds if state.listed_at_seconds is None else state.listed_at_seconds
    return now_seconds > known_at_seconds + policy.grace_seconds


def is_stalled_too_long(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    return state.stall is not None and now_seconds >= state.stall.since_seconds + policy.max_hold_seconds


def can_evict(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """The memory limit causes the stall, no eviction was tried in it, and one of our models is loaded."""
    is_over = policy.limit_bytes > 0 and state.used_bytes > policy.low_water_bytes and not state.slots
    has_evicted = state.stall is not None and state.stall.has_evicted
    return is_over and not has_evicted and any(model.is_listed for model in state.models)


def is_canary_due(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """The stall is too long, and an eviction did not end it or was not possible. True until a job is leased."""
    is_eviction_over = not can_evict(state, policy) and not is_any_leaving(state, policy, now_seconds)
    is_settled = state.slots > 0 or now_seconds >= state.slots_changed_at_seconds + policy.reopen_seconds
    return is_eviction_over and is_settled and is_stalled_too_long(state, policy, now_seconds)
