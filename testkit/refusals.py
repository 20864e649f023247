"""A database that refuses chosen writes of chosen submissions."""

from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

_FILE = Path(__file__).parent / "schema" / "refusals.sql"
MISSING, SLOW = "missing", "slow"  # instead of a SQLSTATE: a call to a function that does not exist, and one that takes a minute


def install_refusals(owner: psycopg.Connection[Any]) -> None:
    """Install the triggers, which refuse nothing yet, or make them refuse nothing again."""
    if not owner.execute("select from pg_class where oid = to_regclass('public.refusals')").rowcount:
        owner.execute(_FILE.read_bytes())
    owner.execute("truncate public.refusals")


def refuse(owner: psycopg.Connection[Any], submission_id: UUID, code: str, *writes: str) -> None:
    """Refuse these writes of the submission and its job with a SQLSTATE. The kinds are in refusals.sql, `every` is all."""
    for write in writes:
        owner.execute("insert into public.refusals values (%s, %s, %s)", [submission_id, write, code])


def accept(owner: psycopg.Connection[Any], submission_id: UUID) -> None:
    """Refuse nothing of this submission any more."""
    owner.execute("delete from public.refusals where submission_id = %s", [submission_id])
