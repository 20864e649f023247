"""One line for each case, and the figures of a run."""

from collections.abc import Iterator, Sequence
from typing import Any

from testkit.outages.plan import Plan
from testkit.outages.verdict import Figures, totals


def line(figures: Figures) -> str:
    """The case and its figures in one line."""
    if figures.problem:
        return f"{figures.case.name:48} could not be played: {figures.problem}"
    if not figures.was_met:
        return f"{figures.case.name:48} not met"
    recovery = "-" if figures.recovery_seconds is None else f"{figures.recovery_seconds:.1f} s"
    parts = {
        "failed": figures.failed_wrongly,
        "attempts": figures.attempts_burnt_wrongly,
        "calls": figures.calls_wasted,
        "unfinished": figures.unfinished,
        "status": len(figures.wrong_status),
    }
    wrong = ", ".join(f"{name} {count}" for name, count in parts.items() if count)
    codes = f" ({', '.join(figures.codes)})" if wrong and figures.codes else ""
    return f"{figures.case.name:48} {recovery:>7}  {wrong or 'right'}{codes}"


def details(figures: Sequence[Figures]) -> Iterator[str]:
    """Yield the wrong messages of `status`, the first of each case."""
    for each in figures:
        if each.wrong_status:
            yield f"{each.case.name:48} {each.wrong_status[0]}"


def document(plan: Plan, figures: Sequence[Figures]) -> dict[str, Any]:
    """The figures of the run, and the cases that are not right or were not met."""
    return {
        **totals(figures),
        "seed": plan.seed,
        "is_long": plan.is_long,
        "not_met": sorted(each.case.name for each in figures if not each.was_met and not each.problem),
        "wrong": sorted(line(each) for each in figures if each.was_met and not each.is_right),
    }
