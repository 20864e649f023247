"""How a call to Ollama fails. The classes are the words of the log. Messages name a class or a status, never a text."""

from worker.core.errors import FeedbackPermanentError, FeedbackTransientError, VisionPermanentError, VisionTransientError
from worker.ipc.contract import ErrorCode


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
