"""Databases with the standalone schema: quick ones from a template for tests and demo, or a user's own.

Each has two ways in: its owner, who fills the queue and looks at everything, and a worker's login role, which may do
what a worker on the platform may do and nothing else. The schema is in `testkit/schema`.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

SCHEMA = Path(__file__).parent / "schema"
STANDALONE_FILES = ("tables.sql", "functions.sql", "notify.sql", "rights.sql")
AUDIT_FILE = "audit.sql"

MARKER = "learning-supervisor standalone schema"  # the comment in tables.sql and rights.sql
SCHEMA_LOCK = 0x6C65_6172_6E70_6701  # any number, as long as it is the same in all processes

FOREIGN_OBJECTS = """
    select 'table ' || name
      from unnest(array['learning_submissions', 'learning_submission_jobs']) name
     where to_regclass('public.' || name) is not null
       and obj_description(to_regclass('public.learning_submission_jobs'), 'pg_class') is distinct from %(marker)s
    union all
    select 'role ' || rolname
      from pg_roles
     where rolname = 'learning_worker' and shobj_description(oid, 'pg_authid') is distinct from %(marker)s
"""


class DatabaseRefused(Exception):
    """This database or server is not ours to change; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Database:
    """`admin_dsn` belongs to the owner of the schema, `worker_dsn` to the restricted login role; both are URLs."""

    name: str
    admin_dsn: str = field(repr=False)
    worker_dsn: str = field(repr=False)


def create_database(admin_dsn: str, name: str | None = None, *, audited: bool = True) -> Database:
    """Make a database on the superuser's server; audited ones witness every result, lease and finish (audit.sql).

    Raises DatabaseRefused on a server where the role `learning_worker` is somebody else's.
    """
    name = name or f"learning_{secrets.token_hex(6)}"
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        template = ensure_template(admin, admin_dsn, audited=audited)
        execute(admin, "create database {} template {}", name, template)
        login, password = login_role(admin, f"{name}_worker")
        execute(admin, "revoke all on database {} from public", name)
        execute(admin, "grant connect on database {} to {}", name, login)
    owner = url(admin_dsn, dbname=name)
    return Database(name, owner, url(owner, user=login, password=password))


def drop_database(admin_dsn: str, database: Database) -> None:
    """Drop it and its login role, whoever is still connected. `admin_dsn` is the one it was created with."""
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        execute(admin, "drop database if exists {} with (force)", database.name)
        execute(admin, "drop role if exists {}", f"{database.name}_worker")


@contextmanager
def temporary_database(admin_dsn: str, *, audited: bool = True) -> Iterator[Database]:
    """A database for the length of a `with` block."""
    database = create_database(admin_dsn, audited=audited)
    try:
        yield database
    finally:
        drop_database(admin_dsn, database)


def adopt_database(dsn: str, *, audited: bool = False) -> Database:
    """Create or reuse the schema in a user's own database; all of it or nothing. With the audit for the demo.

    The worker's role gets a new password each time: two programs cannot adopt one database at once. Raises
    DatabaseRefused where the tables or the role are not ours, which is how the platform's database looks, or where
    the user of `dsn` may not create them.
    """
    try:
        with psycopg.connect(dsn) as owner:
            owner.execute("select pg_advisory_xact_lock(%s)", [SCHEMA_LOCK])
            refuse_foreign_objects(owner)
            apply(owner, (*STANDALONE_FILES, AUDIT_FILE) if audited else STANDALONE_FILES)
            name = owner.info.dbname
            login, password = login_role(owner, f"{name}_worker")
            execute(owner, "grant connect on database {} to {}", name, login)
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseRefused(f"{error}: name a user who owns the database and has CREATEROLE") from error
    return Database(name, url(dsn), url(dsn, user=login, password=password))


def refuse_foreign_objects(connection: psycopg.Connection) -> None:
    foreign = [name for (name,) in connection.execute(FOREIGN_OBJECTS, {"marker": MARKER})]
    if foreign:
        raise DatabaseRefused(
            f"{', '.join(foreign)} in {connection.info.dbname!r} was not made by this program and may be the "
            "learning platform's: name an empty database on another server (DEMO_DATABASE_URL, for tests TEST_DATABASE_URL)"
        )


def ensure_template(admin: psycopg.Connection, admin_dsn: str, *, audited: bool) -> str:
    """Name of the template with this schema; the first caller on a server builds it, the others wait for that."""
    files = (*STANDALONE_FILES, AUDIT_FILE) if audited else STANDALONE_FILES
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
    """The flag comes last: a template without it was left half-built by somebody who died."""
    refuse_foreign_objects(admin)
    execute(admin, "drop database if exists {} with (force)", template)
    execute(admin, "create database {} template template0", template)
    with psycopg.connect(url(admin_dsn, dbname=template)) as owner:
        apply(owner, files)
    execute(admin, "alter database {} with is_template true allow_connections false", template)


def digest(files: tuple[str, ...]) -> str:
    """Tells templates of different schemas apart on a server that outlives a change."""
    return hashlib.sha256(b"".join((SCHEMA / name).read_bytes() for name in files)).hexdigest()[:16]


def apply(owner: psycopg.Connection, files: tuple[str, ...]) -> None:
    for name in files:
        owner.execute((SCHEMA / name).read_bytes())


def login_role(owner: psycopg.Connection, name: str) -> tuple[str, str]:
    """Make a member of the group `learning_worker`, or give it a new password: its name and password."""
    password = secrets.token_urlsafe(24)
    if owner.execute("select from pg_roles where rolname = %s", [name]).fetchone() is None:
        execute(owner, "create role {} login in role learning_worker", name)
    owner.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(name), sql.Literal(password)))
    return name, password


def execute(connection: psycopg.Connection, statement: LiteralString, *names: str) -> None:
    """Run a statement that takes names and no parameters, as those of databases and roles do."""
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def url(dsn: str, **changes: str) -> str:
    """The same server as a URL, with another user, password or dbname."""
    parts = {name: str(value) for name, value in (conninfo_to_dict(dsn) | changes).items()}
    credentials = ":".join(quote(parts.pop(name), safe="") for name in ("user", "password") if name in parts)
    database = quote(parts.pop("dbname", ""), safe="")
    return f"postgresql://{credentials}@/{database}?{urlencode(parts, quote_via=quote)}"
