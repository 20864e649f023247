"""Faults of the database that a statement of its owner makes: rights, limits and locks."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import DictRow

from testkit.database import Database
from testkit.outages.matrix import Case, Request, Way

Owner = psycopg.Connection[DictRow]
CUT: Final[LiteralString] = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"
OF_ROLE: Final[dict[Way, tuple[LiteralString, LiteralString]]] = {
    Way.NO_LOGIN: ("alter role {} nologin", "alter role {} login"),
    Way.CROWDED: ("alter role {} connection limit 0", "alter role {} connection limit -1"),
    Way.READ_ONLY: (
        "alter role {} set default_transaction_read_only = on",
        "alter role {} reset default_transaction_read_only",
    ),
}
RIGHTS: Final[dict[Request, LiteralString]] = {
    Request.DATABASE: "update on learning_submission_jobs",
    Request.READ: "select on learning_submissions",
    Request.SETTLE: "execute on function learning_worker_update_completed(uuid, text, text, jsonb)",
}
ROWS: Final[dict[Request, LiteralString]] = {
    Request.CHECKPOINT: "select from learning_submission_jobs where submission_id = any(%s) for update",
    Request.SETTLE: "select from learning_submissions where id = any(%s) for update",
}
MADE_BY_A_STATEMENT: Final = frozenset({*OF_ROLE, Way.REVOKED, Way.TABLE_LOCK, Way.ROW_LOCK})


@contextmanager
def database_fault(database: Database, owner: Owner, case: Case, open_ids: Sequence[UUID]) -> Iterator[None]:
    """Let the database refuse for the length of the block. A lock on a row is on one of the open submissions."""
    match case.way:
        case Way.TABLE_LOCK:
            with psycopg.connect(database.admin_dsn) as holder:
                holder.execute("lock table learning_submission_jobs in access exclusive mode")
                yield
        case Way.ROW_LOCK:
            with psycopg.connect(database.admin_dsn) as holder:
                holder.execute(ROWS[case.request], [list(open_ids[-1:])])
                yield
        case Way.REVOKED:
            right = sql.SQL(RIGHTS[case.request])
            owner.execute(sql.SQL("revoke {} from learning_worker").format(right))
            try:
                yield
            finally:
                owner.execute(sql.SQL("grant {} to learning_worker").format(right))
        case _:
            with _role_fault(database, owner, case.way):
                yield


@contextmanager
def _role_fault(database: Database, owner: Owner, way: Way) -> Iterator[None]:
    """Change the login role and end its sessions, because a change is for new ones. At the end they are renewed once more."""
    name = f"{database.name}_worker"
    begin, end = (sql.SQL(statement).format(sql.Identifier(name)) for statement in OF_ROLE[way])
    owner.execute(begin)
    owner.execute(CUT, [name])
    try:
        yield
    finally:
        owner.execute(end)
        if way is Way.READ_ONLY:
            owner.execute(CUT, [name])
