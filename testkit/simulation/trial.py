"""One simulated run: a plan from its start to its end or to the first violation."""

from collections import Counter
from dataclasses import dataclass

from supervisor import loop
from supervisor.core.actions import Action
from supervisor.core.apply import ImpossibleFact
from supervisor.core.facts import Fact, FactOfASlot
from supervisor.core.fleet import SlotState
from testkit.simulation.plan import Fault, Plan
from testkit.simulation.violation import Violation
from testkit.simulation.world import AllDone, SupervisorKilled, World

RESTART_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a run. `trace` has the facts, actions and faults with their times, without deadlines and measurements."""

    plan: Plan
    simulated_seconds: float
    violation: Violation | None
    trace: tuple[tuple[float, Fact | Action | Fault | str], ...]
    visits: Counter[tuple[SlotState, type[FactOfASlot]]]


def run(plan: Plan) -> Outcome:
    """Run a plan. An impossible fact is a violation too."""
    world, violation = World(plan), None
    try:
        _live(world)
    except Violation as found:
        violation = found
    except ImpossibleFact as found:
        violation = Violation("10: apply refuses only what cannot have happened", str(found))
    return Outcome(plan, world.clock.now, violation, tuple(world.inspector.trace), world.inspector.visits)


def _live(world: World) -> None:
    """Run one supervisor after another, as a service manager does."""
    while True:
        try:
            loop.run(world, world.fleet, world.inspector)
        except SupervisorKilled:
            world.inspector.note("the supervisor is killed")
        except AllDone:
            return
        world.end_life()
        world.pass_time(RESTART_SECONDS)
        world.begin_life()
