"""Runs plans, and tells of those that fail."""

from dataclasses import dataclass

from testkit.simulation.admission.plan import Plan, draw
from testkit.simulation.admission.world import World
from testkit.simulation.shortest import shortest
from testkit.simulation.violation import Violation
from worker.ipc.contract import HoldReason

MOST_SHOWN = 3  # violations in full; all are counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `trace`: steps and what happened in them."""

    plan: Plan
    steps: int
    violation: Violation | None
    trace: tuple[tuple[int, str], ...]
    reasons: frozenset[HoldReason]  # that held something back


def run(plan: Plan) -> Outcome:
    """One plan to the end of its jobs, or to the first violation."""
    world, violation = World(plan), None
    try:
        while world.now <= plan.ends_at or not world.is_over:
            world.step()
    except Violation as found:
        violation = found
    return Outcome(plan, world.now, violation, tuple(world.inspector.trace), frozenset(world.inspector.reasons))


def run_all(seeds: range, steps: int) -> tuple[list[Outcome], int, frozenset[HoldReason]]:
    """The outcomes that violate something, all steps, and the reasons that were met."""
    failed, all_steps, reasons = [], 0, frozenset[HoldReason]()
    for seed in seeds:
        outcome = run(draw(seed, steps))
        all_steps, reasons = all_steps + outcome.steps, reasons | outcome.reasons
        if outcome.violation is not None:
            failed.append(outcome)
    return failed, all_steps, reasons


def report(failed: list[Outcome]) -> None:
    """Each violation with its seed, and the shortest way to it that can be found."""
    for outcome in failed[:MOST_SHOWN]:
        short = shortest(outcome, run)
        print(f"seed {short.plan.seed}, {short.plan.workers} workers: {short.violation}")
        print(f"  {short.plan.policy}")
        for at, what in short.trace:
            print(f"  {at:5}  {what}")
