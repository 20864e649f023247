"""What the monitor counts of Ollama. The counts stand in the scoreboard, where they outlive it; a total never goes back."""

from collections.abc import Iterator
from enum import Enum

from worker.core.outcome import Stage
from worker.ipc.contract import CallOutcome
from worker.ipc.scoreboard import Scoreboard, TallyRecord


class Deed(Enum):
    """What was done to a model."""

    LOADED = "loaded"
    FAILED = "failed"  # to load
    UNLOADED = "unloaded"


Counted = Deed | tuple[Stage, CallOutcome]
_PLACES: dict[Counted, int] = {
    counted: place for place, counted in enumerate([*Deed, *((stage, outcome) for stage in Stage for outcome in CallOutcome)])
}


class Tally:
    """One writer: this monitor, which goes on where its predecessor was."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard, self._counts = scoreboard, list(scoreboard.tally().counts)

    def count(self, counted: Counted) -> None:
        self._counts[_PLACES[counted]] += 1
        self._scoreboard.write_tally(TallyRecord(tuple(self._counts)))


def tallied(scoreboard: Scoreboard) -> Iterator[tuple[Counted, int]]:
    """Everything that is counted, with its total."""
    counts = scoreboard.tally().counts
    return ((counted, counts[place]) for counted, place in _PLACES.items())
