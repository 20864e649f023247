"""The import rules stay layers: an exception is rare and has its reason beside it."""

from pathlib import Path

RULES = Path(__file__).parents[2] / ".importlinter"
MOST_EXCEPTIONS = 5


def test_there_are_few_exceptions() -> None:
    exceptions = [line.strip() for line in RULES.read_text().splitlines() if "->" in line]
    assert len(exceptions) <= MOST_EXCEPTIONS, exceptions
