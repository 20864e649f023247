"""Opens connections: whose session it is, bounds on every wait, and all outages under one name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from psycopg import errors
from psycopg.adapt import AdaptersMap
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads

from worker.queue.bounded import MONITOR_BOUNDS, WORKER_BOUNDS, BoundedAsyncConnection, BoundedConnection
from worker.queue.document import read_document
from worker.queue.dsn import SERVICE_ROLES
from worker.queue.pooled import PooledAsyncConnection, PooledConnection
from worker.queue.statements import statement

CONNECT_TIMEOUT_SECONDS = 5
TCP_USER_TIMEOUT_MS = 15_000
_OPEN_SESSION = statement("open_session")

Connection = psycopg.Connection[DictRow]
AsyncConnection = psycopg.AsyncConnection[DictRow]
Pooled = Literal["auto", "true", "false"]

_MIGRATING = (  # somebody is changing the tables, or who may do what
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InternalError_,  # what PostgreSQL had just looked up was dropped
    errors.FeatureNotSupported,  # a prepared statement whose table has changed: the next connection prepares it anew
)
_BROKEN = (  # files of the server, or a session that is not what it was
    errors.DataCorrupted,
    errors.IndexCorrupted,
    errors.TransactionTimeout,
    errors.IdleInTransactionSessionTimeout,
    errors.InvalidSqlStatementName,  # a pooler that was taken for none
    errors.DuplicatePreparedStatement,
)
_IN_THE_WAY = (errors.LockNotAvailable, errors.ReadOnlySqlTransaction, *_MIGRATING)
_ADAPTERS = AdaptersMap(psycopg.adapters)
set_json_loads(read_document, _ADAPTERS)


class DatabaseUnavailable(Exception):
    """The database cannot serve now: wait, connect again, repeat. Carries the class of the error alone."""


class UnsuitableDatabase(Exception):
    """The database must not be used like this; waiting would not help."""


def connect(dsn: str, application_name: str, *, allows_service_role: bool = False, pooled: Pooled = "auto") -> Connection:
    """An autocommit connection whose single statements are one round trip each. Raises DatabaseUnavailable or UnsuitableDatabase.

    Where `pooled` is auto the first round trip tells; a pooler costs a second connection then, `true` saves it.
    """
    with outages_named():
        if pooled != "true":
            connection = BoundedConnection.connect(dsn, **options(application_name), row_factory=dict_row)
            refuse_unfit(connection, allows_service_role=allows_service_role)
            row = connection.execute(_OPEN_SESSION, _asked(connection, WORKER_BOUNDS, pooled)).fetchone()
            if row and row["is_own"]:
                return connection
            connection.close()
        shared = PooledConnection.connect(dsn, **options(application_name), row_factory=dict_row, prepare_threshold=None)
    refuse_unfit(shared, allows_service_role=allows_service_role)
    return shared


async def connect_monitor(
    dsn: str, application_name: str, *, allows_service_role: bool = False, pooled: Pooled = "auto"
) -> AsyncConnection:
    """The same for the monitor's loop. Raises psycopg's errors, or UnsuitableDatabase."""
    if pooled != "true":
        connection = await BoundedAsyncConnection.connect(dsn, **options(application_name), row_factory=dict_row)
        refuse_unfit(connection, allows_service_role=allows_service_role)
        cursor = await connection.execute(_OPEN_SESSION, _asked(connection, MONITOR_BOUNDS, pooled))
        row = await cursor.fetchone()
        if row and row["is_own"]:
            return connection
        await connection.close()
    shared = await PooledAsyncConnection.connect(dsn, **options(application_name), row_factory=dict_row, prepare_threshold=None)
    refuse_unfit(shared, allows_service_role=allows_service_role)
    return shared


def is_pooled(connection: Connection | AsyncConnection) -> bool:
    """Whether sessions are shared: then nothing may be left in one, and nothing is heard by one."""
    return isinstance(connection, PooledConnection | PooledAsyncConnection)


def options(application_name: str) -> dict[str, Any]:
    """libpq's bounds: a silent network is noticed in seconds, not in the kernel's two hours. Nothing a pooler refuses."""
    return {
        "autocommit": True,
        "application_name": application_name,
        "client_encoding": "utf8",  # whatever is set for the role: texts are of every alphabet
        "context": _ADAPTERS,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }


def refuse_unfit(connection: Connection | AsyncConnection, *, allows_service_role: bool) -> None:
    """Row security protects nobody from a superuser, and a database of one alphabet fails the jobs of all who use another.

    libpq reports these facts at connect: no round trip. Not every pooler passes the encoding on.
    """
    role = connection.info.user
    is_superuser = connection.info.parameter_status("is_superuser") == "on"
    encoding = connection.info.parameter_status("server_encoding") or "UTF8"
    if (is_superuser or role in SERVICE_ROLES) and not allows_service_role:
        connection.pgconn.finish()
        raise UnsuitableDatabase(f"the database role {role} bypasses row security: use the restricted role of the workers")
    if encoding != "UTF8":
        connection.pgconn.finish()
        raise UnsuitableDatabase(
            f"the database has the encoding {encoding}, which cannot hold every text: make one with encoding UTF8"
        )


def has_answered(error: BaseException) -> bool:
    """Whether a database that serves others said no to us: a lock, a right or a table is in the way."""
    return isinstance(error, _IN_THE_WAY)


@contextmanager
def outages_named() -> Iterator[None]:
    """Everything that a later try may cure becomes DatabaseUnavailable: a wrong password too, as somebody may mend it.

    psycopg has all of SQLSTATE's classes 08, 53, 57 and 58, lock timeouts and deadlocks as OperationalError: full disks,
    shutdowns, too many connections. A standby's refusal to write, a right or a table that is missing, and damage, it counts
    among the errors of a program. No job is at fault: a crash would be counted against each in turn, until all had failed.
    """
    try:
        yield
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.ReadOnlySqlTransaction, *_MIGRATING, *_BROKEN) as error:
        raise DatabaseUnavailable(type(error).__name__) from error


def _asked(connection: Connection | AsyncConnection, bounds: Mapping[str, int], pooled: Pooled) -> dict[str, Any]:
    return {**bounds, "backend_pid": connection.info.backend_pid, "is_trusted": pooled == "false"}
