"""Admission holds its invariants over many seeds, and the simulation detects behaviour that is broken on purpose."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from supervisor.admission import apply, breaker, loads, policy, rules, stall, turns
from supervisor.admission.breaker import Breaker
from supervisor.admission.decision import HoldReason
from supervisor.admission.model_state import ModelEvent, ModelState, next_state
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import Limit, Rule
from supervisor.admission.state import AdmissionState
from supervisor.admission.store import Store
from testkit.simulation.admission.plan import draw
from testkit.simulation.admission.trial import Outcome, report, run, run_all
from testkit.simulation.shortest import shortest

SEEDS = [300, pytest.param(1000, marks=pytest.mark.second_tier)]
STEPS = 24
MOST_SEEDS = 500  # within which broken behaviour must be detected

Breakage = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("seeds", SEEDS)
def test_no_seed_breaks_an_invariant(seeds: int) -> None:
    """All kinds of faults: all invariants hold at each step, every job ends, and every HoldReason occurs."""
    failed, _, reasons = run_all(range(seeds), STEPS)
    report(failed)
    assert [str(outcome.violation) for outcome in failed] == []
    assert set(HoldReason) - reasons == {HoldReason.NONE}


def test_a_seed_is_repeatable() -> None:
    """The same seed gives the same run, so that a reported seed can be examined."""
    assert run(draw(7, STEPS)).trace == run(draw(7, STEPS)).trace


def ignores_the_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "LIMITS", tuple(rule for rule in rules.LIMITS if rule is not rules.hold_over_the_limit))


def opens_without_a_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy.AdmissionPolicy, "reopen_seconds", property(lambda _: 0.0))


def has_no_low_water(patch: pytest.MonkeyPatch) -> None:
    before = rules.hold_over_the_limit

    def rule(state: AdmissionState, policy: AdmissionPolicy, now: float) -> Iterator[Limit]:
        return before(state, replace(policy, limit_bytes=policy.low_water_bytes * 2), now)

    patch.setattr(rules, "LIMITS", tuple(rule if each is before else each for each in rules.LIMITS))


def ignores_the_processes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AdmissionState, "used_bytes", property(lambda state: state.reported_bytes))


def sends_no_canary(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "is_canary_due", lambda *_: False)


def stalls_for_a_minute_more(patch: pytest.MonkeyPatch) -> None:
    before = stall.is_stalled_too_long
    for module in (stall, rules):
        patch.setattr(module, "is_stalled_too_long", lambda state, policy, now: before(state, policy, now - 60.0))


def ignores_short_jobs_in_a_stall(patch: pytest.MonkeyPatch) -> None:
    before = apply._call_ended
    patch.setattr(apply, "_call_ended", lambda state, fact: replace(before(state, fact), stall=state.stall))


def never_ends_a_turn(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turns, "turn_seconds", lambda *_: 1e6)


def loads_before_memory_is_released(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loads, "is_memory_back", lambda *_: True)


def loads_without_room(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loads, "_is_room", lambda *_: True)


def never_trips(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker, "TRIP_FAILURES", 1000)


def calls_without_a_probe(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Breaker, "is_open", property(lambda _: False))


def leaves_out(rule: Rule) -> Breakage:
    def leave_out(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(rules, "LIMITS", tuple(each for each in rules.LIMITS if each is not rule))

    leave_out.__name__ = f"leaves_out_{rule.__name__}"
    return leave_out


def never_probes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "ACTS", tuple(rule for rule in rules.ACTS if rule is not rules.probe_a_failing_model))


def never_probes_the_store(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "ACTS", tuple(rule for rule in rules.ACTS if rule is not rules.probe_the_store))


def probes_ever_more_seldom(patch: pytest.MonkeyPatch) -> None:
    """As a breaker does whose probes are jobs."""
    before = Breaker.is_probe_due

    def is_due(breaker: Breaker, now: float, probe_seconds: float) -> bool:
        outage = max(0.0, breaker.probed_at_seconds - breaker.tripped_at_seconds)
        return before(breaker, now - outage, probe_seconds)

    patch.setattr(Breaker, "is_probe_due", is_due)


def lets_each_job_close_the_store_again(patch: pytest.MonkeyPatch) -> None:
    before = Store.file_failed
    patch.setattr(Store, "file_failed", lambda store, *failure: before(replace(store, failed=frozenset()), *failure))


def never_notices_an_unlisted_model(patch: pytest.MonkeyPatch) -> None:
    def after(state: ModelState, event: ModelEvent) -> ModelState:
        reached = next_state(state, event)
        return state if reached is ModelState.UNLISTED else reached

    patch.setattr(apply, "next_state", after)


BREAKAGES: tuple[Breakage, ...] = (
    ignores_the_limit,
    opens_without_a_pause,
    has_no_low_water,
    ignores_the_processes,
    sends_no_canary,
    stalls_for_a_minute_more,
    ignores_short_jobs_in_a_stall,
    never_ends_a_turn,
    loads_before_memory_is_released,
    loads_without_room,
    never_trips,
    calls_without_a_probe,
    leaves_out(rules.close_all_while_the_server_is_away),
    leaves_out(rules.hold_pictures_while_the_store_is_away),
    leaves_out(rules.ask_alone_after_a_death),
    never_probes,
    never_probes_the_store,
    probes_ever_more_seldom,
    lets_each_job_close_the_store_again,
    never_notices_an_unlisted_model,
)


@pytest.mark.parametrize("broken", BREAKAGES, ids=lambda broken: broken.__name__.replace("_", " "))
def test_broken_behaviour_is_detected(broken: Breakage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seed among a few hundred violates an invariant, so the simulation is able to fail."""
    broken(monkeypatch)
    assert first_violation() is not None


def first_violation() -> Outcome | None:
    outcomes = (run(draw(seed, STEPS)) for seed in range(MOST_SEEDS))
    return next((outcome for outcome in outcomes if outcome.violation is not None), None)


def test_a_violation_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unrelated faults and jobs are left out, and the rest still violates the same invariant."""
    ignores_the_limit(monkeypatch)
    found = first_violation()
    assert found is not None
    assert found.violation is not None
    short = shortest(found, run)
    assert short.violation is not None
    assert short.violation.invariant == found.violation.invariant
    assert len(short.plan.faults) + len(short.plan.jobs) <= 3
