"""Opens connections with limits on every wait, checks their role, and converts outages to DatabaseUnavailable."""

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
from worker.queue.outages import outage_of
from worker.queue.pooled import PooledAsyncConnection, PooledConnection
from worker.queue.statements import statement

CONNECT_TIMEOUT_SECONDS = 5
TCP_USER_TIMEOUT_MS = 15_000
_OPEN_SESSION = statement("open_session")

Connection = psycopg.Connection[DictRow]
AsyncConnection = psycopg.AsyncConnection[DictRow]
Pooled = Literal["auto", "true", "false"]

_MIGRATION_ERRORS = (  # an administrator is changing tables or rights
    errors.InsufficientPrivilege,
    errors.InvalidSchemaName,
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.UndefinedFunction,
    errors.InternalError_,  # an object was dropped while the statement ran
    errors.FeatureNotSupported,  # a prepared statement whose table has changed: a new connection prepares it again
)
_SERVER_ERRORS = (  # damaged files of the server, or a session that has lost its state
    errors.DataCorrupted,
    errors.IndexCorrupted,
    errors.TransactionTimeout,
    errors.IdleInTransactionSessionTimeout,
    errors.InvalidSqlStatementName,  # a pooler that was not recognised as one
    errors.DuplicatePreparedStatement,
)
_REFUSALS = (errors.LockNotAvailable, errors.ReadOnlySqlTransaction, *_MIGRATION_ERRORS)
_ADAPTERS = AdaptersMap(psycopg.adapters)
set_json_loads(read_document, _ADAPTERS)


class DatabaseUnavailable(Exception):
    """The database cannot serve now: wait, connect again, repeat. The message is the class of the error and nothing else."""


class UnsuitableDatabase(Exception):
    """The database or its role must not be used, and waiting would not help."""


def connect(dsn: str, application_name: str, *, allows_service_role: bool = False, pooled: Pooled = "auto") -> Connection:
    """Open an autocommit connection. Raises DatabaseUnavailable or UnsuitableDatabase.

    With `pooled` auto, the first statement detects a transaction pooler, and a second connection is opened for it. With `true`
    the first connection is saved.
    """
    with outages_named():
        if pooled != "true":
            connection = BoundedConnection.connect(dsn, **options(application_name), row_factory=dict_row)
            _reject_unsuitable(connection, allows_service_role=allows_service_role)
            row = connection.execute(_OPEN_SESSION, _session_values(connection, WORKER_BOUNDS, pooled)).fetchone()
            if row and row["is_own"]:
                return connection
            connection.close()
        shared = PooledConnection.connect(dsn, **options(application_name), row_factory=dict_row, prepare_threshold=None)
    _reject_unsuitable(shared, allows_service_role=allows_service_role)
    return shared


async def connect_monitor(
    dsn: str, application_name: str, *, allows_service_role: bool = False, pooled: Pooled = "auto"
) -> AsyncConnection:
    """Open the same for the monitor's event loop. Raises psycopg's errors, or UnsuitableDatabase."""
    if pooled != "true":
        connection = await BoundedAsyncConnection.connect(dsn, **options(application_name), row_factory=dict_row)
        _reject_unsuitable(connection, allows_service_role=allows_service_role)
        cursor = await connection.execute(_OPEN_SESSION, _session_values(connection, MONITOR_BOUNDS, pooled))
        row = await cursor.fetchone()
        if row and row["is_own"]:
            return connection
        await connection.close()
    shared = await PooledAsyncConnection.connect(dsn, **options(application_name), row_factory=dict_row, prepare_threshold=None)
    _reject_unsuitable(shared, allows_service_role=allows_service_role)
    return shared


def is_pooled(connection: Connection | AsyncConnection) -> bool:
    """Report whether sessions are shared with other clients: then no state may stay in one, and LISTEN does not work."""
    return isinstance(connection, PooledConnection | PooledAsyncConnection)


def options(application_name: str) -> dict[str, Any]:
    """Return libpq's options, all of which a pooler accepts.

    The timeouts detect a dead network in seconds, where the kernel's default takes two hours.
    """
    return {
        "autocommit": True,
        "application_name": application_name,
        "client_encoding": "utf8",  # overrides a setting of the role, because texts may be in any alphabet
        "context": _ADAPTERS,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": TCP_USER_TIMEOUT_MS,
    }


def _reject_unsuitable(connection: Connection | AsyncConnection, *, allows_service_role: bool) -> None:
    """Raise UnsuitableDatabase for a role that bypasses row security and for an encoding that cannot store every alphabet.

    libpq reports both when it connects, so this takes no round trip. Some poolers do not pass the encoding on.
    """
    role = connection.info.user
    is_superuser = connection.info.parameter_status("is_superuser") == "on"
    encoding = connection.info.parameter_status("server_encoding") or "UTF8"
    if (is_superuser or role in SERVICE_ROLES) and not allows_service_role:
        connection.pgconn.finish()
        raise UnsuitableDatabase(
            f"the database role {role} can read the work of every pupil, because it bypasses row security: "
            "use the restricted role of the workers"
        )
    if encoding != "UTF8":
        connection.pgconn.finish()
        raise UnsuitableDatabase(
            f"the database has the encoding {encoding}, which cannot store every text: use a database with the encoding UTF8"
        )


def has_answered(error: BaseException) -> bool:
    """Report whether the database works but refused this statement: a lock, a missing right or a missing table is the cause."""
    return isinstance(error, _REFUSALS)


@contextmanager
def outages_named() -> Iterator[None]:
    """Convert every error that may be gone at a later try to DatabaseUnavailable, a wrong password included.

    psycopg's OperationalError covers the SQLSTATE classes 08, 53, 57 and 58, lock timeouts and deadlocks. Examples are a full
    disk, a shutdown and too many connections. psycopg classes a read-only standby, a missing right or table, and damaged files
    as errors of the program. They must be converted too, because no job causes them. A crash would be counted against one job
    after another until all had failed.
    """
    try:
        yield
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        errors.ReadOnlySqlTransaction,
        *_MIGRATION_ERRORS,
        *_SERVER_ERRORS,
    ) as error:
        raise DatabaseUnavailable(outage_of(error)) from error


def _session_values(connection: Connection | AsyncConnection, bounds: Mapping[str, int], pooled: Pooled) -> dict[str, Any]:
    return {**bounds, "backend_pid": connection.info.backend_pid, "is_trusted": pooled == "false"}
