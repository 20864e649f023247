"""The guide to adding a rule quotes the present code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/adding-a-rule.md").read_text()
SOURCES = ("supervisor/core/policy.py", "supervisor/core/fleet.py", "supervisor/core/rules.py", "tests/core/test_rules.py")
QUOTES = re.findall(r"^ *```python\n(.+?)^ *```$", GUIDE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("source", "quote"), list(zip(SOURCES, QUOTES, strict=True)), ids=SOURCES)
def test_the_guide_quotes_the_code(source: str, quote: str) -> None:
    """A change of the example's rule needs the same change in the guide."""
    assert unindented(quote) in unindented((ROOT / source).read_text())


def unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())
