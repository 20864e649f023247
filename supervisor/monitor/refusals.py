"""Refusals of a connection: by class, what the database or this process refuses, and the remedy. Other classes are outages."""

from worker.queue.outages import EXHAUSTED

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


def refusal(outage: str, address: str, period: str) -> str | None:
    """Return the message about a refusal, None for a class that is none. `address`: role, host and database."""
    if outage not in REFUSALS:
        return None
    what, remedy = REFUSALS[outage]
    return f"{what} ({outage}, {address}){period}. No submission is lost, but pupils get no feedback meanwhile. {remedy}"


def refusal_of_workers(outage: str, address: str) -> str | None:
    """Return the message about workers that are refused while the monitor is connected, None for a class that is none."""
    if outage not in REFUSALS:
        return None
    what, remedy = REFUSALS[outage]
    return (
        f"Workers get no connection to the database ({outage}, {address}), so feedback takes longer. No submission is lost. "
        f"{what.replace('The monitor', 'A worker')}. {remedy}"
    )
