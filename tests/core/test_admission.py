"""The rules of admission: an example for each rule, states in which no rule applies, canaries and turns."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from supervisor.admission import rules as rulebook
from supervisor.admission.breaker import Breaker
from supervisor.admission.decision import (
    UNLIMITED,
    AcquireModelLock,
    Act,
    Decision,
    HoldReason,
    Preload,
    Probe,
    ProbeStore,
    Unload,
)
from supervisor.admission.facts import DecisionPublished, HostMeasured, ListError, ListFailed, LoadedModel
from supervisor.admission.interference import Ewma, Interference, Speed
from supervisor.admission.model_state import ModelState
from supervisor.admission.policy import AdmissionPolicy, TakeTurns
from supervisor.admission.rules import (
    ACTS,
    LIMITS,
    ActRule,
    Rule,
    acquire_the_lock,
    ask_alone_after_a_death,
    close_a_failing_model,
    close_a_model_that_is_not_loaded,
    close_a_wedged_model,
    close_all_but_the_active_model,
    close_all_while_the_server_is_away,
    decide,
    evict_after_a_long_stall,
    hold_during_an_eviction,
    hold_over_the_limit,
    hold_pictures_while_the_store_is_away,
    hold_while_memory_is_unknown,
    load_before_work,
    make_room_for_the_active_model,
    probe_a_failing_model,
    probe_the_store,
    reopen_one_slot_at_a_time,
    unload_a_silent_model,
)
from supervisor.admission.state import AdmissionState, ModelStatus, Stall
from supervisor.admission.store import Store
from supervisor.admission.turns import active_model

NOW, INSTANT, MIB = 1000.0, 0.001, 2**20
V, F, FOREIGN = "see:latest", "say:latest", "foreign"
POLICY = AdmissionPolicy(
    vision_model=V,
    feedback_model=F,
    num_parallel=8,
    limit_bytes=1000,
    low_water_bytes=800,
    vision_timeout_seconds=30,
    feedback_timeout_seconds=20,
    sample_seconds=1,
    max_hold_seconds=60,
    grace_seconds=10,
    probe_seconds=2,
    probe_try_seconds=3,
    load_retry_seconds=15,
    unload_seconds=25,
    memory_back_seconds=4,
    exclusive_seconds=50,
    exclusive_loads=10,
    turn_seconds=9,
)
NO_LIMIT = replace(POLICY, limit_bytes=0, low_water_bytes=0)
ONE_AT_A_TIME = replace(NO_LIMIT, max_loaded_models=1)
BY_TURNS = replace(NO_LIMIT, take_turns=TakeTurns.ALWAYS)
NO_TURNS = replace(NO_LIMIT, take_turns=TakeTurns.NEVER)
LARGE = replace(POLICY, limit_bytes=2**40, low_water_bytes=2**39)
MEMORY, REOPENING, LOADING, CANARY = HoldReason.MEMORY, HoldReason.REOPENING, HoldReason.LOADING, HoldReason.CANARY
EXCLUSIVE, TURNS, BREAKER, WEDGED = HoldReason.EXCLUSIVE, HoldReason.TURNS, HoldReason.BREAKER, HoldReason.WEDGED

SILENT = ListFailed(ListError.LATE, NOW - 3)
LONG, SHORTER = Stall(NOW - 60), Stall(NOW - 60 + INSTANT)
EVICTED = Stall(NOW - 60, has_evicted=True)
WAITS = {"jobs": 1}
OLD = {"jobs": 1, "oldest_seconds": 50.0}


def loaded_model(name: str) -> LoadedModel:
    return LoadedModel(name, f"digest of {name}", 100, 0, 4096)


def state_of(
    *names: str, v: dict[str, Any] | None = None, f: dict[str, Any] | None = None, used: int | None = None, **fields: Any
) -> AdmissionState:
    """No job, four workers, and these models listed now. `used`: memory of Ollama's processes. `v`, `f`: the two models."""
    models = []
    for name, values in ((V, v), (F, f)):
        state = ModelState.LOADED if name in names else ModelState.ABSENT
        models.append(ModelStatus(name, 8, **{"state": state, "size_bytes": 100, "progress_at_seconds": NOW, **(values or {})}))
    known: dict[str, Any] = {
        "began_at_seconds": 0.0,
        "interference": Interference.of((V, F)),
        "listed": tuple(loaded_model(name) for name in names),
        "listed_at_seconds": NOW,
        "host": None if used is None else HostMeasured(used, 0, 0, None, None, None, NOW),
        "workers": 4,
    }
    return AdmissionState(tuple(models), **{**known, **fields})


def both(**values: Any) -> AdmissionState:
    return state_of(V, F, **values)


def turn_of(model: str, *names: str, since: float = 0.0, **values: Any) -> AdmissionState:
    """`model` is active and this instance holds its lock."""
    return state_of(*names, active=model, locked_model=model, turn_since_seconds=since, **values)


def unloading(at: float) -> dict[str, Any]:
    return {"state": ModelState.UNLOADING, "unload_began_at_seconds": at}


def failed_loads(count: int, ago: float, jobs: int = 1) -> dict[str, Any]:
    return {"jobs": jobs, "load_failures": count, "load_failed_at_seconds": NOW - ago}


def tripped(ago: float = 1.0, **fields: Any) -> Breaker:
    return Breaker(trips=1, tripped_at_seconds=NOW - ago, **fields)


AWAY = ListFailed(ListError.UNREACHABLE, NOW - 3)
STORE_AWAY = Store("StoreUnreachable", NOW - 1, closed_at_seconds=NOW - 1)
UNANSWERED = tripped(is_silent=True, failed_probe_began_at_seconds=NOW - 1, probed_at_seconds=NOW - 1)


def speeds(vision: tuple[Ewma, Ewma], feedback: tuple[Ewma, Ewma]) -> Interference:
    """Each alone and together."""
    return Interference((Speed(V, *vision), Speed(F, *feedback)))


def known(value: float) -> Ewma:
    return Ewma(value, 3)


SELDOM_ALONE = (Ewma(9.0, 2), known(9.0))
MEASURED = (known(9.0), known(9.0))


@dataclass(frozen=True)
class Row:
    """State, decision, and the rule that is needed for it. `v`, `f`: calls of vision and feedback model."""

    rule: Rule | ActRule
    state: AdmissionState
    policy: AdmissionPolicy = POLICY
    slots: int = UNLIMITED
    v: int = UNLIMITED
    f: int = UNLIMITED
    pictures: int = UNLIMITED
    why: tuple[HoldReason, ...] = ()
    acts: tuple[Act, ...] = ()

    @property
    def decision(self) -> tuple[object, ...]:
        return self.slots, (self.v, self.f), self.why, self.acts, self.pictures


ROWS = {
    "memory over the limit": Row(hold_over_the_limit, both(used=1001), slots=0, why=(MEMORY,)),
    "memory between low water and limit, after a hold": Row(
        hold_over_the_limit, both(used=801, slots=1, slots_changed_at_seconds=NOW - 99), slots=1, why=(MEMORY, REOPENING)
    ),
    "no list since the start": Row(
        hold_while_memory_is_unknown,
        state_of(listed_at_seconds=None, began_at_seconds=NOW - 10 - INSTANT),
        slots=0,
        v=0,
        f=0,
        why=(HoldReason.UNKNOWN, LOADING),
    ),
    "no list for longer than the grace": Row(
        hold_while_memory_is_unknown, both(listed_at_seconds=NOW - 10 - INSTANT), slots=0, why=(HoldReason.UNKNOWN,)
    ),
    "evicted models are not gone": Row(
        hold_during_an_eviction,
        both(v=unloading(NOW - 1), stall=Stall(NOW, has_evicted=True)),
        slots=0,
        v=0,
        why=(HoldReason.EVICTION, LOADING),
    ),
    "below low water, before the pause is over": Row(
        reopen_one_slot_at_a_time, both(used=800, slots=0, slots_changed_at_seconds=NOW - 5 + INSTANT), slots=0, why=(REOPENING,)
    ),
    "below low water, after the pause": Row(
        reopen_one_slot_at_a_time, both(used=800, slots=2, slots_changed_at_seconds=NOW - 5), slots=3, why=(REOPENING,)
    ),
    "a model is not loaded": Row(close_a_model_that_is_not_loaded, state_of(F), NO_LIMIT, v=0, why=(LOADING,)),
    "a model was not loaded before the list failed, with a limit": Row(
        close_a_model_that_is_not_loaded, state_of(V, list_failure=SILENT), f=0, why=(LOADING,)
    ),
    "a model is being unloaded": Row(
        close_a_model_that_is_not_loaded, both(v=unloading(NOW - 25 + INSTANT)), v=0, why=(LOADING,)
    ),
    "a breaker is open": Row(close_a_failing_model, both(v={"breaker": tripped(2 - INSTANT)}), v=0, why=(BREAKER,)),
    "a probe was answered": Row(
        close_a_failing_model, both(f={"breaker": tripped(5, is_answering=True)}), f=1, why=(HoldReason.RAMPING,)
    ),
    "the canary was answered": Row(
        close_a_failing_model, both(v={"breaker": tripped(0, is_answering=True, answers=1)}), v=2, why=(HoldReason.RAMPING,)
    ),
    "calls died together": Row(ask_alone_after_a_death, both(v={"alone": 2}), v=1, why=(HoldReason.ALONE,)),
    "the server is away": Row(
        close_all_while_the_server_is_away, both(list_failure=AWAY), NO_LIMIT, v=0, f=0, why=(HoldReason.SERVER,)
    ),
    "the store is away": Row(hold_pictures_while_the_store_is_away, both(store=STORE_AWAY), pictures=0, why=(HoldReason.STORE,)),
    "the store is back": Row(
        hold_pictures_while_the_store_is_away,
        both(store=replace(STORE_AWAY, is_back=True)),
        pictures=1,
        why=(HoldReason.RETURNING,),
    ),
    "the store is back, and files fail": Row(
        hold_pictures_while_the_store_is_away,
        both(store=replace(STORE_AWAY, is_back=True, is_doubtful=True)),
        pictures=1,
        why=(HoldReason.STORE,),
    ),
    "a probe is due": Row(probe_a_failing_model, both(f={"breaker": tripped(2)}), f=0, why=(BREAKER,), acts=(Probe(F, 3, 20),)),
    "a probe of the store is due": Row(
        probe_the_store,
        both(store=replace(STORE_AWAY, closed_at_seconds=NOW - 2)),
        pictures=0,
        why=(HoldReason.STORE,),
        acts=(ProbeStore(),),
    ),
    "no token for longer than the vision timeout": Row(
        close_a_wedged_model, both(v={"in_flight": 1, "progress_at_seconds": NOW - 30 - INSTANT}), v=0, why=(WEDGED,)
    ),
    "no token for longer than the feedback timeout": Row(
        close_a_wedged_model, both(f={"in_flight": 1, "progress_at_seconds": NOW - 20 - INSTANT}), f=0, why=(WEDGED,)
    ),
    "the server loads one model only": Row(
        close_all_but_the_active_model, turn_of(V, V), ONE_AT_A_TIME, f=0, why=(EXCLUSIVE, LOADING)
    ),
    "both models together are above low water": Row(
        close_all_but_the_active_model,
        turn_of(V, V, F, v={"size_bytes": 401}, f={"size_bytes": 400, "unload_began_at_seconds": NOW}),
        f=0,
        why=(EXCLUSIVE,),
    ),
    "no instance holds a model lock": Row(close_all_but_the_active_model, both(), ONE_AT_A_TIME, v=0, f=0, why=(EXCLUSIVE,)),
    "the other model has calls in flight": Row(
        close_all_but_the_active_model, turn_of(V, V, F, f={"in_flight": 1}), BY_TURNS, v=0, f=0, why=(TURNS,)
    ),
    "two models slow each other down": Row(
        close_all_but_the_active_model,
        turn_of(F, V, F, interference=speeds((known(100.0), known(50.0)), (known(100.0), known(39.0)))),
        v=0,
        why=(TURNS,),
    ),
    "a model is never measured alone": Row(
        close_all_but_the_active_model,
        turn_of(F, V, F, interference=speeds((known(100.0), known(99.0)), SELDOM_ALONE)),
        v=0,
        why=(TURNS,),
    ),
    "a long stall over the limit": Row(
        evict_after_a_long_stall,
        both(used=801, slots=0, stall=LONG, v=WAITS),
        slots=0,
        why=(MEMORY, REOPENING),
        acts=(Unload((V, F)),),
    ),
    "a long stall with a foreign model loaded": Row(
        evict_after_a_long_stall,
        state_of(F, FOREIGN, used=1001, slots=0, stall=LONG),
        slots=0,
        v=0,
        why=(MEMORY, REOPENING, LOADING),
        acts=(Unload((F,)),),
    ),
    "a model is silent": Row(
        unload_a_silent_model,
        both(v={"breaker": UNANSWERED, "unload_began_at_seconds": NOW - 1 - INSTANT}),
        v=0,
        why=(BREAKER,),
        acts=(Unload((V,)),),
    ),
    "the active model is not locked": Row(
        acquire_the_lock, both(v=WAITS), ONE_AT_A_TIME, v=0, f=0, why=(EXCLUSIVE,), acts=(AcquireModelLock(V),)
    ),
    "a model lock is not needed": Row(acquire_the_lock, both(locked_model=V), acts=(AcquireModelLock(None),)),
    "the other model occupies the memory": Row(
        make_room_for_the_active_model,
        turn_of(V, V, F, since=NOW, v={"in_flight": 1}, f={"unload_began_at_seconds": NOW - INSTANT}),
        ONE_AT_A_TIME,
        f=0,
        why=(EXCLUSIVE,),
        acts=(Unload((F,)),),
    ),
    "jobs wait for a model that is not loaded": Row(
        load_before_work, state_of(F, v=WAITS), v=0, why=(LOADING,), acts=(Preload(V),)
    ),
    "pictures need the feedback model later": Row(
        load_before_work, state_of(V, v=WAITS), f=0, why=(LOADING,), acts=(Preload(F),)
    ),
    "one load at a time": Row(load_before_work, state_of(v=WAITS), v=0, f=0, why=(LOADING,), acts=(Preload(V),)),
    "the other model stays loaded after its unload": Row(
        load_before_work,
        turn_of(V, F, since=NOW - 30, v=WAITS, f=unloading(NOW - 25)),
        ONE_AT_A_TIME,
        v=0,
        f=0,
        why=(EXCLUSIVE, LOADING),
        acts=(Preload(V),),
    ),
    "a failed load is repeated after a wait that doubled twice": Row(
        load_before_work, state_of(F, v=failed_loads(3, 60)), v=0, why=(HoldReason.UNLOADABLE,), acts=(Preload(V),)
    ),
    "a failed load is repeated after the longest wait": Row(
        load_before_work, state_of(F, v=failed_loads(9, 240)), v=0, why=(HoldReason.UNLOADABLE,), acts=(Preload(V),)
    ),
}


def decided(state: AdmissionState, policy: AdmissionPolicy = POLICY) -> tuple[object, ...]:
    decision = decide(state, policy, NOW)
    return decision.slots, (decision.calls_of(V), decision.calls_of(F)), decision.reasons, decision.acts, decision.pictures


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_each_rule_by_an_example(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state gives the decision, and a different one without the rule."""
    assert decided(row.state, row.policy) == row.decision
    for name in ("LIMITS", "ACTS"):
        monkeypatch.setattr(rulebook, name, tuple(rule for rule in getattr(rulebook, name) if rule is not row.rule))
    assert decided(row.state, row.policy) != row.decision


def test_every_rule_has_a_row() -> None:
    assert {row.rule for row in ROWS.values()} == {*LIMITS, *ACTS}


Case = tuple[AdmissionState, AdmissionPolicy]
UNRESTRICTED: dict[str, Case] = {
    "jobs and room": (both(used=900, v=WAITS, f=WAITS), POLICY),
    "memory just at the limit": (both(used=1000), POLICY),
    "no limit": (both(used=10**12, stall=LONG), NO_LIMIT),
    "no list for just the grace": (both(listed_at_seconds=NOW - 10, list_failure=SILENT), POLICY),
    "no list for long, without a limit": (state_of(listed_at_seconds=NOW - 99, list_failure=SILENT, v=WAITS), NO_LIMIT),
    "no list since the start, without a limit": (state_of(listed_at_seconds=None), NO_LIMIT),
    "the last slot opens": (both(slots=3, slots_changed_at_seconds=NOW - 5), POLICY),
    "fewer workers than open slots": (both(slots=2, workers=1, slots_changed_at_seconds=NOW), POLICY),
    "a model that the list never contains": (state_of(F, v={"jobs": 1, "state": ModelState.UNLISTED}), POLICY),
    "a model that did not unload in time": (both(v=unloading(NOW - 25)), POLICY),
    "a call that waits for its first token": (both(v={"in_flight": 1, "progress_at_seconds": NOW - 30}), POLICY),
    "no progress, but no call": (both(v={"progress_at_seconds": 0.0}), POLICY),
    "fewer failures than trip the breaker": (both(v={"breaker": Breaker(failures=4)}), POLICY),
    "two models that just fit": (both(v={"size_bytes": 400}, f={"size_bytes": 400}), POLICY),
    "a large model beside one of unknown size": (both(v={"size_bytes": 900}, f={"size_bytes": 0}), POLICY),
    "turns are switched off": (both(interference=speeds((known(100.0), known(1.0)), (known(100.0), known(1.0)))), NO_TURNS),
    "turns are switched off, for a trial too": (both(interference=speeds(SELDOM_ALONE, SELDOM_ALONE)), NO_TURNS),
    "a model was not yet measured together": (both(interference=speeds(SELDOM_ALONE, (Ewma(), Ewma(9.0, 2)))), NO_LIMIT),
    "two models share fairly": (
        both(interference=speeds((known(100.0), known(50.0)), (known(100.0), known(40.0)))),
        NO_LIMIT,
    ),
    "too few samples": (both(interference=speeds((known(100.0), Ewma(1.0, 2)), (known(100.0), known(1.0)))), NO_LIMIT),
    "a stall that admission does not cause": (both(stall=LONG, v=WAITS), POLICY),
}


@pytest.mark.parametrize(("state", "policy"), UNRESTRICTED.values(), ids=UNRESTRICTED.keys())
def test_no_rule_applies(state: AdmissionState, policy: AdmissionPolicy) -> None:
    """An instant before its time, or in a similar state, no rule holds work back or acts."""
    assert decided(state, policy) == (UNLIMITED, (UNLIMITED, UNLIMITED), (), (), UNLIMITED)


WITHOUT_ACTS: dict[str, Case] = {
    "a stall that is not too long": (both(used=1001, slots=0, stall=SHORTER), POLICY),
    "slots were closed by an earlier limit": (both(used=1001, slots=0, stall=LONG), NO_LIMIT),
    "no stall": (both(used=1001, slots=0), POLICY),
    "evicted once in this stall": (both(used=1001, slots=0, stall=EVICTED), POLICY),
    "a stall for another reason than memory": (
        both(used=800, slots=0, slots_changed_at_seconds=NOW, listed_at_seconds=NOW - 99, stall=LONG),
        POLICY,
    ),
    "a slot is open": (both(used=1001, slots=1, stall=LONG), POLICY),
    "only a foreign model is loaded": (state_of(FOREIGN, used=1001, slots=0, stall=LONG), POLICY),
    "a model fails but is not silent": (both(v={"breaker": tripped()}), POLICY),
    "a silent model recovers": (both(v={"breaker": replace(UNANSWERED, is_answering=True)}), POLICY),
    "a silent model was unloaded": (both(v={"breaker": UNANSWERED, "unload_began_at_seconds": NOW - 1}), POLICY),
    "a silent model has calls": (both(v={"breaker": UNANSWERED, "in_flight": 1}), POLICY),
    "a silent model is not loaded": (state_of(F, v={"breaker": UNANSWERED}), POLICY),
    "a silent model was not probed since its trip": (both(v={"breaker": tripped(is_silent=True)}), POLICY),
    "a probe waits in a silent model": (both(v={"breaker": replace(UNANSWERED, probe_began_at_seconds=NOW)}), POLICY),
    "a silent model was probed before the server answered": (
        both(v={"breaker": UNANSWERED}, answers_since_seconds=NOW - 1 + INSTANT),
        POLICY,
    ),
    "a silent model on a silent server": (both(v={"breaker": UNANSWERED}, list_failure=SILENT), POLICY),
    "a probe is not due": (both(v={"breaker": tripped(2 - INSTANT)}), POLICY),
    "a probe is under way": (both(v={"breaker": tripped(9, probe_began_at_seconds=NOW)}), POLICY),
    "a probe failed just now": (both(v={"breaker": tripped(9, probed_at_seconds=NOW - 2 + INSTANT)}), POLICY),
    "the server asked for a pause": (
        both(v={"breaker": tripped(9, probed_at_seconds=NOW - 7 + INSTANT, retry_after_seconds=7)}),
        POLICY,
    ),
    "a call failed after an answered probe": (
        both(v={"breaker": Breaker(trips=2, tripped_at_seconds=NOW - 4 + INSTANT)}),
        POLICY,
    ),
    "a failing model is not loaded": (state_of(F, v={"breaker": tripped(9)}), POLICY),
    "a failing model is being loaded": (state_of(F, v={"breaker": tripped(9), "state": ModelState.LOADING}), POLICY),
    "a failing model is being unloaded": (both(v={"breaker": tripped(9), **unloading(NOW)}), POLICY),
    "a failing model on a server that is away": (both(v={"breaker": tripped(9)}, list_failure=AWAY), POLICY),
    "a failing model with all slots closed": (both(used=1001, slots=0, v={"breaker": tripped(9)}), POLICY),
    "a failing model that has not its turn": (turn_of(V, V, F, v=WAITS, f={"breaker": tripped(9)}), BY_TURNS),
    "a probe of the store is not due": (both(store=replace(STORE_AWAY, closed_at_seconds=NOW - 2 + INSTANT)), POLICY),
    "a probe of the store is under way": (both(store=replace(STORE_AWAY, closed_at_seconds=0, is_probing=True)), POLICY),
    "the store has answered": (both(store=replace(STORE_AWAY, closed_at_seconds=0, is_back=True)), POLICY),
    "the store asked for a pause": (
        both(store=replace(STORE_AWAY, closed_at_seconds=NOW - 7 + INSTANT, retry_after_seconds=7)),
        POLICY,
    ),
    "the lock must wait for calls to the other model": (state_of(v=WAITS, active=V, f={"in_flight": 1}), ONE_AT_A_TIME),
    "the lock is ours": (turn_of(V, V, v=WAITS), ONE_AT_A_TIME),
    "the other model has calls": (turn_of(V, V, F, since=NOW, f={"in_flight": 1}), ONE_AT_A_TIME),
    "the other model was unloaded in this turn": (turn_of(V, V, F, since=NOW, f={"unload_began_at_seconds": NOW}), ONE_AT_A_TIME),
    "the other model fits": (turn_of(V, V, F, since=NOW), BY_TURNS),
    "no job waits": (state_of(), POLICY),
    "typed text needs no vision model": (state_of(F, f=WAITS), POLICY),
    "all slots are closed": (state_of(slots=0, v=WAITS), POLICY),
    "the last list failed": (state_of(list_failure=SILENT, v=WAITS), POLICY),
    "a load is in progress": (state_of(v=WAITS, f={"state": ModelState.LOADING}), POLICY),
    "a load was answered and no list came since": (state_of(F, v={"jobs": 1, "state": ModelState.ANSWERED}), POLICY),
    "an unload is in progress": (state_of(F, v=WAITS, f=unloading(NOW)), POLICY),
    "unloaded memory is not released": (state_of(v=WAITS, gone_at_seconds=NOW - 4 + INSTANT, used=256 * MIB + 1), LARGE),
    "unloaded memory was not measured since": (state_of(v=WAITS, gone_at_seconds=NOW, used=1), POLICY),
    "unloaded memory cannot be measured": (state_of(v=WAITS, gone_at_seconds=NOW - 1), POLICY),
    "unloaded memory is not visible": (
        state_of(v=WAITS, gone_at_seconds=NOW - 1, host=HostMeasured(None, 0, 0, None, None, None, NOW)),
        POLICY,
    ),
    "a load failed just now": (state_of(F, v=failed_loads(1, 15 - INSTANT)), POLICY),
    "a load failed very often": (state_of(F, v=failed_loads(9, 240 - INSTANT)), POLICY),
    "the other model must be unloaded first": (
        turn_of(V, F, since=NOW, v=WAITS, f={"in_flight": 1, "unload_began_at_seconds": NOW - 99}),
        ONE_AT_A_TIME,
    ),
}


@pytest.mark.parametrize(("state", "policy"), WITHOUT_ACTS.values(), ids=WITHOUT_ACTS.keys())
def test_nothing_is_loaded_unloaded_or_locked(state: AdmissionState, policy: AdmissionPolicy) -> None:
    """An instant before its time, or in a similar state, no rule acts."""
    assert decide(state, policy, NOW).acts == ()


MEMORY_IS_BACK = {
    "by measurement": state_of(v=WAITS, gone_at_seconds=NOW - INSTANT, used=256 * MIB),
    "by time": state_of(v=WAITS, gone_at_seconds=NOW - 4, used=10**9),
}


@pytest.mark.parametrize("state", MEMORY_IS_BACK.values(), ids=MEMORY_IS_BACK.keys())
def test_a_load_waits_until_memory_is_released(state: AdmissionState) -> None:
    """A list without the unloaded model is not enough."""
    assert decide(state, LARGE, NOW).acts == (Preload(V),)


FREE_CALLS = (UNLIMITED, UNLIMITED)
CANARIES: dict[str, tuple[AdmissionState, int, tuple[int, int]]] = {
    "over the limit after an eviction": (both(used=1001, slots=0, stall=EVICTED), 1, FREE_CALLS),
    "the slot stays open until a job is leased": (
        both(used=1001, slots=1, slots_changed_at_seconds=NOW, stall=EVICTED),
        1,
        FREE_CALLS,
    ),
    "memory unknown, and nothing to evict": (
        state_of(slots=0, listed_at_seconds=NOW - 99, list_failure=SILENT, stall=LONG),
        1,
        (1, 1),
    ),
    "a model that cannot be loaded": (state_of(F, stall=LONG, v=failed_loads(1, 0, jobs=0)), UNLIMITED, (1, UNLIMITED)),
    "slots were closed a pause ago": (both(used=1001, slots=0, slots_changed_at_seconds=NOW - 5, stall=EVICTED), 1, FREE_CALLS),
}
NO_CANARIES: dict[str, tuple[AdmissionState, int, tuple[int, int]]] = {
    "a load is in progress": (
        state_of(F, stall=LONG, v={"load_failures": 1, "state": ModelState.LOADING}),
        UNLIMITED,
        (0, UNLIMITED),
    ),
    "no load was tried": (state_of(F, stall=LONG), UNLIMITED, (0, UNLIMITED)),
    "a breaker has its own probe": (both(stall=LONG, v={"breaker": tripped(), "load_failures": 1}), UNLIMITED, (0, UNLIMITED)),
    "a stall that is not too long": (both(used=1001, slots=0, stall=replace(SHORTER, has_evicted=True)), 0, FREE_CALLS),
    "an eviction comes first": (both(used=1001, slots=0, stall=LONG), 0, FREE_CALLS),
    "evicted models are not gone": (both(used=1001, slots=0, stall=EVICTED, v=unloading(NOW)), 0, (0, UNLIMITED)),
    "slots were closed just now": (
        both(used=1001, slots=0, slots_changed_at_seconds=NOW - 5 + INSTANT, stall=EVICTED),
        0,
        FREE_CALLS,
    ),
}


@pytest.mark.parametrize(("state", "slots", "calls"), CANARIES.values(), ids=CANARIES.keys())
def test_a_canary_after_a_long_stall(state: AdmissionState, slots: int, calls: tuple[int, int]) -> None:
    """If nothing else has helped, one slot and one call are admitted, and the reason is published first."""
    assert decided(state)[:2] == (slots, calls)
    assert decide(state, POLICY, NOW).reasons[0] is CANARY


@pytest.mark.parametrize(("state", "slots", "calls"), NO_CANARIES.values(), ids=NO_CANARIES.keys())
def test_no_canary(state: AdmissionState, slots: int, calls: tuple[int, int]) -> None:
    assert decided(state)[:2] == (slots, calls)
    assert CANARY not in decide(state, POLICY, NOW).reasons


ACTIVE: dict[str, tuple[AdmissionState, AdmissionPolicy, str | None]] = {
    "none if both may be called": (both(active=V, v=WAITS), NO_LIMIT, None),
    "none if no job waits": (both(), ONE_AT_A_TIME, None),
    "first the model of the oldest job": (
        both(v={"jobs": 9, "oldest_seconds": 1.0}, f={"jobs": 1, "oldest_seconds": 2.0}),
        ONE_AT_A_TIME,
        F,
    ),
    "the same if no job waits for the other": (both(active=V), ONE_AT_A_TIME, V),
    "the same while its calls are in flight": (
        both(active=V, turn_since_seconds=NOW, v={"in_flight": 1}, f=OLD),
        ONE_AT_A_TIME,
        V,
    ),
    "the other if nothing is left to do": (both(active=V, turn_since_seconds=NOW, f={"jobs": 1}), ONE_AT_A_TIME, F),
    "the other after a turn": (both(active=V, turn_since_seconds=NOW - 50, v=WAITS, f=OLD), ONE_AT_A_TIME, F),
    "the same an instant before": (both(active=V, turn_since_seconds=NOW - 50 + INSTANT, v=WAITS, f=OLD), ONE_AT_A_TIME, V),
    "the same until the other has waited for a turn": (
        both(active=V, v=WAITS, f={"jobs": 9, "oldest_seconds": 50 - INSTANT}),
        ONE_AT_A_TIME,
        V,
    ),
    "long loads make long turns": (
        both(active=V, turn_since_seconds=NOW - 50, v={"jobs": 1, "load_seconds": 5.1}, f=OLD),
        ONE_AT_A_TIME,
        V,
    ),
    "turns without loads are short": (
        both(active=V, turn_since_seconds=NOW - 9, v={"jobs": 1, "load_seconds": 5.1}, f={"jobs": 1, "oldest_seconds": 9.0}),
        BY_TURNS,
        F,
    ),
    "the other when the trial has measured this one": (
        both(active=V, turn_since_seconds=NOW, v=WAITS, f=WAITS, interference=speeds(MEASURED, SELDOM_ALONE)),
        NO_LIMIT,
        F,
    ),
    "the same until the trial has measured it": (
        both(active=F, turn_since_seconds=NOW, v=OLD, f=WAITS, interference=speeds(MEASURED, SELDOM_ALONE)),
        NO_LIMIT,
        F,
    ),
    "no trial if each turn needs a load": (
        both(active=V, turn_since_seconds=NOW, v=WAITS, f=WAITS, interference=speeds(MEASURED, SELDOM_ALONE)),
        ONE_AT_A_TIME,
        V,
    ),
    "calls in flight are not waiting jobs": (
        both(active=V, v=WAITS, f={"in_flight": 1, "oldest_seconds": 99.0}),
        ONE_AT_A_TIME,
        V,
    ),
}


@pytest.mark.parametrize(("state", "policy", "model"), ACTIVE.values(), ids=ACTIVE.keys())
def test_the_active_model(state: AdmissionState, policy: AdmissionPolicy, model: str | None) -> None:
    """By backlog and age, so that both models make progress and loads take a small part of the time."""
    assert active_model(state, policy, NOW) == model
    assert decide(state, policy, NOW).active == model


def test_one_model_for_both_steps_has_one_gate() -> None:
    """A limit closes it for both steps, and there are no turns."""
    policy = replace(ONE_AT_A_TIME, feedback_model=V, take_turns=TakeTurns.ALWAYS)
    model = ModelStatus(V, 8, ModelState.LOADED, breaker=tripped())
    decision = decide(replace(AdmissionState.of(policy, 0.0), models=(model,), listed_at_seconds=NOW), policy, NOW)
    assert policy.models == (V,)
    assert (dict(decision.calls), decision.reasons, decision.active) == ({V: 0}, (BREAKER,), None)
    assert replace(policy, feedback_timeout_seconds=40).wedge_seconds(V) == 40


def test_a_step_without_a_model_has_no_gate() -> None:
    policy = replace(POLICY, vision_model=None)
    decision = decide(AdmissionState.of(policy, NOW), policy, NOW)
    assert policy.models == (F,)
    assert (decision.calls_of(None), decision.calls_of(F)) == (UNLIMITED, 0)
    assert (Decision(calls={F: 1}).calls_of(V), Decision(calls={F: 1}).calls_of(F)) == (UNLIMITED, 1)
    assert policy.wedge_seconds(FOREIGN) == math.inf


def test_the_tightest_limit_counts_and_all_reasons_are_published() -> None:
    """A wedged, failing and absent model is closed once, for three reasons in the order of the rules."""
    state = state_of(
        F,
        used=1001,
        v={"in_flight": 1, "progress_at_seconds": 0.0, "breaker": tripped(1)},
        f={"breaker": tripped(0, is_answering=True, answers=3)},
    )
    assert decided(state)[:4] == (0, (0, 4), (MEMORY, WEDGED, BREAKER, HoldReason.RAMPING, LOADING), ())
    assert decide(state, POLICY, NOW).reasons[0] is MEMORY


def test_each_reason_has_its_own_models() -> None:
    """A model that is only not loaded is not among those that fail."""
    state = state_of(F, v={"load_failures": 1}, f={"breaker": tripped(0)})
    assert decide(state, NO_LIMIT, NOW).closed == {BREAKER: (F,), LOADING: (V,)}
    assert decide(state_of(), NO_LIMIT, NOW).closed == {LOADING: (V, F)}


def test_one_failed_load_makes_a_model_unloadable() -> None:
    """If jobs wait for it, the status says so after the first failure. If none waits, the load is only due."""
    assert decide(state_of(F, v=failed_loads(1, 0)), NO_LIMIT, NOW).reasons == (HoldReason.UNLOADABLE,)
    assert decide(state_of(F, v=failed_loads(1, 0, jobs=0)), NO_LIMIT, NOW).reasons == (LOADING,)


def test_a_store_that_is_away_closes_the_vision_step_alone() -> None:
    """Also where one model serves both steps, because texts need no file."""
    policy = replace(NO_LIMIT, feedback_model=V)
    model = ModelStatus(V, 8, ModelState.LOADED)
    state = replace(AdmissionState.of(policy, 0.0), models=(model,), listed_at_seconds=NOW, store=STORE_AWAY)
    decision = decide(state, policy, NOW)
    assert (decision.vision_calls(V), decision.calls_of(V)) == (0, UNLIMITED)
    assert decide(state, replace(policy, vision_model=None), NOW).pictures == UNLIMITED


def test_no_canary_while_the_server_is_away() -> None:
    """No job could show anything, and the message names the server alone."""
    state = state_of(stall=LONG, list_failure=AWAY, v=failed_loads(1, 0))
    assert decide(state, POLICY, NOW).reasons == (HoldReason.SERVER, HoldReason.UNLOADABLE, LOADING)


def test_a_load_that_fails_at_once_is_soon_repeated() -> None:
    """A model that is not installed costs nothing to ask for, and is found within seconds after its installation."""
    for count, ago, is_due in ((1, 2, True), (1, 2 - INSTANT, False), (9, 4, True), (9, 4 - INSTANT, False)):
        cheap = failed_loads(count, ago) | {"load_began_at_seconds": NOW - ago - 2}
        assert decide(state_of(F, v=cheap), POLICY, NOW).acts == ((Preload(V),) if is_due else ())


def test_a_silent_model_gets_one_short_try() -> None:
    """A probe that waits in it would delay its unload. Another model's probe may wait as long as a call."""
    slow = replace(NO_LIMIT, feedback_timeout_seconds=240)
    for is_silent, timeout_seconds in ((False, 240), (True, 30)):
        state = both(f={"breaker": tripped(9, is_silent=is_silent)})
        assert decide(state, slow, NOW).acts == (Probe(F, 30, timeout_seconds),)


def test_a_model_without_a_list_is_probed() -> None:
    """Neither a list nor a load tells whether it is there, so the probe may load it."""
    assert decide(state_of(F, v={"breaker": tripped(9)}, list_failure=SILENT), NO_LIMIT, NOW).acts == (Probe(V, 3.75, 30),)


def test_a_decision_expires_only_with_a_memory_limit() -> None:
    assert decide(both(), POLICY, NOW).until_seconds == NOW + 5 + 10
    assert decide(both(), NO_LIMIT, NOW).until_seconds == math.inf
    assert decide(both(), NO_LIMIT, NOW).reasons == ()


def test_a_published_decision() -> None:
    decision = Decision(2, {V: 1, F: 0}, V, (MEMORY,), (), 5.0)
    assert decision.published(NOW) == DecisionPublished(2, V, NOW)
