"""Tells when a model repeats itself without an end."""

import re

LONGEST_UNIT_CHARACTERS = 200
# A page may honestly repeat: forty dotted answer lines of a hundred dots, or one sentence of a hundred characters fifty times.
PAGE_CHARACTERS = 5000
# A document has no reason to: three times the longest unit, so that a sentence said twice is none. Also endless white space.
DOCUMENT_CHARACTERS = 3 * LONGEST_UNIT_CHARACTERS
_SPACE = re.compile(r"\s")


class Repetition:
    """Fed with a text piece by piece, says whether its end is one unit of at most 200 characters again and again.

    Any white space counts as the same. It looks after every quarter of the limit, so that a character costs a constant number of
    steps, and a repetition is seen between the limit and five quarters of it.
    """

    def __init__(self, limit_characters: int) -> None:
        if limit_characters < DOCUMENT_CHARACTERS:
            raise ValueError("three units at least, or the shortest period is not found")
        self._limit_characters = limit_characters
        self._tail = ""
        self._new_characters = 0

    def is_endless_after(self, piece: str) -> bool:
        self._tail += _SPACE.sub(" ", piece)
        self._new_characters += len(piece)
        if self._new_characters < self._limit_characters // 4:
            return False
        self._new_characters = 0
        self._tail = self._tail[-self._limit_characters :]
        return len(self._tail) == self._limit_characters and _is_periodic(self._tail)


def _is_periodic(text: str) -> bool:
    """The first place where all but the longest unit comes again is the shortest possible period (Fine and Wilf)."""
    period = text.find(text[: len(text) - LONGEST_UNIT_CHARACTERS], 1)
    return period > 0 and text[period:] == text[:-period]
