"""Reads a connection string (DSN) without connecting."""

import hashlib
import os
import re
from collections.abc import Mapping

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

SERVICE_ROLES = frozenset({"postgres", "service_role", "supabase_admin"})
_MAX_PORT = 65_535
_LONE_PERCENT = re.compile(r"%(?![0-9a-fA-F]{2})")
_ESCAPE = "write special characters of the password with %: %40 for @, %2F for /, %3A for :, %3F for ?, %25 for %"
_EXAMPLE = "give a PostgreSQL address such as postgresql://role:password@host/database"
_DATABASE_OF_PARTS = "postgres"  # the platform's, which has no setting of its own
_DATABASE_PARTS = {"host": "host", "hostaddr": "address", "port": "port", "dbname": "name"}


def joined(user: str, password: str, host: str, port: int) -> str:
    """Return the DSN of these parts, in the platform's database. Any character may stand in the password."""
    return make_conninfo(user=user, password=password, host=host, port=port, dbname=_DATABASE_OF_PARTS)


def role_of(dsn: str) -> str:
    """Return the role named in a URL or key=value DSN, or '' if it names none. Raises ValueError without quoting the DSN."""
    try:
        return str(conninfo_to_dict(dsn).get("user") or "")
    except ProgrammingError:
        is_url = dsn.startswith(("postgresql://", "postgres://"))
        remedy = _ESCAPE if is_url and _LONE_PERCENT.search(dsn) else _EXAMPLE
        raise ValueError(remedy) from None


def fault_of(dsn: str) -> str:
    """Return the remedy for an address whose password has characters that end it too early, or '' if there is no fault.

    libpq takes the rest of such a password for host, port or database, and names these in its errors. Raises ProgrammingError
    if the text is not a DSN.
    """
    parts = {key: str(value) for key, value in conninfo_to_dict(dsn).items()}
    ports = [port for port in parts.get("port", "").split(",") if port]
    is_cut = any(sign in parts.get(key, "") for key in ("host", "hostaddr") for sign in "@ ")
    if is_cut or {"@", "/"} & set(parts.get("dbname", "")):
        return _ESCAPE
    if not all(port.isdecimal() and 0 < int(port) <= _MAX_PORT for port in ports):
        return "its port is no number from 1 to 65535. A : or / of the password must be written as %3A or %2F"
    return ""


def password_of(dsn: str) -> str:
    """Return the password in the DSN, or '' without one and for any other text."""
    try:
        return str(conninfo_to_dict(dsn).get("password") or "")
    except ProgrammingError:
        return ""


def missing_authority_of(dsn: str, environ: Mapping[str, str | None]) -> str:
    """Return the file of root certificates without which libpq would refuse every connection, or '' if it can be read.

    libpq takes what the DSN does not name from its own variables. Raises ProgrammingError if the text is not a DSN.
    """
    parts = conninfo_to_dict(dsn)
    mode = parts.get("sslmode") or environ.get("PGSSLMODE")
    path = str(parts.get("sslrootcert") or environ.get("PGSSLROOTCERT") or "")
    is_needed = mode in {"verify-ca", "verify-full"} and path not in {"", "system"}
    return path if is_needed and not os.access(path, os.R_OK) else ""


def address_of(dsn: str) -> str:
    """Return role, host and database in words, without the password. Raises ProgrammingError if the text is not a DSN."""
    parts = conninfo_to_dict(dsn)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    port, database = parts.get("port") or 5432, parts.get("dbname") or "its default"
    return f"role {parts.get('user') or 'of the system'} at {host} port {port}, database {database}"


def differing_parts(before: str, after: str) -> list[str]:
    """Return the parts that name the database and differ, in words. Raises ProgrammingError if a text is not a DSN."""
    old, new = conninfo_to_dict(before), conninfo_to_dict(after)
    return [word for key, word in _DATABASE_PARTS.items() if old.get(key) != new.get(key)]


def database_of(dsn: str) -> str:
    """Return a short hash of the database, equal for all roles. Raises ProgrammingError if the text is not a DSN."""
    parts = conninfo_to_dict(dsn)
    named = "\n".join(str(parts.get(key) or "") for key in _DATABASE_PARTS)
    return hashlib.sha256(named.encode()).hexdigest()[:16]
