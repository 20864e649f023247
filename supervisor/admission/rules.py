"""The rules of admission: two lists, each rule a pure function of the state, the policy and the time.

LIMITS hold work back. The tightest limit counts, and each has a reason. ACTS are requests to Ollama and the database.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from supervisor.admission.decision import (
    UNLIMITED,
    AcquireModelLock,
    Act,
    Decision,
    HoldReason,
    Preload,
    ProbeStore,
    Unload,
)
from supervisor.admission.loads import is_any_leaving, is_leaving, is_load_due
from supervisor.admission.model_state import ModelState
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.probes import is_end_due, is_probe_due, probe_of
from supervisor.admission.stall import can_evict, is_canary_due, is_memory_unknown, is_stalled_too_long
from supervisor.admission.state import AdmissionState, ModelStatus
from supervisor.admission.turns import active_model, blocks_active_model, is_pair_too_big, must_alternate


@dataclass(frozen=True, slots=True)
class Limit:
    """Largest number of slots that may lease, of calls to one model, or of pictures in work, and the reason."""

    reason: HoldReason
    slots: int = UNLIMITED
    model: str = ""
    calls: int = UNLIMITED
    pictures: int = UNLIMITED


Rule = Callable[[AdmissionState, AdmissionPolicy, float], Iterator[Limit]]
ActRule = Callable[[AdmissionState, AdmissionPolicy, float], Iterator[Act]]


def hold_over_the_limit(state: AdmissionState, policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Limit]:
    """Close all slots while Ollama uses more than the limit. Between low water and limit the number of slots stays."""
    if policy.limit_bytes and state.used_bytes > policy.limit_bytes:
        yield Limit(HoldReason.MEMORY, slots=0)
    elif policy.limit_bytes and state.used_bytes > policy.low_water_bytes and state.slots < UNLIMITED:
        yield Limit(HoldReason.MEMORY, slots=state.slots)


def hold_while_memory_is_unknown(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Close all slots, because missing memory data is not zero. Gaps shorter than grace_seconds are tolerated."""
    if policy.limit_bytes and is_memory_unknown(state, policy, now_seconds):
        yield Limit(HoldReason.UNKNOWN, slots=0)


def hold_during_an_eviction(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Close all slots until the evicted models are gone, so that their memory is measured before a job starts."""
    has_evicted = state.stall is not None and state.stall.has_evicted
    if has_evicted and is_any_leaving(state, policy, now_seconds):
        yield Limit(HoldReason.EVICTION, slots=0)


def reopen_one_slot_at_a_time(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Open the next slot after a pause, because all at once would fill the memory before the next measurement."""
    if state.slots < UNLIMITED:
        is_due = now_seconds >= state.slots_changed_at_seconds + policy.reopen_seconds
        slots = state.slots + 1 if is_due else state.slots
        if slots < state.workers:
            yield Limit(HoldReason.REOPENING, slots=slots)


def close_a_wedged_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Close the gate of a model that is listed and takes calls, but gives no token to any of them."""
    for model in state.models:
        if model.in_flight and now_seconds > model.progress_at_seconds + policy.wedge_seconds(model.name):
            yield Limit(HoldReason.WEDGED, model=model.name, calls=0)


def close_a_failing_model(state: AdmissionState, _policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Limit]:
    """Close the gate after failures in a row, until a probe is answered. Then admit 1, 2, 4 … calls."""
    for model in state.models:
        if model.breaker.is_open:
            yield Limit(HoldReason.BREAKER, model=model.name, calls=0)
        elif model.breaker.is_tripped:
            yield Limit(HoldReason.RAMPING, model=model.name, calls=model.breaker.ramp)


def ask_alone_after_a_death(state: AdmissionState, _policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Limit]:
    """Admit one call at a time after calls died together, so that the one that ends the model's process is found."""
    for model in state.models:
        if model.alone:
            yield Limit(HoldReason.ALONE, model=model.name, calls=1)


def close_all_while_the_server_is_away(state: AdmissionState, _policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Limit]:
    """Close the gates of all models at the first connection that cannot be made, until the server lists its models again."""
    if state.is_server_away:
        for model in state.models:
            yield Limit(HoldReason.SERVER, model=model.name, calls=0)


def hold_pictures_while_the_store_is_away(state: AdmissionState, policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Limit]:
    """Start no picture while files cannot be read. After the return admit one at a time until a file is read."""
    if policy.vision_model is None or not state.store.error_class:
        return
    if state.store.is_closed:
        yield Limit(HoldReason.STORE, pictures=0)
    else:
        yield Limit(HoldReason.STORE if state.store.is_doubtful else HoldReason.RETURNING, pictures=1)


def close_all_but_the_active_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Of two models that do not fit, or slow each other down, open the active one once the other has no call in flight."""
    if not must_alternate(state, policy):
        return
    active = active_model(state, policy, now_seconds)
    reason = HoldReason.EXCLUSIVE if is_pair_too_big(state, policy) else HoldReason.TURNS
    for model in state.models:
        is_other_busy = any(other.in_flight for other in state.models if other.name != model.name)
        if model.name != active or state.locked_model != active or is_other_busy:
            yield Limit(reason, model=model.name, calls=0)


def close_a_model_that_is_not_loaded(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Close the gate, because a job would wait for the load. Without a memory limit a failed list closes nothing."""
    is_list_known = policy.limit_bytes > 0 or (state.list_failure is None and state.listed_at_seconds is not None)
    for model in state.models:
        is_absent = is_list_known and not model.is_listed and model.state is not ModelState.UNLISTED
        if is_absent or is_leaving(model, policy, now_seconds):
            is_unloadable = model.load_failures > 0 and model.jobs > 0
            yield Limit(HoldReason.UNLOADABLE if is_unloadable else HoldReason.LOADING, model=model.name, calls=0)


LIMITS: tuple[Rule, ...] = (
    close_all_while_the_server_is_away,
    hold_over_the_limit,
    hold_while_memory_is_unknown,
    hold_during_an_eviction,
    reopen_one_slot_at_a_time,
    hold_pictures_while_the_store_is_away,
    close_a_wedged_model,
    close_a_failing_model,
    ask_alone_after_a_death,
    close_all_but_the_active_model,
    close_a_model_that_is_not_loaded,
)


def evict_after_a_long_stall(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """Unload our models to free what their processes have accumulated. Models of other services are left alone."""
    if is_stalled_too_long(state, policy, now_seconds) and can_evict(state, policy):
        yield Unload(tuple(model.name for model in state.models if model.is_listed))


def unload_a_silent_model(state: AdmissionState, _policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Act]:
    """End the process of a model that gives no token to calls and to a probe, because waiting does not repair it."""
    for model in state.models:
        if is_end_due(model, state):
            yield Unload((model.name,))


def probe_a_failing_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """Learn by a request of our own whether a model answers again, so that no job has to."""
    for model in state.models:
        if is_probe_due(model, state, policy, now_seconds):
            yield probe_of(model, policy)


def probe_the_store(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """Learn by a request of our own whether files can be read again."""
    if policy.vision_model is not None and state.store.is_probe_due(now_seconds, policy.probe_seconds):
        yield ProbeStore()


def acquire_the_lock(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """Agree with the other instances on the active model, as soon as our calls to the other model have ended."""
    active = active_model(state, policy, now_seconds)
    is_other_busy = any(model.in_flight for model in state.models if model.name != active)
    if state.locked_model != active and not is_other_busy:
        yield AcquireModelLock(active)


def make_room_for_the_active_model(state: AdmissionState, policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Act]:
    """Unload the other model of a pair that does not fit, because Ollama would wait without end or load both in turn."""
    if is_pair_too_big(state, policy) and state.active is not None and state.locked_model == state.active:
        for model in state.models:
            if blocks_active_model(model, state) and not model.in_flight:
                yield Unload((model.name,))


def load_before_work(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """Load the first model that jobs wait for, one load at a time. Not with all slots closed: it would use the freed memory."""
    if not state.slots or state.list_failure:
        return
    due = next((model.name for model in state.models if is_load_due(model, state, policy, now_seconds)), None)
    if due is not None:
        yield Preload(due)


ACTS: tuple[ActRule, ...] = (
    evict_after_a_long_stall,
    unload_a_silent_model,
    probe_a_failing_model,
    probe_the_store,
    acquire_the_lock,
    make_room_for_the_active_model,
    load_before_work,
)


def decide(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Decision:
    """Combine all limits and acts. The same input always gives the same decision."""
    limits = [limit for rule in LIMITS for limit in rule(state, policy, now_seconds)]
    if not state.is_server_away and is_canary_due(state, policy, now_seconds):
        limits = apply_canary(limits, state)
    return Decision(
        slots=min((limit.slots for limit in limits), default=UNLIMITED),
        calls=_calls(limits, policy),
        active=active_model(state, policy, now_seconds),
        reasons=_reasons(limits),
        acts=tuple(act for rule in ACTS for act in rule(state, policy, now_seconds)),
        until_seconds=now_seconds + policy.trust_seconds if policy.limit_bytes else math.inf,
        closed=_closed(limits),
        pictures=min((limit.pictures for limit in limits), default=UNLIMITED),
    )


def apply_canary(limits: list[Limit], state: AdmissionState) -> list[Limit]:
    """Relax the limits so that one job can start and shows whether more may run.

    One slot opens, and one call to a model that cannot be loaded or seen. The reason CANARY stands
    before each reason that it relaxes, so that the status names it first. A breaker has its own probe, so it stays as it is.
    """
    relaxed = []
    for limit in limits:
        softer = replace(limit, slots=max(limit.slots, 1), calls=_calls_of_a_canary(limit, state.model(limit.model), state))
        if softer != limit:
            relaxed.append(Limit(HoldReason.CANARY))
        relaxed.append(softer)
    return relaxed


def _calls_of_a_canary(limit: Limit, model: ModelStatus | None, state: AdmissionState) -> int:
    if model is None or model.is_loading or limit.reason not in {HoldReason.LOADING, HoldReason.UNLOADABLE}:
        return limit.calls
    return max(limit.calls, 1) if model.load_failures or state.list_failure else limit.calls


def _calls(limits: list[Limit], policy: AdmissionPolicy) -> Mapping[str, int]:
    """Return the tightest limit of each model."""
    calls = dict.fromkeys(policy.models, UNLIMITED)
    for limit in limits:
        if limit.model:
            calls[limit.model] = min(calls[limit.model], limit.calls)
    return calls


def _reasons(limits: list[Limit]) -> tuple[HoldReason, ...]:
    """Return each reason once, in the order of the rules."""
    return tuple(dict.fromkeys(limit.reason for limit in limits))


def _closed(limits: list[Limit]) -> Mapping[HoldReason, tuple[str, ...]]:
    """Return for each reason the models that it limits."""
    closed: dict[HoldReason, tuple[str, ...]] = dict.fromkeys(_reasons(limits), ())
    for limit in limits:
        if limit.model:
            closed[limit.reason] += (limit.model,)
    return closed
