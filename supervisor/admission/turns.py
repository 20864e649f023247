"""Turns: which of two models may be called, where both may not be called at the same time."""

from supervisor.admission.policy import AdmissionPolicy, TakeTurns
from supervisor.admission.state import AdmissionState, ModelStatus


def active_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> str | None:
    """Return the only model that may be called. None: all may, or no job has waited yet."""
    if not must_alternate(state, policy):
        return None
    current, other = state.model(state.active), _longest_waiting_other(state)
    if other is None:
        return current.name if current else None
    if current is None or not current.has_work or _is_trial_over(current, state, policy):
        return other.name
    return other.name if _is_turn_over(other, state, policy, now_seconds) else current.name


def _longest_waiting_other(state: AdmissionState) -> ModelStatus | None:
    others = [model for model in state.models if model.jobs and model.name != state.active]
    return max(others, key=lambda model: model.oldest_seconds, default=None)


def _is_trial_over(current: ModelStatus, state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Turns that only measure interference end as soon as the model's speed alone is known."""
    is_trial = policy.take_turns is TakeTurns.AUTO and not is_pair_too_big(state, policy) and state.interference.is_measuring
    return is_trial and state.interference.is_measured_alone(current.name)


def _is_turn_over(other: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """A turn lasts its full length, and longer until the other model's oldest job has waited as long."""
    length_seconds = turn_seconds(state, policy)
    return now_seconds >= state.turn_since_seconds + length_seconds and other.oldest_seconds >= length_seconds


def turn_seconds(state: AdmissionState, policy: AdmissionPolicy) -> float:
    """Length of a turn. Turns that need a load are long enough that loads take a small part of the time."""
    if not is_pair_too_big(state, policy):
        return policy.turn_seconds
    return max(policy.exclusive_seconds, policy.exclusive_loads * max(model.load_seconds for model in state.models))


def must_alternate(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Return True if only one of two models may be called at a time: they do not fit, or must share the cores by turns."""
    return is_pair_too_big(state, policy) or (len(state.models) > 1 and _must_share_cores(state, policy))


def _must_share_cores(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    if policy.take_turns is TakeTurns.AUTO:
        return state.interference.needs_turns(policy.turns_below)
    return policy.take_turns is TakeTurns.ALWAYS


def is_pair_too_big(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Return True if the server cannot hold both models.

    The evidence is the server's own limit, the sum of both listed sizes (above the low water no slot would open again), or a
    server that keeps loading each model in the place of the other.
    """
    sizes = [model.size_bytes for model in state.models]
    is_over = policy.limit_bytes > 0 and sum(sizes) > policy.low_water_bytes and all(sizes)
    return len(sizes) > 1 and (policy.max_loaded_models == 1 or is_over or state.replacements.prove_too_large)


def blocks_active_model(model: ModelStatus, state: AdmissionState) -> bool:
    """Loaded although the other model is active, and not yet unloaded in this turn. A second unload would not help:
    a model that stays after the first is in use by another client.
    """
    is_other = model.name != state.active
    return is_other and model.is_listed and model.unload_began_at_seconds < state.turn_since_seconds
