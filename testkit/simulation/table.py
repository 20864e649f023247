"""The table of a slot's states and facts, as `apply` uses it, with the number of times that each cell was reached."""

from collections import Counter
from typing import get_args

from supervisor.core.apply import SLOT_TRANSITIONS
from supervisor.core.facts import FactOfASlot
from supervisor.core.fleet import SlotState

_IMPOSSIBLE = "-"
Visits = Counter[tuple[SlotState, type[FactOfASlot]]]


def table(visits: Visits) -> str:
    """Return one row per fact and one column per state: the next state and the visits, or `-` for an impossible fact."""
    rows = [["", *(state.name for state in SlotState)]]
    for kind in get_args(FactOfASlot):
        rows.append([kind.__name__, *(_cell(state, kind, visits) for state in SlotState)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def unvisited(visits: Visits) -> list[str]:
    """Name the possible cells that were never reached."""
    cells = ((state, kind) for state, facts in SLOT_TRANSITIONS.items() for kind in facts)
    return [f"{kind.__name__} in {state.name}" for state, kind in cells if not visits[state, kind]]


def _cell(state: SlotState, kind: type[FactOfASlot], visits: Visits) -> str:
    after = SLOT_TRANSITIONS[state].get(kind)
    if after is None:
        return _IMPOSSIBLE
    return f"{after.name} {visits[state, kind]}" if visits else after.name
