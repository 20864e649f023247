"""Checks of output at the width of a terminal."""

WIDTH = 80


def assert_fits(narrow: str, wide: str) -> None:
    """`narrow` was printed at 80 columns: the words of `wide`, none broken, and no line too long but a single word."""
    assert narrow.replace("\n# ", "\n").split() == wide.replace("\n# ", "\n").split()
    assert [line for line in narrow.splitlines() if len(line.rstrip()) > WIDTH and len(line.split()) > 1] == []
