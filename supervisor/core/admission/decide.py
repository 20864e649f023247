"""What workers may do now: two lists of rules, each a pure function of the state, the policy and the time.

LIMITS hold work back: the tightest of them counts, and each says why. ACTS are for Ollama.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from supervisor.core.admission.decision import FREE, Act, Decision, Preload, Unload, WantPhase
from supervisor.core.admission.policy import Policy, TakeTurns
from supervisor.core.admission.state import Model, State
from worker.contract import Reason

MEMORY_IS_BACK_BYTES = 256 * 2**20  # what Ollama's own processes hold without a model, and more


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than so many slots may lease, or so many calls go to a model."""

    reason: Reason
    slots: int = FREE
    model: str = ""
    calls: int = FREE


Rule = Callable[[State, Policy, float], Iterator[Limit]]
ActRule = Callable[[State, Policy, float], Iterator[Act]]


def hold_over_the_limit(state: State, policy: Policy, _now_seconds: float) -> Iterator[Limit]:
    """Nobody leases while Ollama holds more than the limit; between the two marks it stays as it is."""
    if policy.limit_bytes and state.used_bytes > policy.limit_bytes:
        yield Limit(Reason.MEMORY, slots=0)
    elif policy.limit_bytes and state.used_bytes > policy.low_water_bytes and state.slots < FREE:
        yield Limit(Reason.MEMORY, slots=state.slots)


def hold_what_is_unknown(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """An Ollama that does not say what it holds is not one that holds nothing. A short silence is none: it was busy."""
    if policy.limit_bytes and is_unknown(state, policy, now_seconds):
        yield Limit(Reason.UNKNOWN, slots=0)


def hold_during_a_relief(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """What leaves must be gone before anybody looks whether that was enough."""
    is_relieved = state.held is not None and state.held.is_relieved
    if is_relieved and any(is_leaving(model.name, state, policy, now_seconds) for model in state.models):
        yield Limit(Reason.RELIEF, slots=0)


def reopen_one_slot_at_a_time(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """After a hold a herd would fill the memory again before anybody sees it."""
    if state.slots < FREE:
        slots = state.slots + (now_seconds >= state.slots_changed_at_seconds + policy.reopen_seconds)
        if slots < state.workers:
            yield Limit(Reason.REOPENING, slots=slots)


def close_what_is_not_loaded(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """A job that meets a model on disk would pay for its load. Without a limit, a list that is not told closes nothing."""
    is_told = policy.limit_bytes > 0 or (state.unlisted is None and state.listed_at_seconds is not None)
    for model in state.models:
        is_absent = is_told and not state.is_listed(model.name)
        if is_absent or is_leaving(model.name, state, policy, now_seconds):
            yield Limit(Reason.LOADING, model=model.name, calls=0)


def close_a_failing_model(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """Failures in a row: no more jobs until a probe is answered, then 2, 4 … calls."""
    for model in state.models:
        if model.breaker.is_open(now_seconds, policy.cool_seconds, policy.cool_max_seconds):
            yield Limit(Reason.BREAKER, model=model.name, calls=0)
        elif model.breaker.is_tripped:
            reason = Reason.RAMPING if model.breaker.answers else Reason.PROBING
            yield Limit(reason, model=model.name, calls=model.breaker.ramp)


def close_a_wedged_model(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """/api/ps lists it, it takes calls, and not one of them gets on: no more calls for it to swallow."""
    for model in state.models:
        if model.in_flight and now_seconds > model.progress_at_seconds + policy.wedge_seconds:
            yield Limit(Reason.WEDGED, model=model.name, calls=0)


def close_all_but_the_turn(state: State, policy: Policy, now_seconds: float) -> Iterator[Limit]:
    """Two models that do not fit, or starve each other: one is asked, when nobody asks the other any more."""
    turn = turn_of(state, policy, now_seconds)
    reason = Reason.PHASE if is_pair_too_big(state, policy) else Reason.TURNS
    for model in state.models if turn else ():
        is_other_busy = any(other.in_flight for other in state.models if other.name != model.name)
        if model.name != turn or state.phase != turn or is_other_busy:
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


def relieve_a_long_hold(state: State, policy: Policy, now_seconds: float) -> Iterator[Act]:
    """What a model has piled up goes with its process; nothing of ours runs. Foreign models are not ours to unload."""
    if is_held_too_long(state, policy, now_seconds) and is_relief_due(state, policy):
        yield Unload(tuple(model.name for model in state.models if state.is_listed(model.name)))


def reload_a_wedged_model(state: State, _policy: Policy, _now_seconds: float) -> Iterator[Act]:
    """A runner that says nothing is not mended by waiting: its process has to go. Once for each probe that failed."""
    for model in state.models:
        is_wedged = model.breaker.is_tripped and model.breaker.is_silent and not model.breaker.answers
        is_done = model.unloaded_trips == model.breaker.trips
        if is_wedged and not is_done and not model.in_flight and state.is_listed(model.name):
            yield Unload((model.name,))


def want_the_phase(state: State, policy: Policy, now_seconds: float) -> Iterator[Act]:
    """All instances agree on one model. Ours are out of the other one before we ask."""
    turn = turn_of(state, policy, now_seconds)
    is_out = not any(model.in_flight for model in state.models if model.name != turn)
    if state.phase != turn and is_out:
        yield WantPhase(turn)


def make_room_for_the_phase(state: State, policy: Policy, now_seconds: float) -> Iterator[Act]:
    """Ollama would wait for the other model without an end, or thrash: it is asked to leave before the next one comes."""
    turn = turn_of(state, policy, now_seconds)
    if turn is None or state.phase != turn or not is_pair_too_big(state, policy):
        return
    others = tuple(model.name for model in state.models if model.name != turn and state.is_listed(model.name))
    is_asked = any(is_leaving(name, state, policy, now_seconds) for name in others)
    if others and not is_asked and not state.in_flight:
        yield Unload(others)


def load_before_work(state: State, policy: Policy, now_seconds: float) -> Iterator[Act]:
    """The model that work waits for, one load at a time. Not while work is held: that would take the memory it waits for."""
    if not state.slots or not state.waiting or state.unlisted or any(model.is_loading for model in state.models):
        return
    for model in state.models:
        if is_load_due(model, state, policy, now_seconds):
            yield Preload(model.name)
            return


ACTS: tuple[ActRule, ...] = (
    relieve_a_long_hold,
    reload_a_wedged_model,
    want_the_phase,
    make_room_for_the_phase,
    load_before_work,
)


def decide(state: State, policy: Policy, now_seconds: float) -> Decision:
    """The tightest limits and what is to be done. Asked twice it answers the same."""
    limits = [limit for rule in LIMITS for limit in rule(state, policy, now_seconds)]
    if is_canary_due(state, policy, now_seconds):
        limits = list(_softened(limits, state))
    return Decision(
        slots=min((limit.slots for limit in limits), default=FREE),
        calls={name: min((each.calls for each in limits if each.model == name), default=FREE) for name in policy.models},
        turn=turn_of(state, policy, now_seconds),
        reasons=tuple(dict.fromkeys(limit.reason for limit in limits)),
        acts=tuple(act for rule in ACTS for act in rule(state, policy, now_seconds)),
        until_seconds=now_seconds + policy.trust_seconds if policy.limit_bytes else math.inf,
    )


def _softened(limits: list[Limit], state: State) -> Iterator[Limit]:
    """For a canary: one slot, and one call to a model that cannot be loaded or seen. The breaker has a probe of its own."""
    for limit in limits:
        model = state.model(limit.model)
        is_hopeless = model is not None and limit.reason is Reason.LOADING and (model.load_failures or state.unlisted)
        if limit.slots < 1 or (is_hopeless and not limit.calls):
            yield Limit(Reason.CANARY, max(limit.slots, 1), limit.model, max(limit.calls, 1))
        yield replace(limit, slots=max(limit.slots, 1), calls=max(limit.calls, 1) if is_hopeless else limit.calls)


def turn_of(state: State, policy: Policy, now_seconds: float) -> str | None:
    """The only model that may be asked; None: both may.

    It goes on while the other has waited for less than a turn, and ends at once when nothing is left to do.
    """
    if not (is_pair_too_big(state, policy) or do_starve(state, policy)):
        return None
    current = next((model for model in state.models if model.name == state.turn), None)
    others = [model for model in state.models if model.jobs and model is not current]
    if not others:
        return current.name if current else None
    eldest = max(others, key=lambda model: model.oldest_seconds)
    if current is None or not current.has_work:
        return eldest.name
    length_seconds = turn_seconds(state, policy)
    is_over = now_seconds >= state.turn_since_seconds + length_seconds
    return eldest.name if is_over and eldest.oldest_seconds >= length_seconds else current.name


def turn_seconds(state: State, policy: Policy) -> float:
    """So long that loads take a small part of the time."""
    if not is_pair_too_big(state, policy):
        return policy.turn_seconds
    return max(policy.phase_seconds, policy.phase_loads * max(model.load_seconds for model in state.models))


def is_pair_too_big(state: State, policy: Policy) -> bool:
    """By the server's own number, or by the sizes that it has listed once it had them."""
    sizes = [model.size_bytes for model in state.models]
    is_over = 0 < policy.limit_bytes < sum(sizes) and all(sizes)
    return len(sizes) > 1 and (policy.max_loaded_models == 1 or is_over)


def do_starve(state: State, policy: Policy) -> bool:
    """Whether two models get less done together than by turns: parts that add up to 1 would be fair shares."""
    if len(state.models) < 2 or policy.take_turns is not TakeTurns.AUTO:
        return len(state.models) > 1 and policy.take_turns is TakeTurns.ALWAYS
    parts = [model.speed.part for model in state.models]
    return sum(part or 0.0 for part in parts) < policy.turns_below and None not in parts


def is_unknown(state: State, policy: Policy, now_seconds: float) -> bool:
    told_at = state.began_at_seconds if state.listed_at_seconds is None else state.listed_at_seconds
    return now_seconds > told_at + policy.grace_seconds


def is_leaving(model: str, state: State, policy: Policy, now_seconds: float) -> bool:
    """Asked to, and still expected to do so: a request would bring it back."""
    return model in state.unloading and now_seconds < state.unload_began_at_seconds + policy.unload_seconds


def is_held_too_long(state: State, policy: Policy, now_seconds: float) -> bool:
    return state.held is not None and now_seconds >= state.held.since_seconds + policy.max_hold_seconds


def is_relief_due(state: State, policy: Policy) -> bool:
    """Memory is what work waits for, and there is something to unload."""
    is_wanted = policy.limit_bytes > 0 and state.used_bytes > policy.low_water_bytes and not state.slots
    is_done = state.held is not None and state.held.is_relieved
    return is_wanted and not is_done and any(state.is_listed(model.name) for model in state.models)


def is_canary_due(state: State, policy: Policy, now_seconds: float) -> bool:
    """When a relief was no help, or none was possible. Until a job is leased."""
    is_anybody_leaving = any(is_leaving(model.name, state, policy, now_seconds) for model in state.models)
    return is_held_too_long(state, policy, now_seconds) and not is_relief_due(state, policy) and not is_anybody_leaving


def is_memory_back(state: State, policy: Policy, now_seconds: float) -> bool:
    """A model leaves the list before its process ends."""
    is_seen = state.host is not None and state.host.at_seconds > state.gone_at_seconds and state.host.ollama_bytes is not None
    is_agreed = state.observed_bytes <= state.reported_bytes + MEMORY_IS_BACK_BYTES
    return (is_seen and is_agreed) or now_seconds >= state.gone_at_seconds + policy.memory_back_seconds


def is_load_due(model: Model, state: State, policy: Policy, now_seconds: float) -> bool:
    """Everything that waits needs the feedback model in the end."""
    turn = turn_of(state, policy, now_seconds)
    is_needed = model.jobs > 0 or model.name == policy.feedback_model
    is_its_turn = turn is None or model.name == turn == state.phase
    is_room = is_memory_back(state, policy, now_seconds) and not any(
        is_leaving(each.name, state, policy, now_seconds) for each in state.models
    )
    waits_seconds = policy.load_retry_seconds * 2.0 ** min(model.load_failures - 1, 4)
    is_tried = model.load_failures > 0 and now_seconds < model.load_failed_at_seconds + waits_seconds
    return is_needed and is_its_turn and is_room and not is_tried and not state.is_listed(model.name)
