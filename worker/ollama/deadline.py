"""How long one conversation with a model may still last: to its first token, to its next one, and to its end."""

from dataclasses import dataclass, replace
from enum import Enum, auto

FIRST_TOKEN_SHARE = 4 / 5  # of the whole: a model that says nothing for so long will not finish in the rest

MAX_SILENCE_SECONDS = 30.0


class Missed(Enum):
    """Which of the three bounds comes first, and so has been missed once no time is left."""

    FIRST_TOKEN = auto()
    NEXT_TOKEN = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Deadline:
    """Moments in seconds of the caller's monotonic clock, which is an argument everywhere."""

    end_at_seconds: float
    token_at_seconds: float
    silence_seconds: float
    has_spoken: bool = False

    @classmethod
    def starting(cls, now_seconds: float, total_seconds: float, silence_seconds: float) -> "Deadline":
        """`total_seconds` for everything, four fifths of it for the first token, `silence_seconds` between two tokens."""
        return cls(now_seconds + total_seconds, now_seconds + total_seconds * FIRST_TOKEN_SHARE, silence_seconds)

    def after_token(self, now_seconds: float) -> "Deadline":
        return replace(self, token_at_seconds=now_seconds + self.silence_seconds, has_spoken=True)

    def next_try(self, now_seconds: float) -> "Deadline":
        """For a second request within the same total."""
        return self.starting(now_seconds, max(0.0, self.end_at_seconds - now_seconds), self.silence_seconds)

    def cut(self, now_seconds: float, seconds: float) -> "Deadline":
        """Not longer than `seconds` from now, and not longer than before."""
        until_seconds = min(self.end_at_seconds, now_seconds + seconds)
        return replace(self, end_at_seconds=until_seconds, token_at_seconds=until_seconds)

    def left_seconds(self, now_seconds: float) -> float:
        """Until the first of the bounds; 0 when it has passed."""
        return max(0.0, min(self.end_at_seconds, self.token_at_seconds) - now_seconds)

    @property
    def first_missed(self) -> Missed:
        if self.end_at_seconds <= self.token_at_seconds:
            return Missed.END
        return Missed.NEXT_TOKEN if self.has_spoken else Missed.FIRST_TOKEN


def silence_seconds(timeout_seconds: float) -> float:
    """How long a model that has begun to speak may be silent: another slot may read a picture on the same cores."""
    return min(timeout_seconds, MAX_SILENCE_SECONDS)
