"""How our adapters signal. Four names and Unavailable are the contract's; the classes below them are the words of the log.

Messages name a class or a status, never what was asked or answered.
"""

from worker.core.outcome import ErrorCode


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


class ServerFailed(VisionTransientError, FeedbackTransientError):
    """No whole answer this time, whichever step asked."""


class ServerUnreachable(ServerFailed):
    """No connection could be made."""


class ServerError(ServerFailed):
    """An error status, or an error in the middle of the stream: a runner that died, a load that failed."""


class ModelMissing(ServerFailed):
    """404: nobody has pulled the model."""


class StreamBroken(ServerFailed):
    """The connection or the stream ended before the answer did, or carried what Ollama does not send."""


class FirstTokenTimeout(ServerFailed):
    """Nothing was said within four fifths of the time."""


class TokenTimeout(ServerFailed):
    """It began to speak and stopped."""


class AnswerTimeout(ServerFailed):
    """The whole time has passed."""


class AnswerTruncated(ServerFailed):
    """The model used up its tokens before it came to an end."""


class EmptyAnswer(ServerFailed):
    """The model was loaded or unloaded only, or thought and said nothing."""


class Runaway(ServerFailed):
    """The model repeats itself, or says more than its number of tokens explains. The stream was closed."""


class InvalidDocument(FeedbackTransientError):
    """The answer is not the document that was asked for."""


class BadRequest(VisionPermanentError, FeedbackPermanentError):
    """400: the server will never answer this request."""


class PromptTooLong(BadRequest):
    """It does not fit into the model's context window."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, ErrorCode.INPUT_TOO_LARGE)


class ImageUnreadable(BadRequest):
    """The server cannot decode the picture."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, ErrorCode.INPUT_CORRUPT)
