"""Applies a fact to the state of admission. Pure. A fact about a model that is not ours changes nothing."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from supervisor.admission.breaker import Breaker
from supervisor.admission.facts import (
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    DecisionPublished,
    Fact,
    FileFailed,
    FileRead,
    HostMeasured,
    ListFailed,
    LoadBegun,
    LoadEnded,
    ModelLockChanged,
    ModelsListed,
    ProbeBegun,
    ProbeEnded,
    StoreProbeBegun,
    StoreProbeEnded,
    UnloadBegun,
    UnloadEnded,
    WorkersSampled,
)
from supervisor.admission.interference import Interference
from supervisor.admission.model_state import ModelEvent, next_state
from supervisor.admission.state import AdmissionState, ModelStatus, Stall
from supervisor.admission.store import Store
from worker.ipc.contract import CallOutcome

TOGETHER_SECONDS = 1.0  # from the first to the last end of calls that died together


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
        case ProbeBegun(model, at_seconds):
            return _change(state, (model,), lambda each: replace(each, breaker=each.breaker.probe_begun(at_seconds)))
        case ProbeEnded():
            return _change(state, (fact.model,), lambda each: _probe_ended(each, fact))
        case FileFailed() | FileRead():
            return replace(state, store=_with_store_fact(state.store, fact), stall=None)  # a worker has worked on a job
        case StoreProbeBegun() | StoreProbeEnded():
            return replace(state, store=_with_store_fact(state.store, fact))
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
    before = _server_returned(state, fact.at_seconds) if state.is_server_away else state
    on_gpu = {loaded_model.name: loaded_model.size_vram_bytes for loaded_model in fact.models}
    models = (_listed_or_missing(model, sizes.get(model.name)) for model in before.models)
    return replace(
        state,
        models=tuple(replace(each, on_gpu_bytes=max(each.on_gpu_bytes, on_gpu.get(each.name, 0))) for each in models),
        listed=fact.models,
        listed_at_seconds=fact.at_seconds,
        list_failure=None,
        answers_since_seconds=fact.at_seconds if state.list_failure else state.answers_since_seconds,
        replacements=state.replacements.listed(tuple(model.name for model in state.models if model.name in sizes)),
        gone_at_seconds=fact.at_seconds if is_one_gone else state.gone_at_seconds,
    )


def _server_returned(state: AdmissionState, at_seconds: float) -> AdmissionState:
    """Let the first call to each model show whether more may follow. A first failed load is repeated at once."""
    return replace(state, models=tuple(_after_the_return(model, at_seconds) for model in state.models))


def _after_the_return(model: ModelStatus, at_seconds: float) -> ModelStatus:
    """A second failed load in a row keeps its wait, because loads may be what ends the server."""
    breaker = model.breaker if model.breaker.is_open else Breaker.ramping(at_seconds)
    failed_at_seconds = -math.inf if model.load_failures == 1 else model.load_failed_at_seconds
    return replace(model, breaker=breaker, load_failed_at_seconds=failed_at_seconds)


def _listed_or_missing(model: ModelStatus, size_bytes: int | None) -> ModelStatus:
    """`size_bytes` is None if the list does not contain the model."""
    if size_bytes is None:
        return _after(model, ModelEvent.MISSING)
    listed = _after(model, ModelEvent.LISTED)
    return replace(listed, size_bytes=size_bytes) if size_bytes > model.size_bytes else listed


def _list_failed(state: AdmissionState, fact: ListFailed) -> AdmissionState:
    event = ModelEvent.SERVER_AWAY if fact.why.is_away else ModelEvent.LIST_FAILED
    models = tuple(_after(model, event) for model in state.models)
    began_at_seconds = state.list_failure.at_seconds if state.list_failure else fact.at_seconds
    return replace(state, models=models, list_failure=ListFailed(fact.why, began_at_seconds))


# Our own work


def _call_ended(state: AdmissionState, fact: CallEnded) -> AdmissionState:
    """A finished call is progress, so it ends a stall."""
    model = state.model(fact.model)
    if model is None:
        return state
    is_refused = state.is_server_away and fact.call.outcome is CallOutcome.FAILED  # it says nothing about the model
    ended = model if is_refused else _count_deaths(_with_outcome(model, fact), fact)
    judged = replace(state.with_model(ended), stall=None)
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
    """Ignore calls that began before the breaker opened: only a probe ends it. An answer shows that the model has been loaded."""
    if model.breaker.is_open:
        return model
    match fact.call.outcome:
        case CallOutcome.ANSWERED | CallOutcome.RUNAWAY:
            return replace(model, breaker=model.breaker.answered(model.num_parallel), load_failures=0)
        case CallOutcome.BUSY | CallOutcome.FAILED | CallOutcome.SILENT:
            is_silent = fact.call.outcome is CallOutcome.SILENT
            return replace(model, breaker=model.breaker.failed(fact.at_seconds, is_silent=is_silent))
        case CallOutcome.BAD_REQUEST:
            return model
        case _:
            assert_never(fact.call.outcome)


def _count_deaths(model: ModelStatus, fact: CallEnded) -> ModelStatus:
    """Calls that fail within a moment may all have died of one of them. As many calls must end alone before others join."""
    is_death = fact.call.outcome is CallOutcome.FAILED
    if is_death and not model.alone and fact.at_seconds > model.died_at_seconds + TOGETHER_SECONDS:
        return replace(model, died=1, died_at_seconds=fact.at_seconds)
    if fact.at_seconds > model.died_at_seconds + TOGETHER_SECONDS:
        return replace(model, alone=max(0, model.alone - 1))
    died = model.died + is_death
    return replace(model, died=died, alone=died if died > 1 else 0)


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


# Our requests to Ollama and to the store


def _probe_ended(model: ModelStatus, fact: ProbeEnded) -> ModelStatus:
    ended = model.breaker.probe_ended(fact.at_seconds, fact.error_class, fact.retry_after_seconds)
    return replace(model, breaker=ended)


def _with_store_fact(store: Store, fact: FileFailed | FileRead | StoreProbeBegun | StoreProbeEnded) -> Store:
    match fact:
        case FileFailed(error_class, job_id, at_seconds):
            return store.file_failed(error_class, job_id, at_seconds)
        case FileRead(job_id):
            return store.file_read(job_id)
        case StoreProbeBegun():
            return store.probe_begun()
        case StoreProbeEnded(error_class, at_seconds, retry_after_seconds):
            return store.probe_ended(error_class, at_seconds, retry_after_seconds)
        case _:
            assert_never(fact)


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
    has_turn_changed, models = fact.active != state.active, state.models
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
