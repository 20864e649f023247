"""What workers may do now: two lists of rules, each a pure function of the state, the policy and the time.

LIMITS hold work back: the tightest of them counts, and each says why. ACTS are for Ollama.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from supervisor.admission.decision import FREE, AcquireModelLock, Act, Decision, Preload, Unload
from supervisor.admission.loads import is_anybody_leaving, is_leaving, is_load_due
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.stall import is_canary_due, is_held_too_long, is_relief_due, is_unknown
from supervisor.admission.state import AdmissionState
from supervisor.admission.turns import active_model, blocks_active_model, is_pair_too_big, must_alternate
from worker.ipc.contract import HoldReason


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than so many slots may lease, or so many calls go to a model."""

    reason: HoldReason
    slots: int = FREE
    model: str = ""
    calls: int = FREE


Rule = Callable[[AdmissionState, AdmissionPolicy, float], Iterator[Limit]]
ActRule = Callable[[AdmissionState, AdmissionPolicy, float], Iterator[Act]]


def hold_over_the_limit(state: AdmissionState, policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Limit]:
    """Nobody leases while Ollama holds more than the limit; between the two marks it stays as it is."""
    if policy.limit_bytes and state.used_bytes > policy.limit_bytes:
        yield Limit(HoldReason.MEMORY, slots=0)
    elif policy.limit_bytes and state.used_bytes > policy.low_water_bytes and state.slots < FREE:
        yield Limit(HoldReason.MEMORY, slots=state.slots)


def hold_what_is_unknown(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """An Ollama that does not say what it holds is not one that holds nothing. A short silence is none: it was busy."""
    if policy.limit_bytes and is_unknown(state, policy, now_seconds):
        yield Limit(HoldReason.UNKNOWN, slots=0)


def hold_during_a_relief(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """What leaves must be gone before anybody looks whether that was enough."""
    has_evicted = state.held is not None and state.held.has_evicted
    if has_evicted and is_anybody_leaving(state, policy, now_seconds):
        yield Limit(HoldReason.RELIEF, slots=0)


def reopen_one_slot_at_a_time(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """After a hold a herd would fill the memory again before anybody sees it."""
    if state.slots < FREE:
        slots = state.slots + (now_seconds >= state.slots_changed_at_seconds + policy.reopen_seconds)
        if slots < state.workers:
            yield Limit(HoldReason.REOPENING, slots=slots)


def close_what_is_not_loaded(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """A job that meets a model on disk would pay for its load. Without a limit, a list that is not told closes nothing."""
    is_told = policy.limit_bytes > 0 or (state.unlisted is None and state.listed_at_seconds is not None)
    for model in state.models:
        is_absent = is_told and not state.is_listed(model.name) and not model.is_unlistable
        if is_absent or is_leaving(model, state, policy, now_seconds):
            is_missed = model.load_failures > 0 and model.jobs > 0
            yield Limit(HoldReason.UNLOADABLE if is_missed else HoldReason.LOADING, model=model.name, calls=0)


def close_a_failing_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Failures in a row: no more jobs until a probe is answered, then 2, 4 … calls."""
    for model in state.models:
        if model.breaker.is_open(now_seconds, policy.cool_seconds, policy.cool_max_seconds):
            yield Limit(HoldReason.BREAKER, model=model.name, calls=0)
        elif model.breaker.is_tripped:
            reason = HoldReason.RAMPING if model.breaker.answers else HoldReason.PROBING
            yield Limit(reason, model=model.name, calls=model.breaker.ramp)


def close_a_wedged_model(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """/api/ps lists it, it takes calls, and not one of them gets on: no more calls for it to swallow."""
    for model in state.models:
        if model.in_flight and now_seconds > model.progress_at_seconds + policy.wedge_seconds(model.name):
            yield Limit(HoldReason.WEDGED, model=model.name, calls=0)


def close_all_but_the_turn(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Limit]:
    """Two models that do not fit, or starve each other: one is asked, when nobody asks the other any more."""
    if not must_alternate(state, policy):
        return
    turn = active_model(state, policy, now_seconds)
    reason = HoldReason.EXCLUSIVE if is_pair_too_big(state, policy) else HoldReason.TURNS
    for model in state.models:
        is_other_busy = any(other.in_flight for other in state.models if other.name != model.name)
        if model.name != turn or state.exclusive_model != turn or is_other_busy:
            yield Limit(reason, model=model.name, calls=0)


LIMITS: tuple[Rule, ...] = (
    hold_over_the_limit,
    hold_what_is_unknown,
    hold_during_a_relief,
    reopen_one_slot_at_a_time,
    close_a_wedged_model,
    close_a_failing_model,
    close_all_but_the_turn,
    close_what_is_not_loaded,
)


def relieve_a_long_hold(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """What a model has piled up goes with its process; nothing of ours runs. Foreign models are not ours to unload."""
    if is_held_too_long(state, policy, now_seconds) and is_relief_due(state, policy):
        yield Unload(tuple(model.name for model in state.models if state.is_listed(model.name)))


def reload_a_wedged_model(state: AdmissionState, _policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Act]:
    """A runner that says nothing is not mended by waiting: its process has to go. Once for each probe that failed."""
    for model in state.models:
        is_wedged = model.breaker.is_tripped and model.breaker.is_silent and not model.breaker.answers
        is_done = model.unload_began_at_seconds >= model.breaker.tripped_at_seconds
        if is_wedged and not is_done and not model.in_flight and state.is_listed(model.name):
            yield Unload((model.name,))


def acquire_the_lock(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """All instances agree on one model. Ours are out of the other one before we ask."""
    turn = active_model(state, policy, now_seconds)
    is_out = not any(model.in_flight for model in state.models if model.name != turn)
    if state.exclusive_model != turn and is_out:
        yield AcquireModelLock(turn)


def make_room_for_the_phase(state: AdmissionState, policy: AdmissionPolicy, _now_seconds: float) -> Iterator[Act]:
    """Ollama would wait for the other model without an end, or thrash: it is asked to leave before the next one comes."""
    if is_pair_too_big(state, policy) and state.turn is not None and state.exclusive_model == state.turn:
        for model in state.models:
            if blocks_active_model(model, state) and not model.in_flight:
                yield Unload((model.name,))


def load_before_work(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Iterator[Act]:
    """The model that work waits for, one load at a time. Not while work is held: that would take the memory it waits for."""
    if state.slots and not state.unlisted:
        due = (model for model in state.models if is_load_due(model, state, policy, now_seconds))
        yield from (Preload(model.name) for model in itertools.islice(due, 1))


ACTS: tuple[ActRule, ...] = (
    relieve_a_long_hold,
    reload_a_wedged_model,
    acquire_the_lock,
    make_room_for_the_phase,
    load_before_work,
)


def decide(state: AdmissionState, policy: AdmissionPolicy, now_seconds: float) -> Decision:
    """The tightest limits and what is to be done. Asked twice it answers the same."""
    limits = [limit for rule in LIMITS for limit in rule(state, policy, now_seconds)]
    if is_canary_due(state, policy, now_seconds):
        limits = [softer for limit in limits for softer in _relaxed_for_canary(limit, state)]
    reasons = tuple(dict.fromkeys(limit.reason for limit in limits))
    return Decision(
        slots=min((limit.slots for limit in limits), default=FREE),
        calls={name: min((each.calls for each in limits if each.model == name), default=FREE) for name in policy.models},
        turn=active_model(state, policy, now_seconds),
        reasons=reasons,
        closed={each: tuple(limit.model for limit in limits if limit.reason is each and limit.model) for each in reasons},
        acts=tuple(act for rule in ACTS for act in rule(state, policy, now_seconds)),
        until_seconds=now_seconds + policy.trust_seconds if policy.limit_bytes else math.inf,
    )


def _relaxed_for_canary(limit: Limit, state: AdmissionState) -> Iterator[Limit]:
    """For a canary: one slot, and one call to a model that cannot be loaded or seen. The breaker has a probe of its own."""
    model = state.model(limit.model)
    is_closed = model is not None and limit.reason in (HoldReason.LOADING, HoldReason.UNLOADABLE) and not model.is_loading
    is_restart_limit_reached = is_closed and model is not None and (model.load_failures > 0 or state.unlisted is not None)
    slots, calls = max(limit.slots, 1), max(limit.calls, 1) if is_restart_limit_reached else limit.calls
    if (slots, calls) != (limit.slots, limit.calls):
        yield Limit(HoldReason.CANARY)
    yield replace(limit, slots=slots, calls=calls)
