"""Runs plans, and makes one that fails as short as possible."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tests.simulation.admission.plan import Plan, draw
from tests.simulation.admission.world import World
from tests.simulation.violation import Violation
from worker.contract import Reason

MOST_TRIALS = 400  # of a plan that fails, while it is made shorter
MOST_SHOWN = 3  # violations in full; all are counted


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `trace`: steps and what happened in them."""

    plan: Plan
    steps: int
    violation: Violation | None
    trace: tuple[tuple[int, str], ...]
    reasons: frozenset[Reason]  # that held something back


def run(plan: Plan) -> Outcome:
    """One plan to the end of its jobs, or to the first violation."""
    world, violation = World(plan), None
    try:
        while world.now <= plan.ends_at or not world.is_over:
            world.step()
    except Violation as found:
        violation = found
    return Outcome(plan, world.now, violation, tuple(world.inspector.trace), frozenset(world.inspector.reasons))


def run_all(seeds: range, steps: int) -> tuple[list[Outcome], int, frozenset[Reason]]:
    """The outcomes that violate something, all steps, and the reasons that were met."""
    failed, all_steps, reasons = [], 0, frozenset[Reason]()
    for seed in seeds:
        outcome = run(draw(seed, steps))
        all_steps, reasons = all_steps + outcome.steps, reasons | outcome.reasons
        if outcome.violation is not None:
            failed.append(outcome)
    return failed, all_steps, reasons


def tell(failed: list[Outcome]) -> None:
    """Each violation with its seed, and the shortest way to it that can be found."""
    for outcome in failed[:MOST_SHOWN]:
        short = shortest(outcome)
        print(f"seed {short.plan.seed}, {short.plan.workers} workers: {short.violation}")
        print(f"  {short.plan.policy}")
        for at, what in short.trace:
            print(f"  {at:5}  {what}")


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


def _shorter(plan: Plan) -> Iterator[Plan]:
    """Large pieces first: halves, quarters … single ones."""
    for start, end in _pieces(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:start] + plan.faults[end:])
    for start, end in _pieces(len(plan.jobs)):
        yield replace(plan, jobs=plan.jobs[:start] + plan.jobs[end:])


def _pieces(count: int) -> Iterator[tuple[int, int]]:
    size = (count + 1) // 2
    while count:
        yield from ((start, start + size) for start in range(0, count, size))
        if size == 1:
            return
        size = (size + 1) // 2


def _is_same(tried: Outcome, before: Outcome) -> bool:
    found, wanted = tried.violation, before.violation
    return found is not None and wanted is not None and found.invariant == wanted.invariant
