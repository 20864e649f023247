"""The breaker of one model: opens after failures in a row, and recovers call by call after a probe of the monitor."""

import math
from dataclasses import dataclass, field, replace

from worker.ipc.backoff import doubling

TRIP_FAILURES = 5  # in a row
SILENCE_WEIGHT = 3  # failures that one silent call counts for: it used a whole timeout, so two of them trip the breaker
PROBE_SILENT = "AnswerTimeout"  # class of a probe without an answer in time
MAX_RELAPSE_FACTOR = 4  # longest wait for a probe, in first waits. A wait grows only if calls fail after answered probes


@dataclass(frozen=True, slots=True)
class Breaker:
    """Closed while `trips` is 0, open until a probe is answered, then ramping. `answers`: answered calls in a row since then.

    Each probe begins after the one before has ended. `is_answering`: a probe was answered since the breaker tripped.
    """

    failures: int = 0  # in a row, while closed
    trips: int = 0  # in a row: the first, and one for each failed call after an answered probe
    tripped_at_seconds: float = 0.0
    answers: int = 0
    is_silent: bool = False  # the failure that tripped it was a silent call, or a probe was silent since
    is_answering: bool = False
    probe_began_at_seconds: float | None = None  # of the probe that is under way
    probed_at_seconds: float = -math.inf  # end of the last failed probe
    failed_probe_began_at_seconds: float = -math.inf
    error_class: str = ""  # of the last failed probe
    since_seconds: float = field(default=0.0, compare=False)  # the first trip in a row, for the status
    retry_after_seconds: float = 0.0  # as the server asked for in its answer to the last probe

    @classmethod
    def ramping(cls, at_seconds: float) -> "Breaker":
        """Return a breaker that admits one call first, because the server was away until now."""
        return cls(trips=1, tripped_at_seconds=at_seconds, since_seconds=at_seconds, is_answering=True)

    @property
    def is_tripped(self) -> bool:
        return self.trips > 0

    @property
    def is_open(self) -> bool:
        """Return True while no call may start."""
        return self.is_tripped and not self.is_answering

    def failed(self, at_seconds: float, *, is_silent: bool) -> "Breaker":
        failures = self.failures + (SILENCE_WEIGHT if is_silent else 1)
        if not self.is_tripped and failures < TRIP_FAILURES:
            return replace(self, failures=failures)
        since_seconds = self.since_seconds if self.is_tripped else at_seconds
        return Breaker(trips=self.trips + 1, tripped_at_seconds=at_seconds, since_seconds=since_seconds, is_silent=is_silent)

    def answered(self, calls: int) -> "Breaker":
        """Close as soon as `calls` calls are admitted: the number that the model takes at once."""
        answers = self.answers + 1
        return replace(self, answers=answers) if self.is_tripped and _ramp(answers) < calls else Breaker()

    def probe_begun(self, at_seconds: float) -> "Breaker":
        return replace(self, probe_began_at_seconds=at_seconds)

    def probe_ended(self, at_seconds: float, error_class: str, retry_after_seconds: float) -> "Breaker":
        """`error_class` is empty for an answer. A probe of a breaker that has tripped again since proves nothing."""
        began_at_seconds = self.probe_began_at_seconds
        if not self.is_open or began_at_seconds is None:
            return self
        if not error_class:
            return replace(self, is_answering=True, probe_began_at_seconds=None)
        return replace(
            self,
            probe_began_at_seconds=None,
            probed_at_seconds=at_seconds,
            failed_probe_began_at_seconds=began_at_seconds,
            error_class=error_class,
            is_silent=self.is_silent or error_class == PROBE_SILENT,
            retry_after_seconds=retry_after_seconds,
        )

    def is_probe_due(self, now_seconds: float, probe_seconds: float) -> bool:
        """Return True if the next probe may begin. Its wait does not grow while probes fail, because a probe costs no job."""
        if not self.is_open or self.probe_began_at_seconds is not None:
            return False
        wait_seconds = doubling(probe_seconds, MAX_RELAPSE_FACTOR * probe_seconds, self.trips - 1)
        if self.probed_at_seconds > self.tripped_at_seconds:
            wait_seconds = max(probe_seconds, self.retry_after_seconds)
        return now_seconds >= max(self.tripped_at_seconds, self.probed_at_seconds) + wait_seconds

    @property
    def ramp(self) -> int:
        """Calls admitted during recovery: 1 (the canary), then 2, 4 … after as many answers."""
        return _ramp(self.answers)


def _ramp(answers: int) -> int:
    return 1 << ((answers + 1).bit_length() - 1)
