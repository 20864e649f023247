"""The figures of a case and of a run. Pure functions of what was observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from testkit.chaos.plan import Work
from testkit.chaos.recovery import percentile
from testkit.outages.matrix import Case
from testkit.outages.schoolbook import JobHistory

MAX_RECOVERY_P95_SECONDS: Final = 8.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A case as it went, without a text of a pupil.

    `open_ids` were not final at the end of the outage, `ended_at` in Unix time. `recovered_at` is the first text or result of
    them after it. `met` counts the requests that met the fault, None if they cannot be counted. `vision_calls` and
    `feedback_calls` are the answered ones. `planned_deaths` are the kills of the case itself, `cut_calls` those that the
    beginning of the outage ended: the server may have answered them.
    """

    works: Mapping[UUID, Work]
    histories: Sequence[JobHistory]
    failed_ids: Sequence[UUID]
    done_at: Mapping[UUID, float]
    open_ids: Sequence[UUID]
    ended_at: float
    recovered_at: float | None
    vision_calls: int
    feedback_calls: int
    wrong_status: Sequence[str]
    met: int | None
    planned_deaths: int = 0
    cut_calls: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one case. `recovery_seconds` is None if no job was open at the end of the outage, or none has ended."""

    case: Case
    failed_wrongly: int = 0
    attempts_burnt_wrongly: int = 0
    calls_answered: int = 0
    calls_wasted: int = 0
    unfinished: int = 0
    recovery_seconds: float | None = None
    wrong_status: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    was_met: bool = True
    problem: str = ""  # the case could not be played

    @property
    def is_right(self) -> bool:
        counts = (self.failed_wrongly, self.attempts_burnt_wrongly, self.calls_wasted, self.unfinished, len(self.wrong_status))
        return not any(counts) and not self.problem


def judge(case: Case, seen: Observed) -> Figures:
    """Judge a case. No submission of it may fail, because the outage is never the submission's own fault."""
    counted = sum(each.retries + each.crashes + each.expiries for each in seen.histories)
    return Figures(
        case,
        failed_wrongly=len(seen.failed_ids),
        attempts_burnt_wrongly=max(0, counted - seen.planned_deaths),
        calls_answered=seen.vision_calls + seen.feedback_calls,
        calls_wasted=_wasted(seen),
        unfinished=len(seen.works.keys() - seen.done_at.keys()),
        recovery_seconds=None if seen.recovered_at is None else seen.recovered_at - seen.ended_at,
        wrong_status=tuple(seen.wrong_status),
        codes=tuple(sorted({each.error_code for each in seen.histories if each.error_code})),
        was_met=seen.met != 0,
    )


def _wasted(seen: Observed) -> int:
    """Answered calls whose answer was not committed. A killed worker may lose one, and a call that was cut is lost."""
    completed = seen.done_at.keys() - set(seen.failed_ids)
    has_text = {each.submission_id for each in seen.histories if each.has_text}
    used_vision = sum(work is not Work.TEXT and (each in completed or each in has_text) for each, work in seen.works.items())
    spare = seen.planned_deaths + seen.cut_calls
    return max(0, seen.vision_calls - used_vision + seen.feedback_calls - len(completed) - spare)


def totals(figures: Sequence[Figures]) -> dict[str, Any]:
    """Return the figures of a run, of the cases whose fault was met."""
    met = [each for each in figures if each.was_met]
    recovered = [each.recovery_seconds for each in met if each.recovery_seconds is not None]
    p95_seconds = percentile(recovered, 0.95)
    return {
        "cases": len(met),
        "failed_wrongly": sum(each.failed_wrongly for each in met),
        "attempts_burnt_wrongly": sum(each.attempts_burnt_wrongly for each in met),
        "calls_wasted": sum(each.calls_wasted for each in met),
        "recovery_p95_s": None if p95_seconds is None else round(p95_seconds, 1),
        "status_wrong": sum(bool(each.wrong_status) for each in met),
        "unfinished": sum(each.unfinished for each in met),
        "not_played": sum(bool(each.problem) for each in figures),
    }


def is_right(found: Mapping[str, Any]) -> bool:
    """Return True if every goal is reached. `recovery_p95_s` is None if nothing had to recover."""
    wrong = ("failed_wrongly", "attempts_burnt_wrongly", "calls_wasted", "status_wrong", "unfinished", "not_played")
    return not any(found[name] for name in wrong) and (found["recovery_p95_s"] or 0.0) <= MAX_RECOVERY_P95_SECONDS
