"""The class of a refused connection, from the text that libpq passes on."""

import errno
import os

import pytest
from psycopg import OperationalError, errors

from worker.queue.outages import EXHAUSTED, UNTRUSTED, is_exhausted, outage_of

PREFIX = 'connection failed: connection to server at "db", port 5432 failed: FATAL:  '
TEXTS = {
    'password authentication failed for user "pupil"': "InvalidPassword",
    'role "pupil" does not exist': "InvalidAuthorizationSpecification",
    'role "pupil" is not permitted to log in': "InvalidAuthorizationSpecification",
    'no pg_hba.conf entry for host "10.0.0.9", user "pupil", database "school"': "InvalidAuthorizationSpecification",
    'pg_hba.conf rejects connection for host "10.0.0.9", user "pupil", database "school"': "InvalidAuthorizationSpecification",
    'Peer authentication failed for user "pupil"': "InvalidAuthorizationSpecification",
    'database "school" does not exist': "InvalidCatalogName",
    "sorry, too many clients already": "TooManyConnections",
    "remaining connection slots are reserved for roles with the SUPERUSER attribute": "TooManyConnections",
    'too many connections for role "pupil"': "TooManyConnections",
    'too many connections for database "school"': "TooManyConnections",
    "the database system is starting up": "CannotConnectNow",
    "the database system is in recovery mode": "CannotConnectNow",
    "the database system is not yet accepting connections": "CannotConnectNow",
    "the database system is shutting down": "AdminShutdown",
    "Passwort-Authentifizierung": "OperationalError",
}


@pytest.mark.parametrize(("text", "name"), TEXTS.items(), ids=TEXTS.keys())
def test_a_text_of_the_server_names_the_class(text: str, name: str) -> None:
    """The texts are those of PostgreSQL's sources. Another language than English is an outage of unknown class."""
    assert outage_of(OperationalError(PREFIX + text)) == name


@pytest.mark.parametrize(
    "text",
    [
        "SSL error: certificate verify failed",
        'server certificate for "db.school" does not match host name "db"',
        'server certificate for "db.school" (and 2 other names) does not match host name "db"',
    ],
)
def test_a_text_of_libpq_about_the_certificate_names_the_class(text: str) -> None:
    """The server is there, and waiting does not help."""
    assert outage_of(OperationalError(f'connection to server at "db", port 5432 failed: {text}')) == UNTRUSTED


def test_an_error_with_a_class_of_its_own_keeps_it() -> None:
    """An SQLSTATE is more exact than any text."""
    assert outage_of(errors.DiskFull("too many clients already")) == "DiskFull"


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS])
def test_an_exhausted_system_is_named(number: int) -> None:
    """The limits of the process, of the host, and of its network buffers."""
    assert outage_of(OSError(number, os.strerror(number))) == EXHAUSTED
    assert not is_exhausted(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
