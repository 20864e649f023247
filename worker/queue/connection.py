"""Opens connections with limits on every wait, checks their role, and converts errors by whose fault they are."""

import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads

from worker.names import NameLookupFailed
from worker.queue.bounded import MONITOR_BOUNDS, WORKER_BOUNDS, BoundedAsyncConnection, BoundedConnection
from worker.queue.document import read_document
from worker.queue.dsn import SERVICE_ROLES
from worker.queue.hosts import host_options, host_options_async
from worker.queue.outages import outage_of
from worker.queue.pooled import PooledAsyncConnection, PooledConnection
from worker.queue.sqlstate import Fault, fault_of, sqlstate_of
from worker.queue.statements import statement

TCP_USER_TIMEOUT_MS = 15_000
_OPEN_SESSION = statement("open_session")

Connection = psycopg.Connection[DictRow]
AsyncConnection = psycopg.AsyncConnection[DictRow]
Pooled = Literal["auto", "true", "false"]

SessionEnded = psycopg.errors.AdminShutdown  # the server sends it in place of a result and before a commit, never after one
_UNANSWERED = ("08", "28", "3D", "53300", "57P")  # codes of a server that does not let a client in, or ends its connection
_ADAPTERS = AdaptersMap(psycopg.adapters)
set_json_loads(read_document, _ADAPTERS)


class DatabaseUnavailable(Exception):
    """The database cannot serve now: wait, connect again, repeat. The message is the class of the error and nothing else.

    `suspect` is the SQLSTATE of an error that may be the fault of the statement's row. It is empty for every other error.
    """

    def __init__(self, error_class: str, suspect: str = "") -> None:
        super().__init__(error_class)
        self.suspect = suspect


class RowRefused(Exception):
    """The database refuses this one row. The connection stays usable, and other rows are not concerned."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


class UnsuitableDatabase(Exception):
    """The database or its role must not be used, and waiting would not help."""


def connect(dsn: str, application_name: str, *, allows_service_role: bool = False, pooled: Pooled = "auto") -> Connection:
    """Open an autocommit connection. Raises DatabaseUnavailable or UnsuitableDatabase.

    With `pooled` auto, the first statement detects a transaction pooler, and a second connection is opened for it. With `true`
    the first connection is saved.
    """
    with outages_named(names_row=False):
        found = options(application_name) | host_options(dsn)
        if pooled != "true":
            connection = BoundedConnection.connect(dsn, **found, row_factory=dict_row)
            _reject_unsuitable(connection, allows_service_role=allows_service_role)
            row = connection.execute(_OPEN_SESSION, _session_values(connection, WORKER_BOUNDS, pooled)).fetchone()
            if row and row["is_own"]:
                return connection
            connection.close()
        shared = PooledConnection.connect(dsn, **found, row_factory=dict_row, prepare_threshold=None)
    _reject_unsuitable(shared, allows_service_role=allows_service_role)
    return shared


async def connect_monitor(
    dsn: str, application_name: str, *, allows_service_role: bool = False, pooled: Pooled = "auto"
) -> AsyncConnection:
    """Open the same for the monitor's event loop. Raises psycopg's errors, NameLookupFailed or UnsuitableDatabase."""
    found = options(application_name) | await host_options_async(dsn)
    if pooled != "true":
        connection = await BoundedAsyncConnection.connect(dsn, **found, row_factory=dict_row)
        _reject_unsuitable(connection, allows_service_role=allows_service_role)
        cursor = await connection.execute(_OPEN_SESSION, _session_values(connection, MONITOR_BOUNDS, pooled))
        row = await cursor.fetchone()
        if row and row["is_own"]:
            return connection
        await connection.close()
    shared = await PooledAsyncConnection.connect(dsn, **found, row_factory=dict_row, prepare_threshold=None)
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
    sqlstate = sqlstate_of(error) if isinstance(error, psycopg.Error) else None
    return sqlstate is not None and not sqlstate.startswith(_UNANSWERED)


def check_open(connection: Connection) -> None:
    """Raise the server's error if it has ended the idle connection. Then the next statement need not be sent to learn that.

    The end makes the connection readable. So does a changed parameter, therefore a statement without effect decides.
    """
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        connection.execute("select 1")


def refused_row(error: psycopg.Error) -> str | None:
    """Return the SQLSTATE of an error that is, or may be, the fault of the one row that the statement named."""
    sqlstate = sqlstate_of(error)
    return sqlstate if sqlstate and fault_of(sqlstate) is not Fault.SURROUNDINGS else None


@contextmanager
def outages_named(*, names_row: bool = True) -> Iterator[None]:
    """Convert psycopg's errors by the table in sqlstate.py: to DatabaseUnavailable, or to RowRefused.

    Errors without a reply are outages, and so are all errors of statements that name no row, a wrong password included.
    An error of the program itself, such as a wrong parameter, is not converted.
    """
    try:
        yield
    except NameLookupFailed as failure:
        raise DatabaseUnavailable(outage_of(failure)) from failure
    except psycopg.Error as error:
        sqlstate = sqlstate_of(error)
        if sqlstate is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            raise
        fault = fault_of(sqlstate) if sqlstate and names_row else Fault.SURROUNDINGS
        if sqlstate and fault is Fault.ROW:
            raise RowRefused(sqlstate) from error
        suspect = sqlstate if sqlstate and fault is Fault.SUSPECT else ""
        raise DatabaseUnavailable(outage_of(error), suspect) from error


def _session_values(connection: Connection | AsyncConnection, bounds: Mapping[str, int], pooled: Pooled) -> dict[str, Any]:
    return {**bounds, "backend_pid": connection.info.backend_pid, "is_trusted": pooled == "false"}
