"""The grade of doubt of a page that was read: whether a teacher should look at it. Codes and numbers only, never a text.

Notes are the codes of worker.documents.page, which this package does not import.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_NUMBERED_PAGES = 10_000
MAX_CODES = 32
LEAST_MEAN_LOGPROB = -0.35  # e^-0.35 = 0.70: on average the model gave its token less than 70 %
MOST_UNSURE_SHARE = 0.2  # of the tokens, each with less than UNSURE_LOGPROB
UNSURE_LOGPROB = -1.2  # a probability of 30 %
LEAST_TOKENS = 8  # of a shorter answer the mean says little
ILLEGIBLE = frozenset({"low_contrast", "blurred", "small"})  # notes that are reasons by themselves
INCOMPLETE = frozenset({"page_missing", "incomplete"})


class Reason(StrEnum):
    """Reasons for doubt beside the notes of the picture, which are reasons by their own codes."""

    LOW_PROBABILITY = "low_probability"  # the server's own figure for its tokens
    RETRIED = "retried"  # an earlier answer to this page was unusable
    REPETITION = "repetition"  # the earlier answer repeated itself and was cut
    TRUNCATED = "truncated"  # the earlier answer reached its limit of tokens
    NO_TEXT = "no_text"  # not blank, and nothing was read


_CUT = {"Runaway": Reason.REPETITION, "AnswerTruncated": Reason.TRUNCATED}  # by the class of the earlier answer's failure
Code = str


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure the model was of its tokens, from the server. None of it is known for a server that sends no probabilities."""

    tokens: int = 0
    mean_logprob: float = 0.0
    unsure_share: float = 0.0

    @property
    def is_low(self) -> bool:
        if self.tokens < LEAST_TOKENS:
            return False
        return self.mean_logprob < LEAST_MEAN_LOGPROB or self.unsure_share > MOST_UNSURE_SHARE
