"""Runs plans and reports those that violate an invariant."""

from dataclasses import dataclass

from supervisor.admission.decision import HoldReason
from testkit.simulation.admission.plan import Plan, draw
from testkit.simulation.admission.world import World
from testkit.simulation.shortest import shortest
from testkit.simulation.violation import Violation

MOST_SHOWN = 3  # violations that are printed in full


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a run. `trace`: steps with their events."""

    plan: Plan
    steps: int
    violation: Violation | None
    trace: tuple[tuple[int, str], ...]
    reasons: frozenset[HoldReason]  # that occurred


def run(plan: Plan) -> Outcome:
    """Run one plan to the end of its jobs, or to the first violation."""
    world, violation = World(plan), None
    try:
        while world.now <= plan.ends_at or not world.is_over:
            world.step()
    except Violation as found:
        violation = found
    return Outcome(plan, world.now, violation, tuple(world.inspector.trace), frozenset(world.inspector.reasons))


def run_all(seeds: range, steps: int) -> tuple[list[Outcome], int, frozenset[HoldReason]]:
    """Return the failed outcomes, the number of all steps, and the reasons that occurred."""
    failed, all_steps, reasons = [], 0, frozenset[HoldReason]()
    for seed in seeds:
        outcome = run(draw(seed, steps))
        all_steps, reasons = all_steps + outcome.steps, reasons | outcome.reasons
        if outcome.violation is not None:
            failed.append(outcome)
    return failed, all_steps, reasons


def report(failed: list[Outcome]) -> None:
    """Print the first violations, each with its seed and a shortened trace."""
    for outcome in failed[:MOST_SHOWN]:
        short = shortest(outcome, run)
        print(f"seed {short.plan.seed}, {short.plan.workers} workers: {short.violation}")
        print(f"  {short.plan.policy}")
        for at, what in short.trace:
            print(f"  {at:5}  {what}")
