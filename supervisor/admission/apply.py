"""What admission knows after a fact. Pure; a fact about a model that is not ours changes nothing."""

import math
from dataclasses import replace
from typing import assert_never

from supervisor.admission.decision import FREE
from supervisor.admission.facts import (
    BacklogSampled,
    CallEnded,
    CallsInFlight,
    DecisionPublished,
    Fact,
    HostMeasured,
    ListFailed,
    LoadBegun,
    Loaded,
    ModelLockChanged,
    ModelsListed,
    UnloadBegun,
    Unloaded,
    WorkersSampled,
)
from supervisor.admission.state import AdmissionState, Hold, ModelStatus
from supervisor.admission.throughput import TOGETHER_SECONDS, Ewma
from supervisor.admission.turns import SWAPS
from worker.ipc.contract import CallOutcome


def apply(state: AdmissionState, fact: Fact) -> AdmissionState:  # noqa: C901  # one line a kind
    match fact:
        case ModelsListed():
            return _listed(state, fact)
        case ListFailed():
            return _unlisted(state, fact)
        case HostMeasured():
            return replace(state, host=fact)
        case CallEnded():
            return _call_ended(state, fact)
        case WorkersSampled():
            return _working(state, fact)
        case BacklogSampled():
            return _waiting(state, fact)
        case LoadBegun() | Loaded():
            return _loading(state, fact)
        case UnloadBegun():
            return _unload_begun(state, fact)
        case Unloaded(models, is_ok):
            return state if is_ok else _not_unloaded(state, models)
        case ModelLockChanged(model):
            return replace(state, exclusive_model=model)
        case DecisionPublished():
            return _decided(state, fact)
        case _:
            assert_never(fact)


def _listed(state: AdmissionState, fact: ModelsListed) -> AdmissionState:
    sizes = {loaded_model.name: loaded_model.size_bytes for loaded_model in fact.models}
    seen = tuple(_seen(model, sizes.get(model.name)) for model in state.models)
    unloading = tuple(name for name in state.unloading if name in sizes)
    gone_at = fact.at_seconds if len(unloading) < len(state.unloading) else state.gone_at_seconds
    return replace(
        _swapped(state, tuple(model.name for model in state.models if model.name in sizes)),
        models=seen,
        listed=fact.models,
        listed_at_seconds=fact.at_seconds,
        unlisted=None,
        unloading=unloading,
        gone_at_seconds=gone_at,
    )


def _swapped(state: AdmissionState, ours: tuple[str, ...]) -> AdmissionState:
    """Whom Ollama keeps together fits together. An empty list is a load that is under way, or the night."""
    if len(ours) > 1:
        return replace(state, alone=None, swaps=0)
    if not ours or ours[0] == state.alone:
        return state
    return replace(state, alone=ours[0], swaps=state.swaps + (state.alone is not None))


def _unlisted(state: AdmissionState, fact: ListFailed) -> AdmissionState:
    """The next list comes too late to say anything of a load."""
    models = tuple(replace(model, is_load_unseen=False) if model.is_load_unseen else model for model in state.models)
    return replace(state, models=models, unlisted=state.unlisted or fact)


def _seen(model: ModelStatus, size_bytes: int | None) -> ModelStatus:
    """`size_bytes` None: it is not listed."""
    if size_bytes is None:
        return replace(model, is_load_unseen=False, is_unlistable=True) if model.is_load_unseen else model
    is_news = size_bytes > model.size_bytes or model.is_load_unseen or model.is_unlistable
    largest = max(size_bytes, model.size_bytes)
    return replace(model, size_bytes=largest, is_load_unseen=False, is_unlistable=False) if is_news else model


def _call_ended(state: AdmissionState, fact: CallEnded) -> AdmissionState:
    """Whoever has asked a model was at work, however short the job was."""
    model = state.model(fact.model)
    if model is None:
        return state
    ended = replace(_judged(_timed(state, model, fact), fact), busy_until_seconds=fact.at_seconds)
    return replace(state.with_model(ended), held=None)


def _timed(state: AdmissionState, model: ModelStatus, fact: CallEnded) -> ModelStatus:
    """Of two calls that ran together one ends first: the other one's speed is not that of a model alone."""
    if fact.call.outcome is not CallOutcome.ANSWERED or fact.call.tokens_per_second is None:
        return model
    began_at_seconds = fact.at_seconds - (fact.call.answer_seconds or 0.0)
    others = [other for other in state.models if other.name != model.name]
    is_alone = not any(other.in_flight or other.busy_until_seconds > began_at_seconds for other in others)
    together_at_seconds = model.together_at_seconds if is_alone else fact.at_seconds
    speed = model.speed.measured(fact.call.tokens_per_second, is_alone=is_alone)
    return replace(model, speed=speed, together_at_seconds=together_at_seconds)


def _judged(model: ModelStatus, fact: CallEnded) -> ModelStatus:
    """A call that ends before a probe was allowed was begun before the breaker opened, and says nothing of whether it may close.

    The gate may have closed again for other reasons before the probe's end.
    """
    if model.breaker.is_tripped and not model.breaker.is_probed:
        return model
    match fact.call.outcome:
        case CallOutcome.ANSWERED | CallOutcome.RUNAWAY:
            return replace(model, breaker=model.breaker.answered(model.num_parallel))
        case CallOutcome.BUSY | CallOutcome.FAILED | CallOutcome.SILENT:
            is_silent = fact.call.outcome is CallOutcome.SILENT
            return replace(model, breaker=model.breaker.failed(fact.at_seconds, is_silent=is_silent))
        case CallOutcome.REFUSED:
            return model
        case _:
            assert_never(fact.call.outcome)


def _working(state: AdmissionState, fact: WorkersSampled) -> AdmissionState:
    calls, at_seconds = {each.model: each for each in fact.calls}, fact.at_seconds
    models = tuple(_at_work(_remembered(model, at_seconds), calls.get(model.name), at_seconds) for model in state.models)
    return _weighed(replace(state, models=models, leases=fact.leases, workers=fact.workers), at_seconds)


def _at_work(model: ModelStatus, calls: CallsInFlight | None, at_seconds: float) -> ModelStatus:
    if calls is None:
        return replace(model, in_flight=0)
    return replace(model, in_flight=calls.in_flight, busy_until_seconds=at_seconds, progress_at_seconds=calls.progress_at_seconds)


def _remembered(model: ModelStatus, at_seconds: float) -> ModelStatus:
    """While models take turns their speed together is not seen, and what made them starve may be over."""
    if not model.speed.together.samples or at_seconds < model.together_at_seconds + TOGETHER_SECONDS:
        return model
    return replace(model, speed=replace(model.speed, together=Ewma()))


def _waiting(state: AdmissionState, fact: BacklogSampled) -> AdmissionState:
    backlogs = {each.model: each for each in fact.backlogs}
    models = tuple(
        replace(model, jobs=backlogs[model.name].jobs, oldest_seconds=backlogs[model.name].oldest_seconds)
        if model.name in backlogs
        else replace(model, jobs=0, oldest_seconds=0.0)
        for model in state.models
    )
    return _weighed(replace(state, models=models), fact.at_seconds)


def _weighed(state: AdmissionState, at_seconds: float) -> AdmissionState:
    """Whether work waits and nobody does any."""
    if state.leases or state.in_flight or not state.waiting:
        return replace(state, held=None)
    return state if state.held else replace(state, held=Hold(at_seconds))


def _loading(state: AdmissionState, fact: LoadBegun | Loaded) -> AdmissionState:
    model = state.model(fact.model)
    if model is None:
        return state
    at = fact.at_seconds
    if isinstance(fact, LoadBegun):
        return state.with_model(replace(model, is_loading=True, load_began_at_seconds=at))
    if fact.is_ok:
        seconds = at - model.load_began_at_seconds
        loaded = replace(model, is_loading=False, is_load_unseen=True, load_seconds=seconds, load_failures=0)
        return state.with_model(loaded)
    failures = model.load_failures + 1
    return state.with_model(replace(model, is_loading=False, load_failures=failures, load_failed_at_seconds=at))


def _unload_begun(state: AdmissionState, fact: UnloadBegun) -> AdmissionState:
    asked = tuple(replace(m, unload_began_at_seconds=fact.at_seconds) if m.name in fact.models else m for m in state.models)
    held = replace(state.held, has_evicted=True) if state.held and not state.slots else state.held
    unloading = tuple(dict.fromkeys((*state.unloading, *fact.models)))
    swaps = state.swaps if state.swaps >= SWAPS else 0
    return replace(state, models=asked, held=held, unloading=unloading, alone=None, swaps=swaps)


def _not_unloaded(state: AdmissionState, names: tuple[str, ...]) -> AdmissionState:
    """Another instance has calls there: nobody leaves, and a exclusive_model must ask again."""
    unasked = tuple(replace(m, unload_began_at_seconds=-math.inf) if m.name in names else m for m in state.models)
    return replace(state, models=unasked, unloading=tuple(name for name in state.unloading if name not in names))


def _decided(state: AdmissionState, fact: DecisionPublished) -> AdmissionState:
    calls, is_new_turn = dict(fact.calls), fact.turn != state.turn
    told = tuple(_told(model, calls.get(model.name, FREE), is_new_turn=is_new_turn) for model in state.models)
    if (told, fact.slots, fact.turn) == (state.models, state.slots, state.turn):
        return state
    return replace(
        state,
        models=told,
        slots=fact.slots,
        slots_changed_at_seconds=state.slots_changed_at_seconds if fact.slots == state.slots else fact.at_seconds,
        turn=fact.turn,
        turn_since_seconds=state.turn_since_seconds if fact.turn == state.turn else fact.at_seconds,
    )


def _told(model: ModelStatus, calls: int, *, is_new_turn: bool) -> ModelStatus:
    """Who is not listed may have made room for the other's turn, and is loaded again in its own."""
    if model.is_unlistable and is_new_turn:
        model = replace(model, is_unlistable=False)
    if model.breaker.is_tripped and calls > 0 and not model.breaker.is_probed:
        model = replace(model, breaker=replace(model.breaker, is_probed=True))
    return model
