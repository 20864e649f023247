"""Refusals of a connection: by class, the cause in words and the remedy. Other classes are outages."""

from worker.names import NameLookupTimeout, NameNotResolved
from worker.queue.outages import EXHAUSTED

_UNRESOLVED = (
    "The database's host name is not resolved",
    "Repair the name servers of this host. Then work resumes automatically. Or correct the name in LEARNING_DATABASE_URL, then "
    "restart the service.",
)

REFUSALS: dict[str, tuple[str, str]] = {
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
    NameNotResolved.__name__: _UNRESOLVED,
    NameLookupTimeout.__name__: _UNRESOLVED,
}
_OF_ONE_SESSION = frozenset({"AdminShutdown"})  # while the monitor is connected, an administrator has ended the worker's session


def refusal(outage: str, address: str, period: str) -> str | None:
    """Return the message about a refusal, None for a class that is none. `address`: role, host and database."""
    if outage not in REFUSALS:
        return None
    what, remedy = REFUSALS[outage]
    return f"{what} ({outage}, {address}){period}. No submission is lost, but pupils get no feedback meanwhile. {remedy}"


def refusal_of_workers(outage: str, address: str) -> str | None:
    """Return the message about a refusal of new connections while the monitor keeps its own, None for another class."""
    if outage not in REFUSALS or outage in _OF_ONE_SESSION:
        return None
    what, remedy = REFUSALS[outage]
    return (
        f"Workers get no connection to the database, although the monitor has one. {what} ({outage}, {address}). No submission "
        f"is lost, but feedback takes longer. {remedy}"
    )
