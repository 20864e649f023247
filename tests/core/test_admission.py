"""What workers may do at Ollama: an example row for each rule of admission, an instant beside each, and what goes together."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest

from supervisor.admission import rules as rulebook
from supervisor.admission.breaker import Breaker
from supervisor.admission.decision import FREE, AcquireModelLock, Act, Decision, Preload, Unload
from supervisor.admission.facts import DecisionPublished, HostMeasured, ListError, ListFailed, LoadedModel
from supervisor.admission.policy import AdmissionPolicy, TakeTurns
from supervisor.admission.rules import (
    ACTS,
    LIMITS,
    ActRule,
    Rule,
    acquire_the_lock,
    close_a_failing_model,
    close_a_wedged_model,
    close_all_but_the_turn,
    close_what_is_not_loaded,
    decide,
    hold_during_a_relief,
    hold_over_the_limit,
    hold_what_is_unknown,
    load_before_work,
    make_room_for_the_phase,
    relieve_a_long_hold,
    reload_a_wedged_model,
    reopen_one_slot_at_a_time,
)
from supervisor.admission.state import AdmissionState, Hold, ModelStatus
from supervisor.admission.throughput import Ewma, Throughput
from supervisor.admission.turns import active_model
from worker.ipc.contract import HoldReason

NOW, INSTANT = 1000.0, 0.001
V, F = "see:latest", "say:latest"
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
    cool_seconds=5,
    cool_max_seconds=30,
    load_retry_seconds=15,
    unload_seconds=25,
    memory_back_seconds=4,
    exclusive_seconds=50,
    exclusive_loads=10,
    turn_seconds=9,
)
UNLIMITED = replace(POLICY, limit_bytes=0, low_water_bytes=0)
ONE_AT_A_TIME = replace(UNLIMITED, max_loaded_models=1)
BY_TURNS = replace(UNLIMITED, take_turns=TakeTurns.ALWAYS)
SILENT = ListFailed(ListError.LATE, NOW - 3)
HELD = Hold(NOW - 60)
MIB = 2**20


def loaded_model(name: str, size_bytes: int = 100) -> LoadedModel:
    return LoadedModel(name, f"digest of {name}", size_bytes, 0, 4096)


BOTH = (loaded_model(V), loaded_model(F))


def well(
    *, vision: dict[str, Any] | None = None, feedback: dict[str, Any] | None = None, used: int | None = None, **fields: Any
) -> AdmissionState:
    """Both models in memory, listed now, and four workers. `used` is what their processes hold."""
    calm: dict[str, Any] = {"size_bytes": 100, "progress_at_seconds": NOW}
    models = ModelStatus(V, 8, **{**calm, **(vision or {})}), ModelStatus(F, 8, **{**calm, **(feedback or {})})
    host = None if used is None else HostMeasured(used, 0, 0, None, None, None, NOW)
    known: dict[str, Any] = {"began_at_seconds": 0.0, "listed": BOTH, "listed_at_seconds": NOW, "host": host, "workers": 4}
    return AdmissionState(models, **{**known, **fields})


def tripped(at: float = NOW - 1, **fields: Any) -> Breaker:
    return Breaker(trips=1, tripped_at_seconds=at, **fields)


@dataclass(frozen=True)
class Row:
    """`rule` is the one that answers: without it the decision would be another. Calls are those of vision and feedback."""

    rule: Rule | ActRule
    state: AdmissionState
    slots: int = FREE
    calls: tuple[int, int] = (FREE, FREE)
    reasons: tuple[HoldReason, ...] = ()
    acts: tuple[Act, ...] = ()
    policy: AdmissionPolicy = POLICY


MEMORY, REOPENING, LOADING, CANARY = HoldReason.MEMORY, HoldReason.REOPENING, HoldReason.LOADING, HoldReason.CANARY
SELDOM_ALONE = Throughput(Ewma(9.0, 2), Ewma(9.0, 3))
WAITS = {"jobs": 1}
ROWS = {
    "over the limit by what the processes hold": Row(hold_over_the_limit, well(used=1001), 0, reasons=(MEMORY,)),
    "over the limit by what is listed": Row(
        hold_over_the_limit, well(used=1, listed=(*BOTH, loaded_model("foreign", 801))), 0, reasons=(MEMORY,)
    ),
    "over the limit with what is on the GPU": Row(
        hold_over_the_limit, well(host=HostMeasured(600, 0, 0, None, 401, None, NOW)), 0, reasons=(MEMORY,)
    ),
    "not yet below the low water": Row(
        hold_over_the_limit,
        well(used=801, slots=1, slots_changed_at_seconds=NOW - 99),
        1,
        reasons=(MEMORY, REOPENING),
    ),
    "nothing was ever listed": Row(
        hold_what_is_unknown,
        well(listed=(), listed_at_seconds=None, began_at_seconds=NOW - 10 - INSTANT),
        0,
        (0, 0),
        (HoldReason.UNKNOWN, LOADING),
    ),
    "nothing was listed for a while": Row(
        hold_what_is_unknown, well(listed_at_seconds=NOW - 10 - INSTANT), 0, reasons=(HoldReason.UNKNOWN,)
    ),
    "a relief goes on": Row(
        hold_during_a_relief,
        well(vision={"unload_began_at_seconds": NOW - 1}, unloading=(V,), held=Hold(NOW, has_evicted=True)),
        0,
        (0, FREE),
        (HoldReason.RELIEF, LOADING),
    ),
    "below the low water and just changed": Row(
        reopen_one_slot_at_a_time,
        well(used=800, slots=0, slots_changed_at_seconds=NOW - 5 + INSTANT),
        0,
        reasons=(REOPENING,),
    ),
    "below the low water for a while": Row(
        reopen_one_slot_at_a_time, well(used=800, slots=0, slots_changed_at_seconds=NOW - 5), 1, reasons=(REOPENING,)
    ),
    "the next slot": Row(
        reopen_one_slot_at_a_time, well(used=800, slots=2, slots_changed_at_seconds=NOW - 5), 3, reasons=(REOPENING,)
    ),
    "a model is not loaded": Row(
        close_what_is_not_loaded, well(listed=(loaded_model(F),)), calls=(0, FREE), reasons=(LOADING,), policy=UNLIMITED
    ),
    "a model is not loaded, as far as is known": Row(
        close_what_is_not_loaded, well(listed=(loaded_model(V),), unlisted=SILENT), calls=(FREE, 0), reasons=(LOADING,)
    ),
    "a model is on its way out": Row(
        close_what_is_not_loaded,
        well(vision={"unload_began_at_seconds": NOW - 25 + INSTANT}, unloading=(V,)),
        calls=(0, FREE),
        reasons=(LOADING,),
    ),
    "a breaker is open": Row(
        close_a_failing_model,
        well(vision={"breaker": tripped(NOW - 5 + INSTANT)}),
        calls=(0, FREE),
        reasons=(HoldReason.BREAKER,),
    ),
    "each failed probe makes the next one later": Row(
        close_a_failing_model,
        well(vision={"breaker": replace(tripped(NOW - 20 + INSTANT), trips=3)}),
        calls=(0, FREE),
        reasons=(HoldReason.BREAKER,),
    ),
    "a probe": Row(
        close_a_failing_model, well(feedback={"breaker": tripped(NOW - 5)}), calls=(FREE, 1), reasons=(HoldReason.PROBING,)
    ),
    "after a probe": Row(
        close_a_failing_model,
        well(vision={"breaker": tripped(NOW, answers=1)}),
        calls=(2, FREE),
        reasons=(HoldReason.RAMPING,),
    ),
    "no call gets on": Row(
        close_a_wedged_model,
        well(vision={"in_flight": 1, "progress_at_seconds": NOW - 30 - INSTANT}),
        calls=(0, FREE),
        reasons=(HoldReason.WEDGED,),
    ),
    "no call gets on at the other step, which has another timeout": Row(
        close_a_wedged_model,
        well(feedback={"in_flight": 1, "progress_at_seconds": NOW - 20 - INSTANT}),
        calls=(FREE, 0),
        reasons=(HoldReason.WEDGED,),
    ),
    "two models that do not fit": Row(
        close_all_but_the_turn,
        well(turn=V, exclusive_model=V, listed=(loaded_model(V),)),
        calls=(FREE, 0),
        reasons=(HoldReason.EXCLUSIVE, LOADING),
        policy=ONE_AT_A_TIME,
    ),
    "two models that do not fit below the low water": Row(
        close_all_but_the_turn,
        replace(
            well(turn=V, exclusive_model=V),
            models=(ModelStatus(V, 8, size_bytes=401), ModelStatus(F, 8, size_bytes=400, unload_began_at_seconds=NOW)),
        ),
        calls=(FREE, 0),
        reasons=(HoldReason.EXCLUSIVE,),
    ),
    "nobody's exclusive_model yet": Row(
        close_all_but_the_turn, well(), calls=(0, 0), reasons=(HoldReason.EXCLUSIVE,), policy=ONE_AT_A_TIME
    ),
    "the other model still works": Row(
        close_all_but_the_turn,
        well(turn=V, exclusive_model=V, feedback={"in_flight": 1}),
        calls=(0, 0),
        reasons=(HoldReason.TURNS,),
        policy=BY_TURNS,
    ),
    "two models that starve each other": Row(
        close_all_but_the_turn,
        well(
            turn=F,
            exclusive_model=F,
            vision={"speed": Throughput(Ewma(100.0, 3), Ewma(50.0, 3))},
            feedback={"speed": Throughput(Ewma(100.0, 3), Ewma(39.0, 3))},
        ),
        calls=(0, FREE),
        reasons=(HoldReason.TURNS,),
    ),
    "two models that are never seen alone": Row(
        close_all_but_the_turn,
        well(
            turn=F,
            exclusive_model=F,
            vision={"speed": Throughput(Ewma(100.0, 3), Ewma(99.0, 3))},
            feedback={"speed": SELDOM_ALONE},
        ),
        calls=(0, FREE),
        reasons=(HoldReason.TURNS,),
    ),
    "held for too long": Row(
        relieve_a_long_hold,
        well(used=801, slots=0, held=HELD, vision=WAITS),
        0,
        reasons=(MEMORY, REOPENING),
        acts=(Unload((V, F)),),
    ),
    "held for too long with one model in memory": Row(
        relieve_a_long_hold,
        well(used=1001, slots=0, held=HELD, listed=(loaded_model(F), loaded_model("foreign"))),
        0,
        (0, FREE),
        (MEMORY, REOPENING, LOADING),
        (Unload((F,)),),
    ),
    "a model that says nothing": Row(
        reload_a_wedged_model,
        well(vision={"breaker": tripped(NOW - 1, is_silent=True), "unload_began_at_seconds": NOW - 1 - INSTANT}),
        calls=(0, FREE),
        reasons=(HoldReason.BREAKER,),
        acts=(Unload((V,)),),
    ),
    "a exclusive_model that is not ours yet": Row(
        acquire_the_lock,
        well(vision=WAITS),
        calls=(0, 0),
        reasons=(HoldReason.EXCLUSIVE,),
        acts=(AcquireModelLock(V),),
        policy=ONE_AT_A_TIME,
    ),
    "a exclusive_model that nobody needs any more": Row(
        acquire_the_lock, well(exclusive_model=V), acts=(AcquireModelLock(None),)
    ),
    "the other model is in the way": Row(
        make_room_for_the_phase,
        well(
            turn=V,
            exclusive_model=V,
            turn_since_seconds=NOW,
            vision={"in_flight": 1},
            feedback={"unload_began_at_seconds": NOW - INSTANT},
        ),
        calls=(FREE, 0),
        reasons=(HoldReason.EXCLUSIVE,),
        acts=(Unload((F,)),),
        policy=ONE_AT_A_TIME,
    ),
    "work for a model that is not loaded": Row(
        load_before_work,
        well(listed=(loaded_model(F),), vision=WAITS),
        calls=(0, FREE),
        reasons=(LOADING,),
        acts=(Preload(V),),
    ),
    "pictures need the other model later": Row(
        load_before_work,
        well(listed=(loaded_model(V),), vision=WAITS),
        calls=(FREE, 0),
        reasons=(LOADING,),
        acts=(Preload(F),),
    ),
    "one load at a time": Row(
        load_before_work, well(listed=(), vision=WAITS), calls=(0, 0), reasons=(LOADING,), acts=(Preload(V),)
    ),
    "the other model would not leave": Row(
        load_before_work,
        well(
            turn=V,
            exclusive_model=V,
            turn_since_seconds=NOW - 30,
            listed=(loaded_model(F),),
            unloading=(F,),
            vision=WAITS,
            feedback={"unload_began_at_seconds": NOW - 25},
        ),
        calls=(0, 0),
        reasons=(HoldReason.EXCLUSIVE, LOADING),
        acts=(Preload(V),),
        policy=ONE_AT_A_TIME,
    ),
    "a load that failed is tried again": Row(
        load_before_work,
        well(listed=(loaded_model(F),), vision={"jobs": 1, "load_failures": 3, "load_failed_at_seconds": NOW - 60}),
        calls=(0, FREE),
        reasons=(HoldReason.UNLOADABLE,),
        acts=(Preload(V),),
    ),
    "and again, at no longer waits": Row(
        load_before_work,
        well(listed=(loaded_model(F),), vision={"jobs": 1, "load_failures": 9, "load_failed_at_seconds": NOW - 240}),
        calls=(0, FREE),
        reasons=(HoldReason.UNLOADABLE,),
        acts=(Preload(V),),
    ),
}


def asked(
    state: AdmissionState, policy: AdmissionPolicy = POLICY
) -> tuple[int, tuple[int, int], tuple[HoldReason, ...], tuple[Act, ...]]:
    decision = decide(state, policy, NOW)
    return decision.slots, (decision.calls_of(V), decision.calls_of(F)), decision.reasons, decision.acts


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_each_rule_by_an_example(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row's state gives the row's decision, and without the row's rule another one."""
    expected = row.slots, row.calls, row.reasons, row.acts
    assert asked(row.state, row.policy) == expected
    for name in ("LIMITS", "ACTS"):
        monkeypatch.setattr(rulebook, name, tuple(rule for rule in getattr(rulebook, name) if rule is not row.rule))
    assert asked(row.state, row.policy) != expected


def test_every_rule_has_a_row() -> None:
    """Nobody adds a rule without an example."""
    assert {row.rule for row in ROWS.values()} == {*LIMITS, *ACTS}


QUIET: dict[str, tuple[AdmissionState, AdmissionPolicy]] = {
    "all is well": (well(used=900, vision=WAITS, feedback=WAITS), POLICY),
    "just at the limit": (well(used=1000), POLICY),
    "no limit": (well(used=10**12, slots=FREE, held=HELD), UNLIMITED),
    "silent, but not for long": (well(listed_at_seconds=NOW - 10, unlisted=SILENT), POLICY),
    "silent for long, without a limit": (well(listed=(), listed_at_seconds=NOW - 99, unlisted=SILENT, vision=WAITS), UNLIMITED),
    "nobody has looked yet, without a limit": (well(listed=(), listed_at_seconds=None), UNLIMITED),
    "all slots are open again": (well(slots=3, slots_changed_at_seconds=NOW - 5), POLICY),
    "fewer workers than slots that are open": (well(slots=2, workers=1, slots_changed_at_seconds=NOW), POLICY),
    "a model that the list never names": (well(listed=(loaded_model(F),), vision={"jobs": 1, "is_unlistable": True}), POLICY),
    "a model did not leave": (well(vision={"unload_began_at_seconds": NOW - 25}, unloading=(V,)), POLICY),
    "a call that waits for its first token": (well(vision={"in_flight": 1, "progress_at_seconds": NOW - 30}), POLICY),
    "no call, and no progress": (well(vision={"in_flight": 0, "progress_at_seconds": 0.0}), POLICY),
    "some failures": (well(vision={"breaker": Breaker(failures=4)}), POLICY),
    "two models that just fit": (
        replace(well(), models=(ModelStatus(V, 8, size_bytes=400), ModelStatus(F, 8, size_bytes=400))),
        POLICY,
    ),
    "two models of which one was never seen": (
        replace(well(), models=(ModelStatus(V, 8, size_bytes=900), ModelStatus(F, 8, size_bytes=0))),
        POLICY,
    ),
    "turns are not taken": (
        well(
            vision={"speed": Throughput(Ewma(100.0, 3), Ewma(1.0, 3))},
            feedback={"speed": Throughput(Ewma(100.0, 3), Ewma(1.0, 3))},
        ),
        replace(UNLIMITED, take_turns=TakeTurns.NEVER),
    ),
    "turns are not taken to learn either": (
        well(vision={"speed": SELDOM_ALONE}, feedback={"speed": SELDOM_ALONE}),
        replace(UNLIMITED, take_turns=TakeTurns.NEVER),
    ),
    "two models of which one was not seen together": (
        well(vision={"speed": SELDOM_ALONE}, feedback={"speed": Throughput(Ewma(), Ewma(9.0, 2))}),
        UNLIMITED,
    ),
    "two models that share": (
        well(
            vision={"speed": Throughput(Ewma(100.0, 3), Ewma(50.0, 3))},
            feedback={"speed": Throughput(Ewma(100.0, 3), Ewma(40.0, 3))},
        ),
        UNLIMITED,
    ),
    "too few measurements": (
        well(
            vision={"speed": Throughput(Ewma(100.0, 3), Ewma(1.0, 2))},
            feedback={"speed": Throughput(Ewma(100.0, 3), Ewma(1.0, 3))},
        ),
        UNLIMITED,
    ),
    "held, but by nothing of ours": (well(held=HELD, vision=WAITS), POLICY),
}


@pytest.mark.parametrize(("state", "policy"), QUIET.values(), ids=QUIET.keys())
def test_everything_is_open(state: AdmissionState, policy: AdmissionPolicy) -> None:
    """An instant before its time, or in the state beside it, no rule holds anything back or wants anything."""
    assert asked(state, policy) == (FREE, (FREE, FREE), (), ())


IDLE: dict[str, tuple[AdmissionState, AdmissionPolicy]] = {
    "held for less": (well(used=1001, slots=0, held=Hold(NOW - 60 + INSTANT)), POLICY),
    "no limit, whoever has closed the slots": (well(used=1001, slots=0, held=HELD), UNLIMITED),
    "held by nothing": (well(used=1001, slots=0), POLICY),
    "a relief was tried": (well(used=1001, slots=0, held=Hold(NOW - 60, has_evicted=True)), POLICY),
    "held for other reasons": (
        well(used=800, slots=0, slots_changed_at_seconds=NOW, listed_at_seconds=NOW - 99, held=HELD),
        POLICY,
    ),
    "a slot is open": (well(used=1001, slots=1, held=HELD), POLICY),
    "nothing of ours to unload": (well(used=1001, slots=0, held=HELD, listed=(loaded_model("foreign"),)), POLICY),
    "a failing model that does answer": (well(vision={"breaker": tripped()}), POLICY),
    "a silent model that recovers": (well(vision={"breaker": tripped(is_silent=True, answers=1)}), POLICY),
    "a silent model that was asked to leave": (
        well(vision={"breaker": tripped(is_silent=True), "unload_began_at_seconds": NOW - 1}),
        POLICY,
    ),
    "a silent model with calls": (well(vision={"breaker": tripped(is_silent=True), "in_flight": 1}), POLICY),
    "a silent model that is not there": (well(vision={"breaker": tripped(is_silent=True)}, listed=(loaded_model(F),)), POLICY),
    "the other model has calls": (well(vision=WAITS, turn=V, feedback={"in_flight": 1}), ONE_AT_A_TIME),
    "our exclusive_model": (well(vision=WAITS, turn=V, exclusive_model=V, listed=(loaded_model(V),)), ONE_AT_A_TIME),
    "the other model has calls in our exclusive_model": (
        well(turn=V, exclusive_model=V, turn_since_seconds=NOW, feedback={"in_flight": 1}),
        ONE_AT_A_TIME,
    ),
    "the other model was asked to leave": (
        well(turn=V, exclusive_model=V, turn_since_seconds=NOW, feedback={"unload_began_at_seconds": NOW}),
        ONE_AT_A_TIME,
    ),
    "the other model may stay where both fit": (well(turn=V, exclusive_model=V, turn_since_seconds=NOW), BY_TURNS),
    "nothing waits": (well(listed=()), POLICY),
    "typed text needs no picture read": (well(listed=(loaded_model(F),), feedback=WAITS), POLICY),
    "held": (well(listed=(), slots=0, vision=WAITS), POLICY),
    "nobody knows what is loaded": (well(listed=(), unlisted=SILENT, vision=WAITS), POLICY),
    "a load goes on": (well(listed=(), vision=WAITS, feedback={"is_loading": True}), POLICY),
    "a model leaves": (
        well(listed=(loaded_model(F),), vision=WAITS, unloading=(F,), feedback={"unload_began_at_seconds": NOW}),
        POLICY,
    ),
    "memory of one that left is not back": (
        well(listed=(), vision=WAITS, gone_at_seconds=NOW - 4 + INSTANT, used=256 * MIB + 1),
        replace(POLICY, limit_bytes=2**40, low_water_bytes=2**39),
    ),
    "memory of one that left is not measured since": (
        well(listed=(), vision=WAITS, gone_at_seconds=NOW, used=1),
        POLICY,
    ),
    "memory of one that left cannot be measured": (well(listed=(), vision=WAITS, gone_at_seconds=NOW - 1), POLICY),
    "memory of one that left cannot be seen": (
        well(listed=(), vision=WAITS, gone_at_seconds=NOW - 1, host=HostMeasured(None, 0, 0, None, None, None, NOW)),
        POLICY,
    ),
    "a load that has just failed": (
        well(listed=(loaded_model(F),), vision={"jobs": 1, "load_failures": 1, "load_failed_at_seconds": NOW - 15 + INSTANT}),
        POLICY,
    ),
    "a load that has failed twice": (
        well(listed=(loaded_model(F),), vision={"jobs": 1, "load_failures": 2, "load_failed_at_seconds": NOW - 30 + INSTANT}),
        POLICY,
    ),
    "a load that has failed very often": (
        well(listed=(loaded_model(F),), vision={"jobs": 1, "load_failures": 9, "load_failed_at_seconds": NOW - 240 + INSTANT}),
        POLICY,
    ),
    "another instance's exclusive_model": (
        well(listed=(), vision=WAITS, turn=V, exclusive_model=None, feedback={"in_flight": 1}),
        ONE_AT_A_TIME,
    ),
    "one that is in the way is not yet asked": (
        well(
            vision=WAITS,
            turn=V,
            exclusive_model=V,
            turn_since_seconds=NOW,
            listed=(loaded_model(F),),
            feedback={"in_flight": 1, "unload_began_at_seconds": NOW - 99},
        ),
        ONE_AT_A_TIME,
    ),
}


@pytest.mark.parametrize(("state", "policy"), IDLE.values(), ids=IDLE.keys())
def test_nothing_is_asked_of_ollama(state: AdmissionState, policy: AdmissionPolicy) -> None:
    """An instant before its time, or in the state beside it, nothing is loaded, unloaded or locked."""
    assert decide(state, policy, NOW).acts == ()


MEMORY_IS_BACK = {
    "as the processes tell": well(listed=(), vision=WAITS, gone_at_seconds=NOW - INSTANT, used=256 * MIB),
    "as time tells": well(listed=(), vision=WAITS, gone_at_seconds=NOW - 4, used=10**9),
}


@pytest.mark.parametrize("state", MEMORY_IS_BACK.values(), ids=MEMORY_IS_BACK.keys())
def test_a_load_waits_until_memory_is_back(state: AdmissionState) -> None:
    """And no longer: a list without the model is not enough."""
    assert decide(state, replace(POLICY, limit_bytes=2**40, low_water_bytes=2**39), NOW).acts == (Preload(V),)


@dataclass(frozen=True)
class Canary:
    """`state` is held for as long as it may, and a relief was tried or is impossible."""

    state: AdmissionState
    slots: int
    calls: tuple[int, int]
    is_sent: bool = True
    policy: AdmissionPolicy = POLICY


RELIEVED = Hold(NOW - 60, has_evicted=True)
CANARIES = {
    "over the limit after a relief": Canary(well(used=1001, slots=0, held=RELIEVED), 1, (FREE, FREE)),
    "it stays until a job was leased": Canary(
        well(used=1001, slots=1, slots_changed_at_seconds=NOW, held=RELIEVED), 1, (FREE, FREE)
    ),
    "nothing known, and nothing to relieve": Canary(
        well(slots=0, listed=(), listed_at_seconds=NOW - 99, unlisted=SILENT, held=HELD), 1, (1, 1)
    ),
    "a model that cannot be loaded": Canary(
        well(held=HELD, listed=(loaded_model(F),), vision={"load_failures": 1, "load_failed_at_seconds": NOW}), FREE, (1, FREE)
    ),
    "but not while it is loaded": Canary(
        well(held=HELD, listed=(loaded_model(F),), vision={"load_failures": 1, "is_loading": True}),
        FREE,
        (0, FREE),
        is_sent=False,
    ),
    "a model that was not tried": Canary(well(held=HELD, listed=(loaded_model(F),)), FREE, (0, FREE), is_sent=False),
    "a breaker has probes of its own": Canary(
        well(held=HELD, vision={"breaker": tripped(), "load_failures": 1}), FREE, (0, FREE), is_sent=False
    ),
    "held for less": Canary(
        well(used=1001, slots=0, held=Hold(NOW - 60 + INSTANT, has_evicted=True)), 0, (FREE, FREE), is_sent=False
    ),
    "a relief comes first": Canary(well(used=1001, slots=0, held=HELD), 0, (FREE, FREE), is_sent=False),
    "a relief goes on": Canary(
        well(used=1001, slots=0, held=RELIEVED, unloading=(V,), vision={"unload_began_at_seconds": NOW}),
        0,
        (0, FREE),
        is_sent=False,
    ),
    "slots were closed just now": Canary(
        well(used=1001, slots=0, slots_changed_at_seconds=NOW - 5 + INSTANT, held=RELIEVED), 0, (FREE, FREE), is_sent=False
    ),
    "slots were closed a period ago": Canary(
        well(used=1001, slots=0, slots_changed_at_seconds=NOW - 5, held=RELIEVED), 1, (FREE, FREE)
    ),
}


@pytest.mark.parametrize("canary", CANARIES.values(), ids=CANARIES.keys())
def test_one_job_after_a_long_hold(canary: Canary) -> None:
    """When nothing else has helped one slot, and one call, is let through; and it is told that this is why."""
    slots, calls, reasons, _ = asked(canary.state, canary.policy)
    assert (slots, calls, CANARY in reasons) == (canary.slots, canary.calls, canary.is_sent)
    assert decide(canary.state, canary.policy, NOW).reason is (CANARY if canary.is_sent else reasons[0])


ELDER = {"jobs": 1, "oldest_seconds": 50.0}
TURNS: dict[str, tuple[AdmissionState, AdmissionPolicy, str | None]] = {
    "none where both may be asked": (well(turn=V, vision=WAITS), UNLIMITED, None),
    "none where nothing waits": (well(), ONE_AT_A_TIME, None),
    "the one that has waited longest": (
        well(vision={"jobs": 9, "oldest_seconds": 1.0}, feedback={"jobs": 1, "oldest_seconds": 2.0}),
        ONE_AT_A_TIME,
        F,
    ),
    "it stays where nothing waits": (well(turn=V), ONE_AT_A_TIME, V),
    "it stays while work for it is done": (
        well(turn=V, turn_since_seconds=NOW, vision={"in_flight": 1}, feedback=ELDER),
        ONE_AT_A_TIME,
        V,
    ),
    "it goes when nothing is left to do": (well(turn=V, turn_since_seconds=NOW, feedback={"jobs": 1}), ONE_AT_A_TIME, F),
    "it goes when it is over": (well(turn=V, turn_since_seconds=NOW - 50, vision=WAITS, feedback=ELDER), ONE_AT_A_TIME, F),
    "it is not over": (
        well(turn=V, turn_since_seconds=NOW - 50 + INSTANT, vision=WAITS, feedback=ELDER),
        ONE_AT_A_TIME,
        V,
    ),
    "the other has not waited for a turn": (
        well(turn=V, turn_since_seconds=0.0, vision=WAITS, feedback={"jobs": 9, "oldest_seconds": 50 - INSTANT}),
        ONE_AT_A_TIME,
        V,
    ),
    "long loads make long turns": (
        well(turn=V, turn_since_seconds=NOW - 50, vision={"jobs": 1, "load_seconds": 5.1}, feedback=ELDER),
        ONE_AT_A_TIME,
        V,
    ),
    "turns without loads are short": (
        well(
            turn=V,
            turn_since_seconds=NOW - 9,
            vision={"jobs": 1, "load_seconds": 5.1},
            feedback={"jobs": 1, "oldest_seconds": 9.0},
        ),
        BY_TURNS,
        F,
    ),
    "it goes when enough is learnt": (
        well(
            turn=V,
            turn_since_seconds=NOW,
            vision={"jobs": 1, "speed": Throughput(Ewma(9.0, 3), Ewma(9.0, 3))},
            feedback={"jobs": 1, "speed": SELDOM_ALONE},
        ),
        UNLIMITED,
        F,
    ),
    "it stays until enough is learnt": (
        well(
            turn=F,
            turn_since_seconds=NOW,
            vision={**ELDER, "speed": Throughput(Ewma(9.0, 3), Ewma(9.0, 3))},
            feedback={"jobs": 1, "speed": SELDOM_ALONE},
        ),
        UNLIMITED,
        F,
    ),
    "no load is worth a lesson": (
        well(
            turn=V,
            turn_since_seconds=NOW,
            vision={"jobs": 1, "speed": Throughput(Ewma(9.0, 3), Ewma(9.0, 3))},
            feedback={"jobs": 1, "speed": SELDOM_ALONE},
        ),
        ONE_AT_A_TIME,
        V,
    ),
    "what is in flight does not wait": (
        well(turn=V, turn_since_seconds=0.0, vision=WAITS, feedback={"in_flight": 1, "oldest_seconds": 99.0}),
        ONE_AT_A_TIME,
        V,
    ),
}


@pytest.mark.parametrize(("state", "policy", "turn"), TURNS.values(), ids=TURNS.keys())
def test_whose_turn_it_is(state: AdmissionState, policy: AdmissionPolicy, turn: str | None) -> None:
    """By backlog and age, so that neither starves and loads take a small part of the time."""
    assert active_model(state, policy, NOW) == turn
    assert decide(state, policy, NOW).turn == turn


def test_one_model_for_both_stages_has_one_gate() -> None:
    """Whatever closes it closes both, and there is nobody to take turns with."""
    policy = replace(ONE_AT_A_TIME, feedback_model=V, take_turns=TakeTurns.ALWAYS)
    state = AdmissionState((ModelStatus(V, 8, breaker=tripped()),), 0.0, listed=(loaded_model(V),), listed_at_seconds=NOW)
    assert policy.models == (V,)
    assert dict(decide(state, policy, NOW).calls) == {V: 0}
    assert decide(state, policy, NOW).reasons == (HoldReason.BREAKER,)
    assert decide(state, policy, NOW).turn is None
    assert replace(policy, feedback_timeout_seconds=40).wedge_seconds(V) == 40


def test_a_stage_without_a_model_has_no_gate() -> None:
    """A stub asks nobody."""
    policy = replace(POLICY, vision_model=None)
    state = AdmissionState.of(policy, NOW)
    assert policy.models == (F,)
    assert decide(state, policy, NOW).calls_of(None) == FREE
    assert Decision(calls={F: 1}).calls_of(V) == FREE
    assert Decision(calls={F: 1}).calls_of(F) == 1
    assert policy.wedge_seconds("foreign") == math.inf
    assert decide(state, policy, NOW).calls_of(F) == 0


def test_the_tightest_limit_counts_and_all_reasons_are_told() -> None:
    """A model that is wedged, fails and is absent is closed once, for three reasons in the order of the rules."""
    state = well(
        used=1001,
        listed=(loaded_model(F),),
        vision={"in_flight": 1, "progress_at_seconds": 0.0, "breaker": tripped(NOW - 5)},
        feedback={"breaker": tripped(NOW, answers=3)},
    )
    expected = (MEMORY, HoldReason.WEDGED, HoldReason.PROBING, HoldReason.RAMPING, LOADING)
    assert asked(state) == (0, (0, 4), expected, ())
    assert decide(state, POLICY, NOW).reason is MEMORY


def test_each_reason_names_its_own_models() -> None:
    """A model that is only not loaded does not appear among those that fail."""
    state = well(listed=(loaded_model(F),), vision={"load_failures": 1}, feedback={"breaker": tripped(NOW)})
    assert decide(state, UNLIMITED, NOW).closed == {HoldReason.BREAKER: (F,), LOADING: (V,)}


def test_a_silent_monitor_gives_no_leave_where_there_is_a_limit() -> None:
    """A decision is good for a while, or for ever where memory is nobody's concern."""
    assert decide(well(), POLICY, NOW).until_seconds == NOW + 5 + 10
    assert decide(well(), UNLIMITED, NOW).until_seconds == math.inf
    assert decide(well(), UNLIMITED, NOW).reason is HoldReason.NONE


def test_a_decision_as_it_is_told() -> None:
    """The fact has what the rules want to know of it."""
    decision = Decision(2, {V: 1, F: 0}, V, (MEMORY,), (), 5.0)
    assert decision.told(NOW) == DecisionPublished(2, ((F, 0), (V, 1)), V, NOW)
