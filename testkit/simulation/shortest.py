"""The shortest plan that still breaks the same invariant, for any kind of plan."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from testkit.simulation.violation import Violation

MOST_TRIALS = 400


class Shortened(Protocol):
    """The end of a run. Its plan is a dataclass with `faults` and `jobs`."""

    @property
    def plan(self) -> Any: ...

    @property
    def violation(self) -> Violation | None: ...


Outcome = TypeVar("Outcome", bound=Shortened)


def shortest(outcome: Outcome, run: Callable[[Any], Outcome]) -> Outcome:
    """Leave out faults and jobs as long as the plan breaks the same invariant."""
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


def _shorter(plan: Any) -> Iterator[Any]:
    for faults in _without_a_piece(plan.faults):
        yield replace(plan, faults=faults)
    for jobs in _without_a_piece(plan.jobs):
        yield replace(plan, jobs=jobs)


def _without_a_piece(whole: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the tuple without one piece, large pieces first: halves, quarters … single elements."""
    size = (len(whole) + 1) // 2
    while whole:
        for start in range(0, len(whole), size):
            yield whole[:start] + whole[start + size :]
        if size == 1:
            return
        size = (size + 1) // 2


def _is_same(tried: Shortened, before: Shortened) -> bool:
    found, wanted = tried.violation, before.violation
    return found is not None and wanted is not None and found.invariant == wanted.invariant
