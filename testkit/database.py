"""Databases with the standalone schema: fast copies of a template for tests and demo, or a user's own database.

Each has two roles: the owner, which may do everything, and a login role for workers with the rights of the platform's
workers. The schema is in `testkit/schema`.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, LiteralString
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

SCHEMA = Path(__file__).parent / "schema"
FILES_OF_2025 = ("tables.sql", "functions.sql", "notify.sql", "rights.sql")
FILES_OF_2026 = (*FILES_OF_2025, "tables_2026.sql", "functions_2026.sql", "practice_2026.sql", "rights_2026.sql")
AUDIT_FILE = "audit.sql"
Year = Literal[2025, 2026]  # of the platform's schema, as it was in 2025-12 or as it is in 2026
YEARS: tuple[Year, ...] = (2025, 2026)

MARKER = "learning-supervisor standalone schema"  # the comment in tables.sql and rights.sql
SCHEMA_LOCK = 0x6C65_6172_6E70_6701  # any number, equal in all processes

FOREIGN_OBJECTS = """
    select 'table ' || name
      from unnest(array['learning_submissions', 'learning_submission_jobs']) name
     where to_regclass('public.' || name) is not null
       and obj_description(to_regclass('public.learning_submission_jobs'), 'pg_class') is distinct from %(marker)s
    union all
    select 'role ' || rolname
      from pg_roles
     where rolname in ('learning_worker', 'learning_limited') and shobj_description(oid, 'pg_authid') is distinct from %(marker)s
"""


class DatabaseRefused(Exception):
    """The database or server does not belong to this program. The message names the remedy."""


@dataclass(frozen=True, slots=True)
class Database:
    """`admin_dsn` is the URL for the owner of the schema, `worker_dsn` for the restricted login role.

    `limited_dsn` is for a login that may take jobs, but has none of the functions of 2026. Empty in a schema of 2025-12.
    """

    name: str
    admin_dsn: str = field(repr=False)
    worker_dsn: str = field(repr=False)
    limited_dsn: str = field(repr=False, default="")


def create_database(admin_dsn: str, name: str | None = None, *, audited: bool = True, year: Year = 2025) -> Database:
    """Make a database on the superuser's server. An audited one records every result, lease and finish (audit.sql).

    Raises DatabaseRefused if the server has another program's role `learning_worker`.
    """
    name = name or f"learning_{secrets.token_hex(6)}"
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        execute(admin, "create database {} template {}", name, ensure_template(admin, admin_dsn, files_of(year, audited=audited)))
        execute(admin, "revoke all on database {} from public", name)
        owner = url(admin_dsn, dbname=name)
        return Database(name, owner, *(login_dsn(admin, owner, name, group) for group in groups(year)))


def drop_database(admin_dsn: str, database: Database) -> None:
    """Drop the database and its login role, also with open connections. `admin_dsn` must be that of `create_database`."""
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        execute(admin, "drop database if exists {} with (force)", database.name)
        for group in groups(2026):
            execute(admin, "drop role if exists {}", login_name(database.name, group))


@contextmanager
def temporary_database(admin_dsn: str, *, audited: bool = True, year: Year = 2025) -> Iterator[Database]:
    """Create a database for the length of the block."""
    database = create_database(admin_dsn, audited=audited, year=year)
    try:
        yield database
    finally:
        drop_database(admin_dsn, database)


def adopt_database(dsn: str, *, audited: bool = False, year: Year = 2025) -> Database:
    """Create or reuse the schema in a user's own database, in one transaction. A schema of 2026 stays one.

    The worker's role gets a new password each time, so two programs cannot use one database at once. Raises
    DatabaseRefused if tables or role belong to another program, as in the platform's database, or if the user of `dsn`
    may not create them.
    """
    try:
        with psycopg.connect(dsn) as owner:
            owner.execute("select pg_advisory_xact_lock(%s)", [SCHEMA_LOCK])
            refuse_foreign_objects(owner)
            year = year_of(owner) or year
            apply(owner, files_of(year, audited=audited))
            name = owner.info.dbname
            return Database(name, url(dsn), *(login_dsn(owner, dsn, name, group) for group in groups(year)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefused(f"{error}: name a user that owns the database and has CREATEROLE") from error


def migrate_to_2026(owner: psycopg.Connection) -> None:
    """Apply the changes of 2026 to a database of 2025-12, also while workers use it."""
    with owner.transaction():
        apply(owner, FILES_OF_2026[len(FILES_OF_2025) :])


def files_of(year: Year, *, audited: bool) -> tuple[str, ...]:
    files = FILES_OF_2025 if year == 2025 else FILES_OF_2026
    return (*files, AUDIT_FILE) if audited else files


def groups(year: Year) -> tuple[str, ...]:
    """Return the groups of which each login of a database is a member, the workers' first."""
    return ("learning_worker",) if year == 2025 else ("learning_worker", "learning_limited")


def year_of(owner: psycopg.Connection) -> Year | None:
    """Return 2026 for a database that has that schema already, and None for every other."""
    return 2026 if owner.execute("select where to_regclass('public.ai_usage_events') is not null").rowcount else None


def refuse_foreign_objects(connection: psycopg.Connection) -> None:
    foreign = [name for (name,) in connection.execute(FOREIGN_OBJECTS, {"marker": MARKER})]
    if foreign:
        raise DatabaseRefused(
            f"{', '.join(foreign)} in {connection.info.dbname!r} was not made by this program and may be the "
            "learning platform's: name an empty database on another server (DEMO_DATABASE_URL, for tests TEST_DATABASE_URL)"
        )


def ensure_template(admin: psycopg.Connection, admin_dsn: str, files: tuple[str, ...]) -> str:
    """Return the name of the template with this schema. The first caller on a server builds it, the others wait."""
    template = f"learning_template_{digest(files)}"
    if not is_template(admin, template):
        admin.execute("select pg_advisory_lock(%s)", [SCHEMA_LOCK])
        if not is_template(admin, template):
            build_template(admin, admin_dsn, template, files)
        admin.execute("select pg_advisory_unlock(%s)", [SCHEMA_LOCK])
    return template


def is_template(admin: psycopg.Connection, name: str) -> bool:
    query = "select from pg_database where datname = %s and datistemplate"
    return admin.execute(query, [name]).fetchone() is not None


def build_template(admin: psycopg.Connection, admin_dsn: str, template: str, files: tuple[str, ...]) -> None:
    """Build a template. The flag is set last, so a template without it is incomplete and is built again."""
    refuse_foreign_objects(admin)
    execute(admin, "drop database if exists {} with (force)", template)
    execute(admin, "create database {} template template0", template)
    with psycopg.connect(url(admin_dsn, dbname=template)) as owner:
        apply(owner, files)
    execute(admin, "alter database {} with is_template true allow_connections false", template)


def digest(files: tuple[str, ...]) -> str:
    """Hash the schema, because a server may have templates of several versions."""
    return hashlib.sha256(b"".join((SCHEMA / name).read_bytes() for name in files)).hexdigest()[:16]


def apply(owner: psycopg.Connection, files: tuple[str, ...]) -> None:
    for name in files:
        owner.execute((SCHEMA / name).read_bytes())


def login_dsn(owner: psycopg.Connection, dsn: str, database: str, group: str) -> str:
    """Make a login role of this database, a member of the group, or change its password. Return its URL."""
    name, password = login_name(database, group), secrets.token_urlsafe(24)
    if owner.execute("select from pg_roles where rolname = %s", [name]).fetchone() is None:
        execute(owner, "create role {} login in role {}", name, group)
    owner.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(name), sql.Literal(password)))
    execute(owner, "grant connect on database {} to {}", database, name)
    return url(dsn, user=name, password=password)


def login_name(database: str, group: str) -> str:
    return f"{database}_{group.removeprefix('learning_')}"


def execute(connection: psycopg.Connection, statement: LiteralString, *names: str) -> None:
    """Run a statement with identifiers in place of parameters."""
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def url(dsn: str, **changes: str) -> str:
    """Return a DSN as a URL with another user, password, host or dbname."""
    parts = {name: str(value) for name, value in (conninfo_to_dict(dsn) | changes).items()}
    credentials = ":".join(quote(parts.pop(name), safe="") for name in ("user", "password") if name in parts)
    database = quote(parts.pop("dbname", ""), safe="")
    return f"postgresql://{credentials}@/{database}?{urlencode(parts, quote_via=quote)}"
