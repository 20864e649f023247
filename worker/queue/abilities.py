"""Abilities of the instance as parameters of obstacle.sql, and from the claims of its workers."""

from collections.abc import Iterable
from dataclasses import replace

from worker.core.abilities import ABILITIES_OF_2025, ALL_ABILITIES, KINDS, Abilities

__all__ = ["ABILITIES_OF_2025", "Abilities", "abilities_claimed", "ability_values"]


def ability_values(abilities: Abilities) -> dict[str, object]:
    """Return the parameters of obstacle.sql by name."""
    return {
        "kinds": list(KINDS),
        "modes": [mode.value for mode in abilities.modes],
        "practice": abilities.has_practice,
        "program_files": ["", *abilities.program_files],  # '': neither a program file nor of an unknown type
        "skips_tests": abilities.skips_tests,
        "test_run_id": abilities.test_run_id,
    }


def abilities_claimed(claims: Iterable[int], *, skips_tests: bool, test_run_id: str) -> Abilities:
    """Return the jobs that any of the workers takes, by the bits in their records. All until the first has written."""
    bits = 0
    for each in claims:
        bits |= each
    known = replace(ALL_ABILITIES, skips_tests=skips_tests, test_run_id=test_run_id)
    return known.with_bits(bits) if bits else known
