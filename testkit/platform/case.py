"""One cell of the table, and all cells that the product has so far."""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.core.modes import Mode


class Adapter(StrEnum):
    OURS = "ours"
    FOREIGN = "foreign"


class Ending(StrEnum):
    """The course of a job, by the step in which something happens to it."""

    SUCCESS = "success"
    TRANSIENT_VISION = "transient in vision"
    TRANSIENT_FEEDBACK = "transient in feedback"
    PERMANENT_VISION = "permanent in vision"
    PERMANENT_FEEDBACK = "permanent in feedback"
    KILLED_READING = "killed while reading"
    KILLED_VISION = "killed in vision"
    KILLED_CHECKPOINT = "killed before the checkpoint"
    KILLED_FEEDBACK = "killed in feedback"
    KILLED_SETTLING = "killed before the result"
    KILLED_SETTLED = "killed after the result"
    LEFT = "left queued"

    @property
    def is_kill(self) -> bool:
        return self.value.startswith("killed")

    @property
    def step(self) -> str:
        """The step whose call goes wrong, '' if none does."""
        return self.value.rpartition(" in ")[2] if " in " in self.value else ""


OF_VISION: Final = frozenset(
    {Ending.TRANSIENT_VISION, Ending.PERMANENT_VISION, Ending.KILLED_VISION, Ending.KILLED_CHECKPOINT}
)  # ends that only a mode with a text of the vision adapter has
BUILT: Final = {2025: (Mode.TEXT_DIRECT, Mode.OCR_TEXT)}  # the modes of each schema


@dataclass(frozen=True, slots=True)
class Case:
    """`year` names the schema, see `testkit.database`."""

    mode: Mode
    year: int
    adapter: Adapter
    ending: Ending

    @property
    def name(self) -> str:
        return f"{self.mode}/{self.year}/{self.adapter}/{self.ending}"

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the job that call an adapter, in order."""
        return ("vision", "feedback") if self.mode is Mode.OCR_TEXT else ("feedback",)

    @property
    def mark(self) -> str:
        """A word that stands in the criteria and on the page, by which faults and calls find the case."""
        return "Marke" + "".join(sign for sign in self.name if sign.isalnum())


def all_cases() -> Iterator[Case]:
    for year, modes in BUILT.items():
        for adapter in Adapter:
            for mode in modes:
                yield from (Case(mode, year, adapter, ending) for ending in _endings(mode))


def chosen(pattern: str) -> list[Case]:
    """Return the cases whose name contains the pattern or matches it."""
    return [each for each in all_cases() if pattern in each.name or fnmatch.fnmatch(each.name, pattern)]


def _endings(mode: Mode) -> Iterator[Ending]:
    for ending in Ending:
        if ending is not Ending.LEFT and (mode is Mode.OCR_TEXT or ending not in OF_VISION):
            yield ending
