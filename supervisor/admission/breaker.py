"""The breaker of one model: opens after failures in a row, admits one probe, and recovers by doubling."""

from dataclasses import dataclass, replace

from worker.ipc.backoff import doubling

TRIP_FAILURES = 5  # in a row
SILENCE_WEIGHT = 3  # failures that one silent call counts for: it used a whole timeout, so two of them trip the breaker


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed while `trips` is 0. `answers`: answered calls in a row since the last failure."""

    failures: int = 0  # in a row, while closed
    trips: int = 0  # in a row: the first, and one for each failed probe
    tripped_at_seconds: float = 0.0
    answers: int = 0
    is_silent: bool = False  # the failure that tripped it was a silent call
    is_probed: bool = False  # a call has been admitted since it tripped

    @property
    def is_tripped(self) -> bool:
        return self.trips > 0

    def failed(self, at_seconds: float, *, is_silent: bool) -> "Breaker":
        failures = self.failures + (SILENCE_WEIGHT if is_silent else 1)
        if not self.is_tripped and failures < TRIP_FAILURES:
            return replace(self, failures=failures)
        return Breaker(trips=self.trips + 1, tripped_at_seconds=at_seconds, is_silent=is_silent)

    def answered(self, calls: int) -> "Breaker":
        """Close as soon as `calls` calls are admitted: the number that the model takes at once."""
        answers = self.answers + 1
        return replace(self, answers=answers) if self.is_tripped and _ramp(answers) < calls else Breaker()

    def is_open(self, now_seconds: float, cool_seconds: float, cool_max_seconds: float) -> bool:
        """Return True while no call may start. Each failed probe doubles the wait."""
        if not self.is_tripped or self.answers:
            return False
        return now_seconds < self.tripped_at_seconds + doubling(cool_seconds, cool_max_seconds, self.trips - 1)

    @property
    def ramp(self) -> int:
        """Calls admitted during recovery: 1 (the probe), then 2, 4 … after as many answers."""
        return _ramp(self.answers)


def _ramp(answers: int) -> int:
    return 1 << ((answers + 1).bit_length() - 1)
