"""The supervisor's state × event table, made by asking `record` itself."""

from collections import Counter
from dataclasses import replace
from typing import get_args

from supervisor.core.apply import ImpossibleFact, apply
from supervisor.core.facts import DeadlineSet, Exited, FactOfASlot, Killed, Measured, Retired, Spawned, SpawnFailed, Terminated
from supervisor.core.fleet import ActionReason, Fleet, Slot, SlotState

_PID = 100
_EXAMPLES: dict[type[FactOfASlot], FactOfASlot] = {
    Spawned: Spawned(0, _PID, 7, 50.0),
    SpawnFailed: SpawnFailed(0, 11, 50.0),
    DeadlineSet: DeadlineSet(0, 90.0, 50.0),
    Measured: Measured(0, 1, 50.0),
    Retired: Retired(0, ActionReason.OPERATOR, 50.0),
    Terminated: Terminated(0, ActionReason.DRAIN, 60.0, 50.0),
    Killed: Killed(0, ActionReason.DRAIN_EXPIRED, 50.0),
    Exited: Exited(0, _PID, 0, 50.0),
}
_REFUSED = "-"


def table(visits: Counter[tuple[SlotState, type[FactOfASlot]]]) -> str:
    """One row per fact, one column per state: the state that follows, and how often it was reached; `-` is refused."""
    rows = [["", *(state.name for state in SlotState)]]
    for kind in get_args(FactOfASlot):
        rows.append([kind.__name__, *(_cell(state, kind, visits) for state in SlotState)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def unvisited(visits: Counter[tuple[SlotState, type[FactOfASlot]]]) -> list[str]:
    """The cells that are possible and were never reached."""
    cells = ((state, kind) for state in SlotState for kind in get_args(FactOfASlot))
    return [f"{kind.__name__} in {state.name}" for state, kind in cells if follows(state, kind) and not visits[state, kind]]


def follows(state: SlotState, kind: type[FactOfASlot]) -> SlotState | None:
    """The state after a fact of this kind; None where it is refused."""
    slot = Slot(0, state, pid=0 if state is SlotState.VACANT else _PID)
    fleet = replace(Fleet.of(1), last_progress_seconds=0.0).with_slot(slot)
    try:
        return apply(fleet, _EXAMPLES[kind]).slot(0).state
    except ImpossibleFact:
        return None


def _cell(state: SlotState, kind: type[FactOfASlot], visits: Counter[tuple[SlotState, type[FactOfASlot]]]) -> str:
    after = follows(state, kind)
    if after is None:
        return _REFUSED
    return f"{after.name} {visits[state, kind]}" if visits else after.name
