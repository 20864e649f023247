"""Outages of the database in words: what fails, its class, since when, and the remedy."""

from worker.names import NameLookupTimeout, NameNotResolved
from worker.queue.outages import EXHAUSTED

_EFFECT = "No submission is lost, but pupils get no feedback meanwhile."
_REMEDY = "Check the database. Then work resumes automatically."
_UNRESOLVED = frozenset({NameNotResolved.__name__, NameLookupTimeout.__name__})
_KNOWN: dict[str, tuple[str, str]] = {
    "InvalidPassword": (
        "The database rejects the password of its role",
        "Correct the password in LEARNING_DATABASE_URL, then restart the service.",
    ),
    "InvalidAuthorizationSpecification": (
        "The database does not let its role in",
        "The role is missing, may not log in, or pg_hba.conf has no entry for this host: correct that in the database.",
    ),
    "InvalidCatalogName": (
        "The server has no database of this name",
        "Correct the name in LEARNING_DATABASE_URL, or create the database.",
    ),
    "TooManyConnections": (
        "The database has no free connection",
        "Raise max_connections or the limit of the role, or end other clients. Then work resumes automatically.",
    ),
    "CannotConnectNow": (
        "The database is starting and accepts no connection yet",
        "Wait for the end of its start. Then work resumes automatically.",
    ),
    "AdminShutdown": (
        "The database is shutting down, or an administrator ended the connection",
        "Start the database again. Then work resumes automatically.",
    ),
    EXHAUSTED: (
        "The monitor has no free file descriptor, so it cannot connect to the database",
        "Raise the limit of open files (LimitNOFILE) and restart the service.",
    ),
}


def lost_by_monitor(outage: str, address: str, period: str, *, has_error_reply: bool) -> str:
    """Return the message about the monitor's connection. `address`: role, host and database."""
    if outage in _KNOWN:
        what, remedy = _KNOWN[outage]
        return f"{what} ({outage}, {address}){period}. {_EFFECT} {remedy}"
    if has_error_reply:
        return f"The database answers, but does not let the service use the queue ({outage}){period}. {_EFFECT} {_REMEDY}"
    if outage in _UNRESOLVED:
        return (
            f"The database's host name is not resolved ({outage}){period}. {_EFFECT} "
            "Check LEARNING_DATABASE_URL and the name servers of this host. Then work resumes automatically."
        )
    return f"The database cannot be reached ({outage}){period}. {_EFFECT} {_REMEDY}"


def silent(period: str) -> str:
    """Return the message about a database that is connected and sends no reply."""
    return f"The database is connected, but does not answer{period}. {_EFFECT} {_REMEDY}"


def lost_by_workers(outage: str) -> str:
    """Return the message about the workers' connections, while that of the monitor works."""
    if outage in _UNRESOLVED:
        return (
            f"The workers do not find the database, because its host name is not resolved ({outage}). {_EFFECT} "
            "Check the name servers of this host. Then work resumes automatically."
        )
    return (
        f"The database answers, but statements of the workers fail ({outage}). No submission is lost, workers try again. "
        "If this stays, pupils get no feedback: look for a full disk or a read-only database."
    )


def lost_by_workers_in_short(outage: str) -> str:
    """Return the same as the reason for a standstill."""
    if outage in _UNRESOLVED:
        return f"The host name of the database is not resolved for the workers ({outage}). Check the name servers of this host."
    return f"Statements of the workers fail ({outage}). Check the database."
