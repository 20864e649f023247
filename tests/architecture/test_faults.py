"""The table of faults names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def test_every_fault_is_made_by_tests_that_exist() -> None:
    """A test that is renamed or removed needs a change of its row in the table."""
    rows = [line for line in (ROOT / "docs" / "faults.md").read_text().splitlines() if re.match(r"\| \d* \|", line)]
    named = [NAMED.findall(row) for row in rows]
    missing = [
        (file, test) for row in named for file, test in row if f"def {test}(" not in (ROOT / "tests/process" / file).read_text()
    ]
    assert missing == []
    assert [row for row, tests in zip(rows, named, strict=True) if not tests and "tests/simulation" not in row] == []
