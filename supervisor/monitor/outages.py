"""Outages of the database in words: what fails, its class, since when, and the remedy."""

from worker.names import NameLookupTimeout, NameNotResolved
from worker.queue.outages import EXHAUSTED, UNTRUSTED

_EFFECT = "No submission is lost, but pupils get no feedback meanwhile."
_REMEDY = "Check the database. Then work resumes automatically."
_UNRESOLVED = (
    "The database's host name is not resolved",
    "Repair the name servers of this host. Then work resumes automatically. Or correct the name in LEARNING_DATABASE_URL, then "
    "restart the service.",
)
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
        "Create the database. Then work resumes automatically. Or correct the name in LEARNING_DATABASE_URL, then restart the "
        "service.",
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
        "No file descriptor is free for a connection to the database",
        "Raise the limit of open files (LimitNOFILE) and restart the service.",
    ),
    UNTRUSTED: (
        "The certificate of the database server is not accepted",
        "Name the certificate of its authority with sslrootcert, and the host of its certificate, in LEARNING_DATABASE_URL, then "
        "restart the service.",
    ),
    NameNotResolved.__name__: _UNRESOLVED,
    NameLookupTimeout.__name__: _UNRESOLVED,
}
RIGHT_MISSING = "InsufficientPrivilege"
GRANT = "`learning-supervisor check` names the missing right: grant it. Then work resumes automatically."
_OF_ONE_SESSION = frozenset({"AdminShutdown"})  # while the monitor is connected, an administrator has ended the worker's session


def remedy_of(outage: str) -> str:
    """Return the remedy for `check`, beside which no service runs: the first sentence of that for `status`, or '' if unknown."""
    _, remedy = _KNOWN.get(outage, ("", ""))
    first = remedy.partition(". ")[0].removesuffix(".").removesuffix(", then restart the service")
    return first[:1].lower() + first[1:]


def lost_by_monitor(outage: str, address: str, period: str, *, has_error_reply: bool) -> str:
    """Return the message about the monitor's connection. `address`: role, host and database."""
    if outage in _KNOWN:
        what, remedy = _KNOWN[outage]
        return f"{what} ({outage}, {address}){period}. {_EFFECT} {remedy}"
    if has_error_reply:
        return f"The database answers, but does not let the service use the queue ({outage}){period}. {_EFFECT} {_REMEDY}"
    return f"The database cannot be reached ({outage}){period}. {_EFFECT} {_REMEDY}"


def lost_by_monitor_alone(outage: str, period: str) -> str:
    """Return the message about the monitor's connection, while workers reach the database."""
    _, remedy = _KNOWN.get(outage, ("", "Check the database. The monitor connects again by itself."))
    return (
        f"The monitor has no connection to the database ({outage}){period}, so the number of waiting submissions is unknown. The "
        f"workers have theirs and complete submissions. Each waits for up to WORKER_POLL_INTERVAL longer. {remedy}"
    )


def silent(period: str) -> str:
    """Return the message about a database that is connected and sends no reply."""
    return f"The database is connected, but does not answer{period}. {_EFFECT} {_REMEDY}"


def lost_by_workers(outage: str, address: str) -> str:
    """Return the message about the workers' connections, while that of the monitor works."""
    if outage in _KNOWN.keys() - _OF_ONE_SESSION:
        what, remedy = _KNOWN[outage]
        return (
            f"Workers get no connection to the database, although the monitor has one. {what} ({outage}, {address}). "
            f"No submission is lost, but feedback takes longer. {remedy}"
        )
    if outage == RIGHT_MISSING:
        return (
            f"The database answers, but the role of the workers lacks a right ({outage}, {address}). No submission is lost, but "
            f"pupils get no feedback meanwhile. {GRANT}"
        )
    return (
        f"The database answers, but statements of the workers fail ({outage}). No submission is lost, workers try again. "
        "If this stays, pupils get no feedback: look for a full disk or a read-only database."
    )


def lost_by_workers_in_short(outage: str) -> str:
    """Return the same as the reason for a standstill."""
    if outage in _KNOWN.keys() - _OF_ONE_SESSION:
        what, remedy = _KNOWN[outage]
        return f"Workers get no connection to the database. {what} ({outage}). {remedy}"
    if outage == RIGHT_MISSING:
        return f"The role of the workers lacks a right ({outage}). {GRANT}"
    return f"Statements of the workers fail ({outage}). Check the database."
