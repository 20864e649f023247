"""What the monitor counts of Ollama. The counts stand in the scoreboard, where they outlive it; a total never goes back."""

from collections.abc import Iterator
from enum import Enum

from worker.ipc.contract import CallOutcome, Step
from worker.ipc.scoreboard import OllamaCountersRecord, Scoreboard


class ModelOperation(Enum):
    """What was done to a model."""

    LOADED = "loaded"
    FAILED = "failed"  # to load
    UNLOADED = "unloaded"


CounterKey = ModelOperation | tuple[Step, CallOutcome]
_PLACES: dict[CounterKey, int] = {
    counted: place
    for place, counted in enumerate([*ModelOperation, *((step, outcome) for step in Step for outcome in CallOutcome)])
}


class OllamaCounters:
    """One writer: this monitor, which goes on where its predecessor was."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard, self._counts = scoreboard, list(scoreboard.ollama_counters.read().counts)

    def count(self, counted: CounterKey) -> None:
        self._counts[_PLACES[counted]] += 1
        self._scoreboard.ollama_counters.write(OllamaCountersRecord(tuple(self._counts)))


def counter_totals(scoreboard: Scoreboard) -> Iterator[tuple[CounterKey, int]]:
    """Everything that is counted, with its total."""
    counts = scoreboard.ollama_counters.read().counts
    return ((counted, counts[place]) for counted, place in _PLACES.items())
