"""Applies a fact to the state of admission. Pure. A fact about a model that is not ours changes nothing."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from supervisor.admission.decision import UNLIMITED
from supervisor.admission.facts import (
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    DecisionPublished,
    Fact,
    HostMeasured,
    ListFailed,
    LoadBegun,
    LoadEnded,
    ModelLockChanged,
    ModelsListed,
    UnloadBegun,
    UnloadEnded,
    WorkersSampled,
)
from supervisor.admission.interference import Interference
from supervisor.admission.model_state import ModelEvent, next_state
from supervisor.admission.state import AdmissionState, ModelStatus, Stall
from worker.ipc.contract import CallOutcome


def apply(state: AdmissionState, fact: Fact) -> AdmissionState:  # noqa: C901  # one line per kind
    match fact:
        case ModelsListed():
            return _models_listed(state, fact)
        case ListFailed():
            return _list_failed(state, fact)
        case HostMeasured():
            return replace(state, host=fact)
        case CallEnded():
            return _call_ended(state, fact)
        case WorkersSampled():
            return _workers_sampled(state, fact)
        case BacklogSampled():
            return _backlog_sampled(state, fact)
        case LoadBegun(model, at_seconds):
            return _change(state, (model,), lambda each: _load_begun(each, at_seconds))
        case LoadEnded(model, is_ok, at_seconds):
            return _change(state, (model,), lambda each: _load_ended(each, at_seconds, is_ok=is_ok))
        case UnloadBegun():
            return _unload_begun(state, fact)
        case UnloadEnded(models, is_ok):
            return state if is_ok else _change(state, models, _unload_failed)
        case ModelLockChanged(model):
            return replace(state, locked_model=model)
        case DecisionPublished():
            return _decision_published(state, fact)
        case _:
            assert_never(fact)


def _change(state: AdmissionState, names: tuple[str, ...], change: Callable[[ModelStatus], ModelStatus]) -> AdmissionState:
    return replace(state, models=tuple(change(model) if model.name in names else model for model in state.models))


def _after(model: ModelStatus, event: ModelEvent) -> ModelStatus:
    state = next_state(model.state, event)
    return model if state is model.state else replace(model, state=state)


# Ollama's list


def _models_listed(state: AdmissionState, fact: ModelsListed) -> AdmissionState:
    sizes = {loaded_model.name: loaded_model.size_bytes for loaded_model in fact.models}
    is_one_gone = any(model.is_unloading and model.name not in sizes for model in state.models)
    return replace(
        state,
        models=tuple(_listed_or_missing(model, sizes.get(model.name)) for model in state.models),
        listed=fact.models,
        listed_at_seconds=fact.at_seconds,
        list_failure=None,
        replacements=state.replacements.listed(tuple(model.name for model in state.models if model.name in sizes)),
        gone_at_seconds=fact.at_seconds if is_one_gone else state.gone_at_seconds,
    )


def _listed_or_missing(model: ModelStatus, size_bytes: int | None) -> ModelStatus:
    """`size_bytes` is None if the list does not contain the model."""
    if size_bytes is None:
        return _after(model, ModelEvent.MISSING)
    listed = _after(model, ModelEvent.LISTED)
    return replace(listed, size_bytes=size_bytes) if size_bytes > model.size_bytes else listed


def _list_failed(state: AdmissionState, fact: ListFailed) -> AdmissionState:
    models = tuple(_after(model, ModelEvent.LIST_FAILED) for model in state.models)
    return replace(state, models=models, list_failure=state.list_failure or fact)


# Our own work


def _call_ended(state: AdmissionState, fact: CallEnded) -> AdmissionState:
    """A finished call is progress, so it ends a stall."""
    model = state.model(fact.model)
    if model is None:
        return state
    judged = replace(state.with_model(_with_outcome(model, fact)), stall=None)
    return replace(judged, interference=_with_speed(state, fact).call_ended(fact.model, fact.at_seconds))


def _with_speed(state: AdmissionState, fact: CallEnded) -> Interference:
    if fact.call.outcome is not CallOutcome.ANSWERED or fact.call.tokens_per_second is None:
        return state.interference
    return state.interference.call_answered(
        fact.model,
        fact.call.tokens_per_second,
        fact.at_seconds - (fact.call.answer_seconds or 0.0),
        fact.at_seconds,
        others_in_flight=any(other.in_flight for other in state.models if other.name != fact.model),
    )


def _with_outcome(model: ModelStatus, fact: CallEnded) -> ModelStatus:
    """Ignore calls that began before the breaker opened: only a probe closes it or opens it again.

    `is_probed` stays true if the gate closes for another reason before the probe has ended.
    """
    if model.breaker.is_tripped and not model.breaker.is_probed:
        return model
    match fact.call.outcome:
        case CallOutcome.ANSWERED | CallOutcome.RUNAWAY:
            return replace(model, breaker=model.breaker.answered(model.num_parallel))
        case CallOutcome.BUSY | CallOutcome.FAILED | CallOutcome.SILENT:
            is_silent = fact.call.outcome is CallOutcome.SILENT
            return replace(model, breaker=model.breaker.failed(fact.at_seconds, is_silent=is_silent))
        case CallOutcome.BAD_REQUEST:
            return model
        case _:
            assert_never(fact.call.outcome)


def _workers_sampled(state: AdmissionState, fact: WorkersSampled) -> AdmissionState:
    calls = {each.model: each for each in fact.calls}
    sampled = replace(
        state,
        models=tuple(_with_calls(model, calls.get(model.name)) for model in state.models),
        interference=state.interference.sampled(frozenset(calls), fact.at_seconds),
        leases=fact.leases,
        workers=fact.workers,
    )
    return _update_stall(sampled, fact.at_seconds)


def _with_calls(model: ModelStatus, calls: CallsInFlight | None) -> ModelStatus:
    if calls is None:
        return replace(model, in_flight=0)
    return replace(model, in_flight=calls.in_flight, progress_at_seconds=calls.progress_at_seconds)


def _backlog_sampled(state: AdmissionState, fact: BacklogSampled) -> AdmissionState:
    backlogs = {each.model: (each.jobs, each.oldest_seconds) for each in fact.backlogs}
    models = []
    for model in state.models:
        jobs, oldest_seconds = backlogs.get(model.name, (0, 0.0))
        models.append(replace(model, jobs=jobs, oldest_seconds=oldest_seconds))
    return _update_stall(replace(state, models=tuple(models)), fact.at_seconds)


def _update_stall(state: AdmissionState, at_seconds: float) -> AdmissionState:
    """Begin or end a stall: jobs wait and no worker holds one."""
    if state.leases or state.in_flight or not state.waiting:
        return replace(state, stall=None)
    return state if state.stall else replace(state, stall=Stall(at_seconds))


# Our requests to Ollama


def _load_begun(model: ModelStatus, at_seconds: float) -> ModelStatus:
    return replace(_after(model, ModelEvent.LOAD_BEGUN), load_began_at_seconds=at_seconds)


def _load_ended(model: ModelStatus, at_seconds: float, *, is_ok: bool) -> ModelStatus:
    if is_ok:
        seconds = at_seconds - model.load_began_at_seconds
        return replace(_after(model, ModelEvent.LOADED), load_seconds=seconds, load_failures=0)
    failed = _after(model, ModelEvent.LOAD_FAILED)
    return replace(failed, load_failures=model.load_failures + 1, load_failed_at_seconds=at_seconds)


def _unload_begun(state: AdmissionState, fact: UnloadBegun) -> AdmissionState:
    """Any unload in a stall with all slots closed counts as its eviction, whatever its reason, because it frees memory too."""
    asked = _change(
        state,
        fact.models,
        lambda model: replace(_after(model, ModelEvent.UNLOAD_BEGUN), unload_began_at_seconds=fact.at_seconds),
    )
    stall = replace(state.stall, has_evicted=True) if state.stall and not state.slots else state.stall
    return replace(asked, stall=stall, replacements=state.replacements.unload_begun())


def _unload_failed(model: ModelStatus) -> ModelStatus:
    """Forget the request, so that it is sent again if it is still needed."""
    return replace(_after(model, ModelEvent.UNLOAD_FAILED), unload_began_at_seconds=-math.inf)


# Our own decisions


def _decision_published(state: AdmissionState, fact: DecisionPublished) -> AdmissionState:
    calls, has_turn_changed = dict(fact.calls), fact.active != state.active
    models = tuple(_with_gate(model, calls.get(model.name, UNLIMITED)) for model in state.models)
    if has_turn_changed:
        models = tuple(_after(model, ModelEvent.TURN_CHANGED) for model in models)
    if (models, fact.slots, fact.active) == (state.models, state.slots, state.active):
        return state
    return replace(
        state,
        models=models,
        slots=fact.slots,
        slots_changed_at_seconds=state.slots_changed_at_seconds if fact.slots == state.slots else fact.at_seconds,
        active=fact.active,
        turn_since_seconds=fact.at_seconds if has_turn_changed else state.turn_since_seconds,
    )


def _with_gate(model: ModelStatus, calls: int) -> ModelStatus:
    """A gate that opens while the breaker is tripped admits the probe."""
    if model.breaker.is_tripped and not model.breaker.is_probed and calls > 0:
        return replace(model, breaker=replace(model.breaker, is_probed=True))
    return model
