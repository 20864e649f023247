"""Practice attempts, which end together with the job that judges them. Their rules are the platform's."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.core.outcome import Failed
from worker.core.platform import Platform
from worker.ipc.contract import ErrorCode

ANALYSIS_INVALID = "practice_analysis_invalid"  # the platform's code: the analysis is not one of the attempt's criteria
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
    def of(cls, error: BaseException) -> "AttemptRefused":
        """A ValueError is about the analysis, anything else about the attempt or a bug of the platform."""
        return cls(ANALYSIS_INVALID if isinstance(error, ValueError) else NOT_COMPLETED, type(error).__name__)

    def failure(self, platform: Platform) -> Failed:
        """The failure to write instead: the submission gets the most precise code that the database takes."""
        invalid = platform.code("feedback_invalid_analysis", ErrorCode.FEEDBACK_FAILED)
        code = invalid if ANALYSIS_INVALID not in platform.error_codes else ANALYSIS_INVALID
        return Failed(code, self.reason, self.reason if self.reason == ANALYSIS_INVALID else self.error_class)
