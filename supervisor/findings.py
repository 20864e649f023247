"""Findings of `check` and `doctor`: the thing examined, its level, and the remedy."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.markup import escape

from supervisor.wording import wrapped


class Level(Enum):
    """The word in front of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


_STYLES = {Level.OK: "green", Level.WARNING: "bold yellow", Level.FAILED: "bold red"}
_INDENT = " " * 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined, and its remedy if it is not in order."""

    level: Level
    subject: str
    remedy: str = ""


def worst_level(findings: Sequence[Finding]) -> Level:
    """OK if there are none."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAILED, Level.WARNING) if level in levels), Level.OK)


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print one finding after the other, wrapped to the console's width."""
    for finding in findings:
        remedy = f": {finding.remedy}" if finding.remedy else ""
        label = finding.level.value
        text = wrapped(f"{label:<{len(_INDENT)}}{finding.subject}{remedy}", console.width, _INDENT).removeprefix(label)
        console.print(f"[{_STYLES[finding.level]}]{label}[/]{escape(text)}", soft_wrap=True, highlight=False)
