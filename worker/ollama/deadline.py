"""The time left of one conversation with a model: to its first token, to its next token, and to its end."""

from dataclasses import dataclass, replace
from enum import Enum, auto

FIRST_TOKEN_SHARE = 4 / 5  # of the whole: an answer that has not begun by then will not end in the rest

MAX_SILENCE_SECONDS = 30.0


class Missed(Enum):
    """The earliest of the three bounds: the one that was missed if no time is left."""

    FIRST_TOKEN = auto()
    NEXT_TOKEN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Deadline:
    """Moments in seconds of the caller's monotonic clock, which is an argument everywhere."""

    end_at_seconds: float
    token_at_seconds: float
    silence_seconds: float
    has_begun: bool = False

    @classmethod
    def starting(cls, now_seconds: float, total_seconds: float, silence_seconds: float) -> "Deadline":
        """`total_seconds` for everything, four fifths of it for the first token, `silence_seconds` between two tokens."""
        return cls(now_seconds + total_seconds, now_seconds + total_seconds * FIRST_TOKEN_SHARE, silence_seconds)

    def after_token(self, now_seconds: float) -> "Deadline":
        """The next token is due after `silence_seconds`."""
        return replace(self, token_at_seconds=now_seconds + self.silence_seconds, has_begun=True)

    def next_try(self, now_seconds: float) -> "Deadline":
        """For a second request within the same total."""
        return self.starting(now_seconds, max(0.0, self.end_at_seconds - now_seconds), self.silence_seconds)

    def cut(self, now_seconds: float, seconds: float) -> "Deadline":
        """At most `seconds` from now, and never later than before."""
        until_seconds = min(self.end_at_seconds, now_seconds + seconds)
        return replace(self, end_at_seconds=until_seconds, token_at_seconds=until_seconds)

    def left_seconds(self, now_seconds: float) -> float:
        """Seconds to the earliest bound, 0 if it has passed."""
        return max(0.0, min(self.end_at_seconds, self.token_at_seconds) - now_seconds)

    @property
    def first_missed(self) -> Missed:
        if self.end_at_seconds <= self.token_at_seconds:
            return Missed.END
        return Missed.NEXT_TOKEN if self.has_begun else Missed.FIRST_TOKEN


def silence_seconds(timeout_seconds: float) -> float:
    """Longest pause between two tokens. It is long because another slot may read a picture on the same cores."""
    return min(timeout_seconds, MAX_SILENCE_SECONDS)
