"""Findings of `check` and `doctor`: the thing examined, its level and the remedy."""

from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.markup import escape


class Level(Enum):
    """Severity of a finding, as the word that is printed."""

    OK = "[green]ok[/]     "
    WARNING = "[bold yellow]warning[/]"
    FAILED = "[bold red]failed[/] "


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of examining one thing, and the remedy if something is wrong."""

    level: Level
    subject: str
    remedy: str = ""


def show(findings: list[Finding], console: Console) -> None:
    """Print one line per finding."""
    for finding in findings:
        remedy = f": {finding.remedy}" if finding.remedy else ""
        console.print(f"{finding.level.value} {escape(finding.subject + remedy)}", soft_wrap=True)
