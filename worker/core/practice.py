"""Practice attempts, which end together with the job that judges them. Their rules are the platform's."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.core.adapter_codes import PRACTICE_ANALYSIS_INVALID, accepted_code
from worker.core.outcome import Failed
from worker.core.platform import Platform
from worker.ipc.contract import Step

NOT_COMPLETED = "practice_not_completed"  # the platform's function failed otherwise


@dataclass(frozen=True, slots=True)
class Practice:
    """The platform's two functions. They write on the worker's connection, inside its transaction, and commit nothing."""

    complete: Callable[..., object]
    fail: Callable[..., object]


class AttemptRefused(Exception):
    """The platform's function refuses the result of an attempt. `reason` becomes the error code of attempt and job."""

    def __init__(self, reason: str, error_class: str) -> None:
        super().__init__(reason)
        self.reason, self.error_class = reason, error_class

    @classmethod
    def of(cls, error: Exception) -> "AttemptRefused":
        """Return the refusal. A ValueError is about the analysis, anything else about the attempt or a bug of the platform."""
        return cls(PRACTICE_ANALYSIS_INVALID if isinstance(error, ValueError) else NOT_COMPLETED, type(error).__name__)

    def failure(self, platform: Platform) -> Failed:
        """The failure to write instead: the submission gets the most precise code that the database takes."""
        code = accepted_code(PRACTICE_ANALYSIS_INVALID, platform, Step.FEEDBACK)
        return Failed(code, self.reason, self.reason if self.reason == PRACTICE_ANALYSIS_INVALID else self.error_class)
