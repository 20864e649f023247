"""One cell of the table, and all cells that the product has so far."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from testkit.database import Year
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


class Work(StrEnum):
    """The kinds of work that pupils hand in: the platform's modes, and two that need something beyond a mode."""

    TEXT_DIRECT = "text_direct"
    OCR_TEXT = "ocr_text"
    VISUAL_DIRECT = "visual_direct"
    DIALOG = "dialog"
    PRACTICE = "practice"  # typed, for an attempt that ends together with the job
    PROGRAM = "program"  # a Scratch file, of which the platform's vision adapter makes a text

    @property
    def mode(self) -> Mode:
        return {Work.PRACTICE: Mode.TEXT_DIRECT, Work.PROGRAM: Mode.OCR_TEXT}.get(self) or Mode(self.value)

    @property
    def is_read(self) -> bool:
        """True if the vision adapter makes a text of it."""
        return self.mode is Mode.OCR_TEXT


OF_VISION: Final = frozenset(
    {Ending.TRANSIENT_VISION, Ending.PERMANENT_VISION, Ending.KILLED_VISION, Ending.KILLED_CHECKPOINT}
)  # ends that only a mode with a text of the vision adapter has
WORKS: Final[Mapping[Year, tuple[Work, ...]]] = {2025: (Work.TEXT_DIRECT, Work.OCR_TEXT), 2026: tuple(Work)}
# Work that no worker may take: no functions for practice are installed, or no adapter reads such a file.
UNABLE: Final = frozenset({(Work.PRACTICE, Adapter.OURS), (Work.PROGRAM, Adapter.OURS)})


@dataclass(frozen=True, slots=True)
class Case:
    """`year` names the schema, see `testkit.database`."""

    work: Work
    year: Year
    adapter: Adapter
    ending: Ending

    @property
    def name(self) -> str:
        return f"{self.work}/{self.year}/{self.adapter}/{self.ending}"

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of the job that call an adapter, in order."""
        return ("vision", "feedback") if self.work.is_read else ("feedback",)

    @property
    def sees_in(self) -> str:
        """The step whose call shows the model a picture, '' if none does."""
        return {Work.OCR_TEXT: "vision", Work.PROGRAM: "vision", Work.VISUAL_DIRECT: "feedback"}.get(self.work, "")

    @property
    def mark(self) -> str:
        """A word that stands in the criteria and on the page, by which faults and calls find the case."""
        return "Marke" + "".join(sign for sign in self.name if sign.isalnum())


def all_cases() -> Iterator[Case]:
    for year, works in WORKS.items():
        for adapter in Adapter:
            for work in works:
                yield from (Case(work, year, adapter, ending) for ending in _endings(work, adapter))


def chosen(pattern: str) -> list[Case]:
    """Return the cases whose name contains the pattern or matches it."""
    return [each for each in all_cases() if pattern in each.name or fnmatch.fnmatch(each.name, pattern)]


def _endings(work: Work, adapter: Adapter) -> Iterator[Ending]:
    if (work, adapter) in UNABLE:
        yield Ending.LEFT
        return
    for ending in Ending:
        if ending is not Ending.LEFT and (work.is_read or ending not in OF_VISION):
            yield ending
