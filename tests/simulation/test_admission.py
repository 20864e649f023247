"""Admission holds its invariants over many seeds, and the simulation finds each rule that is broken on purpose."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from supervisor.admission import apply, breaker, loads, policy, rules, stall, turns
from supervisor.admission.breaker import Breaker
from supervisor.admission.policy import AdmissionPolicy
from supervisor.admission.rules import Limit
from supervisor.admission.state import AdmissionState
from testkit.simulation.admission.plan import draw
from testkit.simulation.admission.trial import Outcome, run, run_all, tell
from testkit.simulation.shortest import shortest
from worker.ipc.contract import HoldReason

SEEDS, STEPS = 1000, 24
MOST_SEEDS = 500  # within which a broken rule must be found

Breakage = Callable[[pytest.MonkeyPatch], None]


def test_a_thousand_seeds_break_no_invariant() -> None:
    """With every kind of fault all invariants hold at each step, every job ends, and every reason to hold work was met."""
    failed, _, reasons = run_all(range(SEEDS), STEPS)
    tell(failed)
    assert [str(outcome.violation) for outcome in failed] == []
    assert set(HoldReason) - reasons == {HoldReason.NONE}


def test_a_seed_is_repeatable() -> None:
    """The same seed gives the same run to the last step, so that a printed seed can be looked into."""
    assert run(draw(7, STEPS)).trace == run(draw(7, STEPS)).trace


def without(name: str, rule: object) -> Breakage:
    def broken(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(rules, name, tuple(each for each in getattr(rules, name) if each is not rule))

    return broken


def opens_without_a_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(policy.AdmissionPolicy, "reopen_seconds", property(lambda _: 0.0))


def has_no_low_water(patch: pytest.MonkeyPatch) -> None:
    before = rules.hold_over_the_limit

    def rule(state: AdmissionState, policy: AdmissionPolicy, now: float) -> Iterator[Limit]:
        return before(state, replace(policy, limit_bytes=policy.low_water_bytes * 2), now)

    patch.setattr(rules, "LIMITS", tuple(rule if each is before else each for each in rules.LIMITS))


def believes_the_list(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(AdmissionState, "used_bytes", property(lambda state: state.reported_bytes))


def sends_no_canary(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "is_canary_due", lambda *_: False)


def holds_as_long_as_it_likes(patch: pytest.MonkeyPatch) -> None:
    before = stall.is_held_too_long
    for module in (stall, rules):
        patch.setattr(module, "is_held_too_long", lambda state, policy, now: before(state, policy, now - 60.0))


def overlooks_short_jobs(patch: pytest.MonkeyPatch) -> None:
    before = apply._call_ended
    patch.setattr(apply, "_call_ended", lambda state, fact: replace(before(state, fact), held=state.held))


def never_switches(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(turns, "turn_seconds", lambda *_: 1e6)


def waits_for_no_memory(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loads, "is_memory_back", lambda *_: True)


def loads_into_a_full_house(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(loads, "_is_room", lambda *_: True)


def never_trips(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(breaker, "TRIP_FAILURES", 1000)


def probes_without_a_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Breaker, "is_open", lambda *_: False)


TELLS = frozenset({rules.hold_during_a_relief})  # why it goes on; what leaves is not asked in any case

BREAKAGES: dict[str, Breakage] = {
    **{f"without {rule.__name__}": without("LIMITS", rule) for rule in rules.LIMITS if rule not in TELLS},
    **{f"without {rule.__name__}": without("ACTS", rule) for rule in rules.ACTS},
    **{
        broken.__name__.replace("_", " "): broken
        for broken in (
            opens_without_a_pause,
            has_no_low_water,
            believes_the_list,
            sends_no_canary,
            holds_as_long_as_it_likes,
            overlooks_short_jobs,
            never_switches,
            waits_for_no_memory,
            loads_into_a_full_house,
            never_trips,
            probes_without_a_pause,
        )
    },
}


@pytest.mark.parametrize("broken", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_a_broken_rule_is_found(broken: Breakage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rule taken out or bent, some seed among a few hundred breaks an invariant: the simulation can fail."""
    broken(monkeypatch)
    assert first_violation() is not None


def first_violation() -> Outcome | None:
    outcomes = (run(draw(seed, STEPS)) for seed in range(MOST_SEEDS))
    return next((outcome for outcome in outcomes if outcome.violation is not None), None)


def test_what_is_found_is_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults and jobs that have nothing to do with it are left out, and what is left still breaks the same invariant."""
    without("LIMITS", rules.hold_over_the_limit)(monkeypatch)
    found = first_violation()
    assert found is not None
    assert found.violation is not None
    short = shortest(found, run)
    assert short.violation is not None
    assert short.violation.invariant == found.violation.invariant
    assert len(short.plan.faults) + len(short.plan.jobs) <= 3
