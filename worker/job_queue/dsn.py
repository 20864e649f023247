"""What a DSN says before anything is connected."""

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict


def role_of(dsn: str) -> str:
    """The role named in a URL or key=value DSN, or '' where libpq would choose. Raises ValueError without showing the DSN."""
    try:
        return str(conninfo_to_dict(dsn).get("user") or "")
    except ProgrammingError:
        raise ValueError("give a PostgreSQL DSN such as postgresql://role:password@host/database") from None
