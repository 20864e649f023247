"""Reads a connection string (DSN) without connecting."""

import hashlib
import os
from collections.abc import Mapping

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

SERVICE_ROLES = frozenset({"postgres", "service_role", "supabase_admin"})


def role_of(dsn: str) -> str:
    """Return the role named in a URL or key=value DSN, or '' if it names none. Raises ValueError without quoting the DSN."""
    try:
        return str(conninfo_to_dict(dsn).get("user") or "")
    except ProgrammingError:
        raise ValueError("give a PostgreSQL DSN such as postgresql://role:password@host/database") from None


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


def database_of(dsn: str) -> str:
    """Return a short hash of the database, equal for all roles. Raises ProgrammingError if the text is not a DSN."""
    parts = conninfo_to_dict(dsn)
    named = "\n".join(str(parts.get(key) or "") for key in ("host", "hostaddr", "port", "dbname"))
    return hashlib.sha256(named.encode()).hexdigest()[:16]
