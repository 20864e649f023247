"""Runs plans, and makes one that fails as short as possible."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from supervisor import loop
from supervisor.core.action import Action
from supervisor.core.fact import Fact, FactOfASlot
from supervisor.core.fleet import Stage
from supervisor.core.record import ImpossibleFact
from tests.simulation.plan import Fault, Plan
from tests.simulation.violation import Violation
from tests.simulation.world import AllDone, SupervisorKilled, World

RESTART_SECONDS = 3.0
MOST_TRIALS = 400  # of a plan that fails, while it is made shorter


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `trace`: times and what passed through the loop, promises and measurements left out."""

    plan: Plan
    simulated_seconds: float
    violation: Violation | None
    trace: tuple[tuple[float, Fact | Action | Fault | str], ...]
    visits: Counter[tuple[Stage, type[FactOfASlot]]]


def run(plan: Plan) -> Outcome:
    """One plan to its end or to the first violation. An exception of the core is one as well."""
    world, violation = World(plan), None
    try:
        _live(world)
    except Violation as found:
        violation = found
    except ImpossibleFact as found:
        violation = Violation("10: record refuses only what cannot have happened", str(found))
    return Outcome(plan, world.clock.now, violation, tuple(world.inspector.trace), world.inspector.visits)


def shortest(outcome: Outcome) -> Outcome:
    """The same invariant broken with as few faults and jobs as can be found by leaving them out."""
    trials = iter(range(MOST_TRIALS))
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for plan in _shorter(outcome.plan):
            if next(trials, None) is None:
                return outcome
            tried = run(plan)
            if _is_same(tried, outcome):
                outcome, is_shorter = tried, True
                break
    return outcome


def _live(world: World) -> None:
    """One supervisor after the other, as a service manager would start them."""
    while True:
        try:
            loop.run(world, world.fleet, world.inspector)
        except SupervisorKilled:
            world.inspector.told("the supervisor is killed")
        except AllDone:
            return
        world.end_life()
        world.pass_time(RESTART_SECONDS)
        world.begin_life()


def _shorter(plan: Plan) -> Iterator[Plan]:
    """Large pieces first: halves, quarters … single ones."""
    for size in _sizes(len(plan.faults)):
        for start in range(0, len(plan.faults), size):
            yield replace(plan, faults=plan.faults[:start] + plan.faults[start + size :])
    for size in _sizes(len(plan.jobs)):
        for start in range(0, len(plan.jobs), size):
            yield replace(plan, jobs=plan.jobs[:start] + plan.jobs[start + size :])


def _sizes(count: int) -> Iterator[int]:
    while count:
        yield (count + 1) // 2
        count = 0 if count == 1 else (count + 1) // 2


def _is_same(tried: Outcome, before: Outcome) -> bool:
    found, wanted = tried.violation, before.violation
    return found is not None and wanted is not None and found.invariant == wanted.invariant
