"""The teacher's confidential context in an answer: a run of its words that nothing else in the request has is a quotation."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

QUOTED_WORDS = 8  # fewer equal words in a row are common to texts about one task
SHORTEST_CONTEXT_WORDS = 5  # a shorter one, such as "Kurz und freundlich", is common too
OMISSION = "[…]"
_WORD = re.compile(r"[^\W_]+")
Run = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Confidential:
    """Runs of `length` words that must not stand in an answer. A context of fewer than QUOTED_WORDS words is one run."""

    runs: frozenset[Run]
    length: int

    @classmethod
    def of(cls, context_md: str | None, known: Iterable[str]) -> "Confidential":
        """`known` are the texts of which the pupil has each: an answer may quote them, even if the context has them too."""
        words = _WORD.findall(context_md or "")
        length = max(SHORTEST_CONTEXT_WORDS, min(QUOTED_WORDS, len(words)))
        secret = frozenset(_runs(context_md or "", length))
        return cls(secret.difference(*(_runs(text, length) for text in known)) if secret else secret, length)

    def is_quoted_in(self, text: str) -> bool:
        return bool(self.runs) and any(run in self.runs for run in _runs(text, self.length))

    def removed_from(self, text: str) -> str:
        """Return the text with an omission in place of each quotation."""
        for begin, end in reversed(list(self._quotations(text))):
            text = text[:begin] + OMISSION + text[end:]
        return text

    def _quotations(self, text: str) -> Iterator[tuple[int, int]]:
        """Begin and end of each quotation. Runs that overlap are one."""
        if not self.runs:
            return
        spans = [found.span() for found in _WORD.finditer(text)]
        found_at: tuple[int, int] | None = None
        for place, run in enumerate(_runs(text, self.length)):
            if run not in self.runs:
                continue
            begin, end = spans[place][0], spans[place + self.length - 1][1]
            if found_at is not None and begin > found_at[1]:
                yield found_at
                found_at = None
            found_at = (found_at[0] if found_at else begin, end)
        if found_at is not None:
            yield found_at


def _runs(text: str, length: int) -> Iterator[Run]:
    words = [word.casefold() for word in _WORD.findall(text)]
    return (tuple(words[place : place + length]) for place in range(len(words) - length + 1))
