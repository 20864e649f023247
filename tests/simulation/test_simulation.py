"""The simulation: every invariant holds over many seeds, and each rule that is broken on purpose is found."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from supervisor.core import apply, rules
from supervisor.core.actions import Action, Spawn
from supervisor.core.facts import Exited
from supervisor.core.fleet import ActionReason, ExitCause, Fleet, Slot, SlotState
from supervisor.core.policy import Policy
from testkit.simulation.__main__ import run_all, show
from testkit.simulation.plan import draw
from testkit.simulation.shortest import shortest
from testkit.simulation.table import unvisited
from testkit.simulation.trial import Outcome, run

SEEDS = [300, pytest.param(1000, marks=pytest.mark.second_tier)]
MINUTES = 12.0
MOST_SEEDS = 600  # within which a broken rule must be found

Breakage = Callable[[pytest.MonkeyPatch], None]


@pytest.mark.parametrize("seeds", SEEDS)
def test_no_seed_breaks_an_invariant(seeds: int) -> None:
    """Under every kind of fault all invariants hold at each step, every job ends, and every possible state and fact was met."""
    failed, seconds, visits = run_all(range(seeds), MINUTES)
    show(failed)
    assert [str(outcome.violation) for outcome in failed] == []
    assert seconds >= seeds * MINUTES * 60
    assert unvisited(visits) == []


def test_a_seed_is_repeatable() -> None:
    """The same seed gives the same run to the last fact, so that a printed seed can be examined."""
    assert run(draw(7, MINUTES)).trace == run(draw(7, MINUTES)).trace


def without(rule: rules.Rule) -> Breakage:
    def broken(patch: pytest.MonkeyPatch) -> None:
        for names in ("RULES", "RECYCLES"):
            patch.setattr(rules, names, tuple(each for each in getattr(rules, names) if each is not rule))

    return broken


def starts_without_a_wait(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "vacant_until", lambda _slot, _policy: float("-inf"))


def starts_without_the_burst_bound(patch: pytest.MonkeyPatch) -> None:
    before = rules.vacant_until
    patch.setattr(rules, "vacant_until", lambda slot, policy: before(slot, replace(policy, burst_starts=100)))


def starts_in_a_stop(patch: pytest.MonkeyPatch) -> None:
    def rule(fleet: Fleet, _policy: Policy, _now: float) -> Iterator[Action]:
        yield from (Spawn(slot.number, ActionReason.REPLACEMENT) for slot in fleet.workers if slot.state is SlotState.VACANT)

    patch.setattr(rules, "RULES", (*rules.RULES, rule))


def recycles_all_at_once(patch: pytest.MonkeyPatch) -> None:
    others = tuple(rule for rule in rules.RULES if rule is not rules.recycle_one_worker)
    patch.setattr(rules, "RULES", (*others, *rules.RECYCLES))


def counts_no_crash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply, "cause_of", lambda *_, **__: ExitCause.ASKED)


def counts_every_end_as_a_crash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(apply, "cause_of", lambda *_, **__: ExitCause.SIGNAL)


def forgets_leases(patch: pytest.MonkeyPatch) -> None:
    before = apply._exited

    def exited(fleet: Fleet, former: Slot, slot: Slot, fact: Exited) -> Fleet:
        return before(fleet, former, slot, replace(fact, lease_key=None))

    patch.setattr(apply, "_exited", exited)


def forgets_next_leases(patch: pytest.MonkeyPatch) -> None:
    before = apply._exited

    def exited(fleet: Fleet, former: Slot, slot: Slot, fact: Exited) -> Fleet:
        return before(fleet, former, slot, replace(fact, next_lease_key=None))

    patch.setattr(apply, "_exited", exited)


def gives_up_too_early(patch: pytest.MonkeyPatch) -> None:
    before = rules.give_up_at
    patch.setattr(rules, "give_up_at", lambda fleet, policy: before(fleet, policy) - 30.0)


def kills_without_grace(patch: pytest.MonkeyPatch) -> None:
    before = rules.kill_after_the_grace

    def rule(fleet: Fleet, policy: Policy, now: float) -> Iterator[Action]:
        return before(fleet, policy, now + policy.terminate_grace_seconds)

    patch.setattr(rules, "RULES", tuple(rule if each is before else each for each in rules.RULES))


BREAKAGES: dict[str, Breakage] = {
    **{f"without {rule.__name__}": without(rule) for rule in (*rules.RULES, *rules.RECYCLES)},
    "starts without a wait": starts_without_a_wait,
    "starts without the burst's bound": starts_without_the_burst_bound,
    "starts in a stop": starts_in_a_stop,
    "recycles all at once": recycles_all_at_once,
    "counts no crash": counts_no_crash,
    "counts every end as a crash": counts_every_end_as_a_crash,
    "forgets leases": forgets_leases,
    "gives up too early": gives_up_too_early,
    "kills without grace": kills_without_grace,
}


@pytest.mark.parametrize("broken", BREAKAGES.values(), ids=BREAKAGES.keys())
def test_a_broken_rule_is_found(broken: Breakage, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rule removed or changed, a seed among a few hundred breaks an invariant, so the simulation can fail."""
    broken(monkeypatch)
    assert first_violation() is not None


@pytest.mark.second_tier
def test_a_rarely_broken_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten next lease matters in one seed of 180: the worker must die between two jobs."""
    forgets_next_leases(monkeypatch)
    assert first_violation() is not None


def first_violation() -> Outcome | None:
    outcomes = (run(draw(seed, MINUTES)) for seed in range(MOST_SEEDS))
    return next((outcome for outcome in outcomes if outcome.violation is not None), None)


def test_a_violation_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unrelated faults and jobs are left out of the plan, and the rest still breaks the same invariant."""
    forgets_leases(monkeypatch)
    found = first_violation()
    assert found is not None
    short = shortest(found, run)
    assert short.violation is not None
    assert found.violation is not None
    assert short.violation.invariant == found.violation.invariant
    assert len(short.plan.faults) + len(short.plan.jobs) <= 3
