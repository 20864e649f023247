"""Findings of `check` and `doctor`: what was examined, whether it is in order, and the remedy."""

from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.markup import escape


class Level(Enum):
    """How a finding is shown."""

    OK = "[green]ok[/]     "
    WARNING = "[bold yellow]warning[/]"
    FAILED = "[bold red]failed[/] "


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and what to do about it."""

    level: Level
    subject: str
    remedy: str = ""


def show(lines: list[Finding], console: Console) -> None:
    for line in lines:
        remedy = f": {line.remedy}" if line.remedy else ""
        console.print(f"{line.level.value} {escape(line.subject + remedy)}", soft_wrap=True)
