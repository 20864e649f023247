"""Parameters of which only some run in the first tier, because each one takes seconds."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest


def in_two_tiers(values: Sequence[Any], first_tier: Collection[Any]) -> list[Any]:
    """Return all values as parameters: those of `first_tier` run in the first tier, the others in the second."""
    return [value if value in first_tier else pytest.param(value, marks=pytest.mark.second_tier) for value in values]
