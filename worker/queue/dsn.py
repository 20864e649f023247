"""What a DSN says before anything is connected."""

import hashlib

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

SERVICE_ROLES = frozenset({"postgres", "service_role", "supabase_admin"})


def role_of(dsn: str) -> str:
    """The role named in a URL or key=value DSN, or '' where libpq would choose. Raises ValueError without showing the DSN."""
    try:
        return str(conninfo_to_dict(dsn).get("user") or "")
    except ProgrammingError:
        raise ValueError("give a PostgreSQL DSN such as postgresql://role:password@host/database") from None


def database_of(dsn: str) -> str:
    """A short hash of the database a DSN leads to, whoever logs in. Raises ProgrammingError for what is no DSN."""
    parts = conninfo_to_dict(dsn)
    named = "\n".join(str(parts.get(key) or "") for key in ("host", "hostaddr", "port", "dbname"))
    return hashlib.sha256(named.encode()).hexdigest()[:16]
