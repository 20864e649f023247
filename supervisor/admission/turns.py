"""Whose turn it is, where two models cannot be asked at the same time."""

from supervisor.admission.policy import AdmissionPolicy, TakeTurns
from supervisor.admission.state import AdmissionState, ModelStatus

SWAPS = 3  # once may be an unused model's end, twice as well


def active_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> str | None:
    """The only model that may be asked; None where both may, or where nothing has waited yet.

    A turn goes on while the other model has waited for less than one, and ends at once when nothing is left to do.
    """
    if not must_alternate(state, policy):
        return None
    current = next((model for model in state.models if model.name == state.turn), None)
    others = [model for model in state.models if model.jobs and model is not current]
    if not others:
        return current.name if current else None
    eldest = max(others, key=lambda model: model.oldest_seconds)
    is_learnt = current is not None and current.speed.alone.is_known and is_measuring(state, policy)
    if current is None or not current.has_work or is_learnt:
        return eldest.name
    length_seconds = turn_seconds(state, policy)
    is_over = now_seconds >= state.turn_since_seconds + length_seconds
    return eldest.name if is_over and eldest.oldest_seconds >= length_seconds else current.name


def turn_seconds(state: AdmissionState, policy: AdmissionPolicy) -> float:
    """So long that loads take a small part of the time."""
    if not is_pair_too_big(state, policy):
        return policy.turn_seconds
    return max(policy.exclusive_seconds, policy.exclusive_loads * max(model.load_seconds for model in state.models))


def must_alternate(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Whether only one of two models may be asked at a time."""
    return is_pair_too_big(state, policy) or interfere(state, policy) or is_measuring(state, policy)


def is_pair_too_big(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """By the server's own number, by the sizes that it has listed once (with both, no slot would open again), or as it loads one
    in the place of the other.
    """
    sizes = [model.size_bytes for model in state.models]
    is_over = policy.limit_bytes > 0 and sum(sizes) > policy.low_water_bytes and all(sizes)
    return len(sizes) > 1 and (policy.max_loaded_models == 1 or is_over or state.swaps >= SWAPS)


def interfere(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Whether two models get less done together than by turns: parts that add up to 1 would be fair shares."""
    if len(state.models) < 2 or policy.take_turns is not TakeTurns.AUTO:
        return len(state.models) > 1 and policy.take_turns is TakeTurns.ALWAYS
    parts = [model.speed.part for model in state.models]
    return None not in parts and sum(part or 0.0 for part in parts) < policy.turns_below


def is_measuring(state: AdmissionState, policy: AdmissionPolicy) -> bool:
    """Under steady work two models are seen together and hardly ever alone: turns of a few calls tell whether they starve."""
    speeds = [model.speed for model in state.models]
    is_asked = len(speeds) > 1 and policy.take_turns is TakeTurns.AUTO and not is_pair_too_big(state, policy)
    is_half_known = all(speed.together.is_known for speed in speeds) and not all(speed.alone.is_known for speed in speeds)
    return is_asked and is_half_known


def blocks_active_model(model: ModelStatus, state: AdmissionState) -> bool:
    """Of the other one's exclusive_model, and not yet asked to leave in it: who does not leave then is in use by others."""
    is_other = model.name != state.turn
    return is_other and state.is_listed(model.name) and model.unload_began_at_seconds < state.turn_since_seconds
