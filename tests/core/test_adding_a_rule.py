"""The guide to a new rule quotes the code as it is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/adding-a-rule.md").read_text()
SOURCES = ("supervisor/core/policy.py", "supervisor/core/fleet.py", "supervisor/core/rules.py", "tests/core/test_rules.py")
QUOTES = re.findall(r"^ *```python\n(.+?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("source", "quote"), list(zip(SOURCES, QUOTES, strict=True)), ids=SOURCES)
def test_the_guide_quotes_the_code(source: str, quote: str) -> None:
    """Whoever changes the example's rule changes the guide with it."""
    assert unindented(quote) in unindented((ROOT / source).read_text())


def unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())
