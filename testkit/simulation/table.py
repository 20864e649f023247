"""The supervisor's state × event table, made by asking `record` itself."""

from collections import Counter
from dataclasses import replace
from typing import get_args

from supervisor.core.apply import ImpossibleFact, record
from supervisor.core.facts import Exited, FactOfASlot, Killed, Measured, Promised, Retired, Spawned, SpawnFailed, Terminated
from supervisor.core.fleet import Fleet, Slot, Stage, Why

_PID = 100
_EXAMPLES: dict[type[FactOfASlot], FactOfASlot] = {
    Spawned: Spawned(0, _PID, 7, 50.0),
    SpawnFailed: SpawnFailed(0, 11, 50.0),
    Promised: Promised(0, 90.0, 50.0),
    Measured: Measured(0, 1, 50.0),
    Retired: Retired(0, Why.OPERATOR, 50.0),
    Terminated: Terminated(0, Why.DRAIN, 60.0, 50.0),
    Killed: Killed(0, Why.DRAIN_EXPIRED, 50.0),
    Exited: Exited(0, _PID, 0, 50.0),
}
_REFUSED = "-"


def table(visits: Counter[tuple[Stage, type[FactOfASlot]]]) -> str:
    """One row per fact, one column per stage: the stage that follows, and how often it was reached; `-` is refused."""
    rows = [["", *(stage.name for stage in Stage)]]
    for kind in get_args(FactOfASlot):
        rows.append([kind.__name__, *(_cell(stage, kind, visits) for stage in Stage)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def unvisited(visits: Counter[tuple[Stage, type[FactOfASlot]]]) -> list[str]:
    """The cells that are possible and were never reached."""
    cells = ((stage, kind) for stage in Stage for kind in get_args(FactOfASlot))
    return [f"{kind.__name__} in {stage.name}" for stage, kind in cells if follows(stage, kind) and not visits[stage, kind]]


def follows(stage: Stage, kind: type[FactOfASlot]) -> Stage | None:
    """The stage after a fact of this kind; None where it is refused."""
    slot = Slot(0, stage, pid=0 if stage is Stage.VACANT else _PID)
    fleet = replace(Fleet.of(1), last_progress_seconds=0.0).with_slot(slot)
    try:
        return record(fleet, _EXAMPLES[kind]).slot(0).stage
    except ImpossibleFact:
        return None


def _cell(stage: Stage, kind: type[FactOfASlot], visits: Counter[tuple[Stage, type[FactOfASlot]]]) -> str:
    after = follows(stage, kind)
    if after is None:
        return _REFUSED
    return f"{after.name} {visits[stage, kind]}" if visits else after.name
