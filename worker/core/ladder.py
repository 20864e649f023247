"""The ladder of retries: what each attempt changes, because a model with the same request gives the same unusable answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rung:
    """One attempt. `name` is for the log."""

    name: str
    temperature: float
    is_strict: bool = False  # the strict prompt
    is_smaller: bool = False  # a smaller picture. A text is asked for in other words instead
    is_reworded: bool = False  # the same in other words


RUNGS = (
    Rung("temperature_0", 0.0),
    Rung("temperature_0.3", 0.3),
    Rung("temperature_0.7_strict", 0.7, is_strict=True),
    Rung("smaller_or_reworded", 0.7, is_smaller=True),
    Rung("smaller_and_reworded", 0.7, is_smaller=True, is_reworded=True),
)


def rung(attempt: int) -> Rung:
    """Return the rung of an attempt, counted from 0. Above the last rung only the seed differs."""
    return RUNGS[min(max(attempt, 0), len(RUNGS) - 1)]


def seed(attempt: int, *, is_second_try: bool = False) -> int:
    """Return the seed of a request: fixed, so that an answer can be repeated, and another for each attempt and its second try."""
    return 2 * attempt + 1 + is_second_try
