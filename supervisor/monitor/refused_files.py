"""Files that were refused one after another for the same reason, as reported by the workers of this instance."""

from dataclasses import dataclass, replace

MANY = 5  # in a row. Single files are the fault of their pupils
KEY_REFUSED = "key_refused"  # the only reason that is the platform's fault and no pupil's
FORGET_AFTER_SECONDS = 3600.0  # without another one: the class is over


@dataclass(frozen=True, slots=True)
class Streak:
    """`since_seconds` and `seen_at_seconds` are the times of the first and of the last one (monotonic)."""

    reason: str
    count: int
    since_seconds: float
    seen_at_seconds: float


class RefusedFiles:
    """Files with one reason, one after another. A file that is read, or refused for another reason, ends it."""

    def __init__(self) -> None:
        self._streak: Streak | None = None

    def streak(self, now_seconds: float) -> Streak | None:
        """Return the streak if it is long and not over."""
        streak = self._streak
        if streak is None or streak.count < MANY or now_seconds - streak.seen_at_seconds > FORGET_AFTER_SECONDS:
            return None
        return streak

    def add(self, reason: str, now_seconds: float) -> None:
        streak = self._streak
        if streak is None or streak.reason != reason or now_seconds - streak.seen_at_seconds > FORGET_AFTER_SECONDS:
            streak = Streak(reason, 0, now_seconds, now_seconds)
        self._streak = replace(streak, count=streak.count + 1, seen_at_seconds=now_seconds)

    def read(self) -> None:
        """A file was read, so the place of the files is in order."""
        self._streak = None
