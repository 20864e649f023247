"""The one connection of a worker: opened with bounds on every wait, and its outages under one name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import DictRow, dict_row

from worker.settings import SERVICE_ROLES

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_MS = 10_000
TCP_USER_TIMEOUT_MS = 15_000

Connection = psycopg.Connection[DictRow]


class Unavailable(Exception):
    """The database cannot serve now: wait, connect again, repeat. Carries the class of the error alone."""


class Refused(Exception):
    """The database must not be used like this; waiting would not help."""


def connect(dsn: str, application_name: str, *, allows_service_role: bool = False) -> Connection:
    """An autocommit connection whose single statements are one round trip each. Raises Unavailable or Refused."""
    with outages_named():
        connection = psycopg.connect(dsn, **options(application_name), autocommit=True, row_factory=dict_row)
        connection.execute(f"set statement_timeout = {STATEMENT_TIMEOUT_MS}")
    refuse_service_role(connection, allows_service_role=allows_service_role)
    return connection


def options(application_name: str) -> dict[str, Any]:
    """libpq's bounds: a silent network is noticed in seconds, not in the kernel's two hours."""
    return {
        "application_name": application_name,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }


def refuse_service_role(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], *, allows_service_role: bool) -> None:
    """Row security protects nobody from a superuser. libpq reports both facts at connect: no round trip."""
    role = connection.info.user
    is_superuser = connection.info.parameter_status("is_superuser") == "on"
    if (is_superuser or role in SERVICE_ROLES) and not allows_service_role:
        connection.pgconn.finish()
        raise Refused(f"the database role {role} bypasses row security: use the restricted role of the workers")


@contextmanager
def outages_named() -> Iterator[None]:
    """Everything that a later try may cure becomes Unavailable: a wrong password too, as somebody may mend it."""
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction) as error:
        raise Unavailable(type(error).__name__) from error
