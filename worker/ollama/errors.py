"""The ways in which a request to Ollama fails.

The log shows the class names. A message contains a class name or a status, never a pupil's text.
"""

from worker.core.errors import (
    FeedbackPermanentError,
    FeedbackTransientError,
    Unavailable,
    VisionPermanentError,
    VisionTransientError,
)
from worker.ipc.contract import ErrorCode


class ServerFailed(VisionTransientError, FeedbackTransientError):
    """No whole answer this time, in either step."""


class ServerUnreachable(ServerFailed):
    """No connection could be made."""


class NameUnresolved(ServerUnreachable):
    """The server's host name has no address, or its lookup did not end in time."""


class ServerError(ServerFailed):
    """An error status, or an error within the stream: a runner died or a load failed."""


class ModelMissing(ServerFailed):
    """404: the model is not installed on the server."""


class ModelElsewhere(ModelMissing):
    """The model runs on servers outside of the house, and pupils' work may not leave it. Nothing was sent."""


class LookupFailed(ServerFailed):
    """The server does not list or describe its models as Ollama does. Such a request has nothing of a pupil's work."""


class StreamBroken(ServerFailed):
    """The connection or the stream ended before the answer did, or carried data that Ollama does not send."""


class InvalidReply(StreamBroken):
    """The reply is not of the shape that Ollama sends."""


class FirstTokenTimeout(ServerFailed):
    """No token within four fifths of the time."""


class TokenTimeout(ServerFailed):
    """The stream of tokens stopped."""


class AnswerTimeout(ServerFailed):
    """The whole time has passed."""


class AnswerTruncated(ServerFailed):
    """The model used up its tokens before the end of its answer."""


class EmptyAnswer(ServerFailed):
    """The model was only loaded or unloaded, or produced thoughts and no text."""


class Runaway(ServerFailed):
    """The model repeats itself, or writes more than its number of tokens explains. The stream was closed."""


class BadRequest(VisionPermanentError, FeedbackPermanentError):
    """400: the server will never answer this request."""


class PromptTooLong(BadRequest):
    """The prompt does not fit into the model's context window."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, ErrorCode.INPUT_TOO_LARGE)


class ImageUnreadable(BadRequest):
    """The server cannot decode the picture."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, ErrorCode.INPUT_CORRUPT)


REQUEST_FAILURES = (ServerFailed, BadRequest, Unavailable)  # all that a request raises
ERROR_STATUSES = (ServerError, ModelMissing, BadRequest, Unavailable)  # of these, the server's own error replies
