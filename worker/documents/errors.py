"""The ways in which the file of a submission cannot be read, by the store or the disk and not by the file.

The log shows the class names, and the monitor holds pictures back by them. No message contains a key, a URL or a file name.
"""

from http import HTTPStatus

from pydantic import BaseModel, ValidationError

from worker.core.errors import VisionTransientError

MAX_ERROR_BYTES = 65_536  # of a store's reply with an error
_REJECTED = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_NO_BUCKET = frozenset({"NoSuchBucket", "Bucket not found", "TenantNotFound", "InvalidBucketName"})
_REJECTED_WORDS = frozenset({"InvalidJWT", "AccessDenied", "ExpiredToken", "SignatureDoesNotMatch", "Unauthorized"})


class FileUnavailable(VisionTransientError):
    """The file could not be read. It may be fine."""


class StoreUnreachable(FileUnavailable):
    """No connection to the object store could be made."""


class StoreNameUnresolved(StoreUnreachable):
    """The object store's host name has no address, or its lookup did not end in time."""


class StoreRejected(FileUnavailable):
    """The store does not accept the key, or has no such bucket."""


class StoreFailed(FileUnavailable):
    """An error status, a redirect, a compressed or broken reply, or none in time."""


class StoreBusy(FileUnavailable):
    """429 or 503: the store asks for a pause of `retry_after_seconds`, 0 if it names none."""

    def __init__(self, message: str = "", retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StoreFileMissing(FileUnavailable):
    """The bucket or the root is there, and the file is not."""


class RootUnreadable(FileUnavailable):
    """The local root, its bucket or a file in it cannot be read: it is missing, not mounted, or its rights forbid it."""


class FileTimeout(FileUnavailable):
    """The disk did not return the file in time."""


LOCAL_ERRORS = {error.__name__: error for error in (StoreFileMissing, RootUnreadable)}  # of a file below the root


class _ErrorReply(BaseModel):
    """The platform's store answers many errors with status 400. Its body has the status as text, and a word for the error."""

    statusCode: str | int = ""  # noqa: N815  the store's name
    code: str = ""
    error: str = ""


def error_of_answer(status: int, body: bytes, retry_after_seconds: float = 0.0) -> FileUnavailable:
    """The error that a status other than 200 means for a file. Its message has the status alone."""
    reply = _parsed(body)
    statuses, words = {status, _number(reply.statusCode)}, {reply.code, reply.error}
    message = f"object store answered {status}"
    if statuses & _BUSY:
        return StoreBusy(message, retry_after_seconds)
    if statuses & _REJECTED or words & (_NO_BUCKET | _REJECTED_WORDS):
        return StoreRejected(message)
    return StoreFileMissing(message) if HTTPStatus.NOT_FOUND in statuses else StoreFailed(message)


def _parsed(body: bytes) -> _ErrorReply:
    try:
        return _ErrorReply.model_validate_json(body)
    except ValidationError:
        return _ErrorReply()


def _number(text: str | int) -> int:
    return int(text) if str(text).isdecimal() and len(str(text)) <= len("000") else 0
