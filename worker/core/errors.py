"""How our adapters signal. Four names and Unavailable are the contract's; the classes below them are the words of the log.

Messages name a class or a status, never what was asked or answered.
"""

from worker.ipc.contract import ErrorCode


class Unavailable(Exception):
    """The server has no room now: the job waits and burns no attempt."""


class VisionTransientError(Exception):
    """OcrResult failed in a way that a later try may cure."""


class VisionPermanentError(Exception):
    """OcrResult can never succeed; `error_code` says why where the input is at fault."""

    def __init__(self, message: str = "", error_code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class FeedbackTransientError(Exception):
    """Feedback failed in a way that a later try may cure."""


class FeedbackPermanentError(Exception):
    """Feedback can never succeed; `error_code` says why where the input is at fault."""

    def __init__(self, message: str = "", error_code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.error_code = error_code


class InvalidDocument(FeedbackTransientError):
    """The answer is not the document that was asked for."""
