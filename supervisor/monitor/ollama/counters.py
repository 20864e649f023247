"""Totals of loads, unloads and calls. They are kept in the scoreboard, so that a new monitor goes on counting."""

from collections.abc import Iterator
from enum import Enum

from worker.ipc.contract import CallOutcome, Step
from worker.ipc.scoreboard import OllamaCountersRecord, Scoreboard


class ModelOperation(Enum):
    """An operation of the monitor on a model."""

    LOADED = "loaded"
    FAILED = "failed"  # the load failed
    UNLOADED = "unloaded"


CounterKey = ModelOperation | tuple[Step, CallOutcome]
_PLACES: dict[CounterKey, int] = {
    key: place for place, key in enumerate([*ModelOperation, *((step, outcome) for step in Step for outcome in CallOutcome)])
}


class OllamaCounters:
    """The only writer of the record. Starts with the totals of the monitor before it."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard, self._counts = scoreboard, list(scoreboard.ollama_counters.read().counts)

    def count(self, key: CounterKey) -> None:
        self._counts[_PLACES[key]] += 1
        self._scoreboard.ollama_counters.write(OllamaCountersRecord(tuple(self._counts)))


def counter_totals(scoreboard: Scoreboard) -> Iterator[tuple[CounterKey, int]]:
    """Every key with its total."""
    counts = scoreboard.ollama_counters.read().counts
    return ((key, counts[place]) for key, place in _PLACES.items())
