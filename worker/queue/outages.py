"""Names the class of an outage. libpq reports a rejected connection by its text alone, without an SQLSTATE."""

import errno
import os
import re

from psycopg import OperationalError, errors

EXHAUSTED = "DescriptorsExhausted"  # this process has no free file descriptor, or the system none
UNTRUSTED = "CertificateRejected"  # libpq does not accept the server's certificate
_EXHAUSTED_ERRNOS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS}
_REJECTIONS = {  # texts of PostgreSQL's sources, by the class of their SQLSTATE
    errors.TooManyConnections: "too many clients already|too many connections for|connection slots are reserved",
    errors.InvalidPassword: "password authentication failed|no password supplied|empty password",
    errors.InvalidCatalogName: 'database ".*" does not exist',
    errors.CannotConnectNow: "system is starting up|not yet accepting connections|not accepting connections|in recovery mode",
    errors.AdminShutdown: "system is shutting down|terminating connection",
    errors.InvalidAuthorizationSpecification: r'pg_hba\.conf|role ".*" does not exist|authentication failed|not permitted',
}
_UNTRUSTED_TEXTS = "certificate verify failed|server certificate for .* does not match"


def outage_of(error: BaseException) -> str:
    """Return the class of the error: that of its SQLSTATE, or of the text with which server or libpq rejected the connection.

    The text itself is never returned. A server with another language than English is OperationalError, as an unreachable one is.
    """
    if is_exhausted(error):
        return EXHAUSTED
    if type(error) is not OperationalError:
        return type(error).__name__
    text = str(error)
    if re.search(_UNTRUSTED_TEXTS, text):
        return UNTRUSTED
    return next((kind.__name__ for kind, pattern in _REJECTIONS.items() if re.search(pattern, text)), OperationalError.__name__)


def is_exhausted(error: BaseException) -> bool:
    """Report whether the error comes from the lack of a descriptor. libpq drops the number, so a descriptor is tried."""
    if isinstance(error, OSError):
        return error.errno in _EXHAUSTED_ERRNOS
    return type(error) is OperationalError and not _has_free_descriptor()


def _has_free_descriptor() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno not in _EXHAUSTED_ERRNOS
    return True
