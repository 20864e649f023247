"""Detects a model that repeats itself without end."""

import re

LONGEST_UNIT_CHARACTERS = 200
# A correct page may repeat: forty dotted answer lines of a hundred dots, or one sentence of a hundred characters fifty times.
PAGE_CHARACTERS = 5000
# A feedback document has no reason to repeat. Three times the longest unit, so that two equal sentences are allowed.
DOCUMENT_CHARACTERS = 3 * LONGEST_UNIT_CHARACTERS
_SPACE = re.compile(r"\s")


class Repetition:
    """Checks whether the end of a growing text consists of one repeated unit of at most 200 characters.

    All white space counts as equal. The check runs once per quarter of the limit, so that a character costs a constant number
    of steps. A repetition is found between the limit and five quarters of it.
    """

    def __init__(self, limit_characters: int) -> None:
        if limit_characters < DOCUMENT_CHARACTERS:
            raise ValueError("give at least three units, else the shortest period is not found")
        self._limit_characters = limit_characters
        self._tail = ""
        self._new_characters = 0

    def is_endless_after(self, piece: str) -> bool:
        """Append a piece and check."""
        self._tail += _SPACE.sub(" ", piece)
        self._new_characters += len(piece)
        if self._new_characters < self._limit_characters // 4:
            return False
        self._new_characters = 0
        self._tail = self._tail[-self._limit_characters :]
        return len(self._tail) == self._limit_characters and _is_periodic(self._tail)


def _is_periodic(text: str) -> bool:
    """Find the shortest possible period: the first place where all but one longest unit occurs again (Fine and Wilf)."""
    period = text.find(text[: len(text) - LONGEST_UNIT_CHARACTERS], 1)
    return period > 0 and text[period:] == text[:-period]
