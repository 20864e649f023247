"""How our adapters signal. The names are the platform's; other packages bring classes of their own under the same names."""

from worker.core.job import ErrorCode


class Unavailable(Exception):
    """The server has no room now: the job waits and burns no attempt."""


class VisionTransientError(Exception):
    """Reading failed in a way that a later try may cure."""


class VisionPermanentError(Exception):
    """Reading can never succeed; `error_code` says why where the input is at fault."""

    def __init__(self, message: str, error_code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class FeedbackTransientError(Exception):
    """Feedback failed in a way that a later try may cure."""


class FeedbackPermanentError(Exception):
    """Feedback can never succeed."""
