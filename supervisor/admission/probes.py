"""Conditions of probes: when the monitor may ask a failing model, and when a silent one is ended."""

from supervisor.admission.decision import Probe
from supervisor.admission.loads import is_leaving
from supervisor.admission.model_state import ModelState
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.state import AdmissionState, ModelStatus
from supervisor.admission.turns import active_model, must_alternate


def is_probe_due(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    """Return True if the breaker waits for a probe, and the probe loads and disturbs nothing.

    Not with all slots closed: it would use the freed memory.
    """
    is_changing = model.is_loading or is_leaving(model, policy, now_seconds)
    is_possible = (
        state.slots > 0 and _is_there(model, state) and not is_changing and _has_the_turn(model, state, policy, now_seconds)
    )
    return is_possible and model.breaker.is_probe_due(now_seconds, policy.probe_seconds)


def probe_of(model: ModelStatus, policy: AdmissionPolicy) -> Probe:
    """Return the probe. A silent model gets one try, because a request that waits in it would delay its unload."""
    try_seconds = policy.try_seconds(model.name)
    return Probe(model.name, try_seconds, try_seconds if model.breaker.is_silent else policy.wedge_seconds(model.name))


def is_end_due(model: ModelStatus, state: AdmissionState) -> bool:
    """Return True if calls and a probe got no token, and the model was not unloaded since.

    A probe that began before the return of a server that was silent as a whole proves nothing about the model.
    """
    breaker = model.breaker
    proven_since_seconds = max(breaker.tripped_at_seconds, state.answers_since_seconds)
    is_stuck = breaker.is_open and breaker.is_silent and breaker.failed_probe_began_at_seconds >= proven_since_seconds
    is_idle = not model.in_flight and breaker.probe_began_at_seconds is None
    is_done = model.unload_began_at_seconds >= breaker.tripped_at_seconds
    return is_stuck and is_idle and not is_done and model.is_listed and state.list_failure is None


def _is_there(model: ModelStatus, state: AdmissionState) -> bool:
    """A model that is not loaded is loaded first. Without a list that is not known, and the probe may load it."""
    if state.is_server_away:
        return False
    return model.is_listed or model.state is ModelState.UNLISTED or state.list_failure is not None


def _has_the_turn(model: ModelStatus, state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> bool:
    if not must_alternate(state, policy):
        return True
    return model.name == active_model(state, policy, now_seconds) == state.locked_model
