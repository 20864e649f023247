"""Exceptions of the adapters. `Unavailable` and the four transient and permanent errors are the platform's contract.

Their subclasses appear in the log by name. Messages contain a class or a status, never a request or an answer.
"""

from worker.ipc.contract import ErrorCode


class Unavailable(Exception):
    """The server has no capacity now: 503 or 429. The job is held and uses no attempt."""


class VisionTransientError(Exception):
    """Reading failed, but a later try may succeed."""


class VisionPermanentError(Exception):
    """Reading can never succeed. `error_code` is set if the input is at fault."""

    def __init__(self, message: str = "", error_code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class FeedbackTransientError(Exception):
    """Feedback failed, but a later try may succeed."""


class FeedbackPermanentError(Exception):
    """Feedback can never succeed. `error_code` is set if the input is at fault."""

    def __init__(self, message: str = "", error_code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class InvalidDocument(FeedbackTransientError):
    """The answer does not match the requested schema."""


class ContextQuoted(InvalidDocument):
    """The answer quotes the teacher's confidential context."""
