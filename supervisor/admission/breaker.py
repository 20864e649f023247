"""The breaker of one model: opens on failures in a row, lets one probe through, and recovers by doubling."""

from dataclasses import dataclass, replace

TRIP_FAILURES = 5  # of a kind that comes at once
SILENCE_WEIGHT = 3  # a call that was given a whole timeout and said nothing: two of them are enough


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed where it never tripped. `answers`: in a row since it did, or since the last failure."""

    failures: int = 0  # in a row
    trips: int = 0  # in a row, each after a probe that failed
    tripped_at_seconds: float = 0.0
    answers: int = 0
    is_silent: bool = False  # the failure that tripped it was no answer at all
    is_probed: bool = False  # calls have been allowed since

    @property
    def is_tripped(self) -> bool:
        return self.trips > 0

    def failed(self, at_seconds: float, *, is_silent: bool) -> "Breaker":
        failures = self.failures + (SILENCE_WEIGHT if is_silent else 1)
        if not self.is_tripped and failures < TRIP_FAILURES:
            return replace(self, failures=failures)
        return Breaker(0, self.trips + 1, at_seconds, 0, is_silent)

    def answered(self, calls: int) -> "Breaker":
        """`calls`: how many the model takes at once when it is well."""
        answers = self.answers + 1
        return replace(self, answers=answers) if self.is_tripped and _ramp(answers) < calls else Breaker()

    def is_open(self, now_seconds: float, cool_seconds: float, cool_max_seconds: float) -> bool:
        """Nothing may be asked: each probe that fails makes the next one later."""
        waits = min(cool_seconds * 2.0 ** min(self.trips - 1, 30), cool_max_seconds)
        return self.is_tripped and not self.answers and now_seconds < self.tripped_at_seconds + waits

    @property
    def ramp(self) -> int:
        """Calls that a model may have that recovers: one, the probe, then 2, 4 … as each of those before has been answered."""
        return _ramp(self.answers)


def _ramp(answers: int) -> int:
    return 1 << ((answers + 1).bit_length() - 1)
