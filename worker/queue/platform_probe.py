"""Finds out which abilities the live database has beyond the contract of 2025-12. Reads catalogs, never a version number.

A migration may run while workers live. So the facts are kept with their connection, and are read again after an error that may be
the sign of a migration.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from psycopg.errors import InsufficientPrivilege

from worker.core.platform import CODES_OF_2025, PLATFORM_OF_2025, Platform
from worker.queue.connection import AsyncConnection, Connection, outages_named
from worker.queue.dsn import SERVICE_ROLES
from worker.queue.statements import statement

# a function, column or table that is gone, a right, a check, and an exception of a function
MIGRATION_SIGNS = frozenset({"42883", "42703", "42P01", "42501", "23514", "P0001"})
USAGE, PRACTICE, QUEUE = "usage", "practice", "queue"  # the groups of functions in probe_platform.sql
WORKER_ROLE = "gustav_worker"  # on the platform

_PROBE = statement("probe_platform")
_CONTEXT = frozenset({"instruction_md", "teacher_context_md", "hints_md", "model_solution_md"})
_OPEN_ROLES = SERVICE_ROLES | {"anon", "authenticated"}  # the host of the database grants these every function
_QUOTED = re.compile(r"'([a-z0-9_]{1,64})'")
_COMMENT = re.compile(r"--[^\n]*")
_probed: WeakKeyDictionary[Connection | AsyncConnection, Platform] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Probe:
    """The facts of one connection, and those about its role that only `check` shows.

    `withheld`: groups of functions that exist, of which the role may not call all. `fitting_role`: one that may, or ''.
    """

    platform: Platform = PLATFORM_OF_2025
    is_of_2026: bool = False
    role: str = ""
    withheld: frozenset[str] = frozenset()
    fitting_role: str = ""


def platform_of(connection: Connection) -> Platform:
    """Return the facts, which are read once per connection. Raises DatabaseUnavailable.

    The first call is one statement. It must not be within a pipeline.
    """
    if connection not in _probed:
        _probed[connection] = probe(connection).platform
    return _probed[connection]


async def platform_of_monitor(connection: AsyncConnection) -> Platform:
    """Return the same for the monitor. Raises psycopg's errors."""
    if connection not in _probed:
        try:
            row = await (await connection.execute(_PROBE)).fetchone()
        except InsufficientPrivilege:
            row = None
        _probed[connection] = probe_of(row).platform
    return _probed[connection]


def forget(connection: Connection | AsyncConnection) -> None:
    """Read the facts again at the next request."""
    _probed.pop(connection, None)


def probe(connection: Connection) -> Probe:
    """Read the facts now. Raises DatabaseUnavailable."""
    with outages_named(names_row=False):
        try:
            row = connection.execute(_PROBE).fetchone()
        except InsufficientPrivilege:  # not even the names of the schema: `check` names the missing right
            row = None
    return probe_of(row)


def probe_of(row: Mapping[str, Any] | None) -> Probe:
    """Read the statement's row. Without one, everything is as in 2025-12."""
    if row is None:
        return Probe()
    installed, granted = frozenset(row["installed"] or ()), frozenset(row["granted"] or ())
    columns, task_columns = frozenset(row["submission_columns"] or ()), frozenset(row["task_columns"] or ())
    codes = _codes(row["error_code_checks"], row["failing"])
    platform = Platform(
        records_usage=USAGE in granted,
        has_practice=PRACTICE in granted,
        has_dialog="dialog_session_id" in columns and "dialog" in _common_words(row["kind_checks"] or ["'dialog'"]),
        context_columns=task_columns & _CONTEXT if "id" in task_columns else frozenset(),
        error_codes=codes,
    )
    is_of_2026 = bool({USAGE, PRACTICE} & installed) or "intent" in columns or codes > CODES_OF_2025
    return Probe(platform, is_of_2026, row["session_user"], installed - granted, _fitting_role(row))


def _codes(checks: list[str] | None, failing: str | None) -> frozenset[str]:
    """Return the codes that both the table and the function take. Those of 2025-12 are in the contract."""
    taken = _common_words([*(checks or ()), _COMMENT.sub("", failing or "")])
    return CODES_OF_2025 | {code for code in taken if not code.endswith("_retrying")}


def _common_words(texts: Iterable[str]) -> frozenset[str]:
    """Return the quoted words that are in each of the texts."""
    return frozenset.intersection(*(frozenset(_QUOTED.findall(text)) for text in texts))


def _fitting_role(row: Mapping[str, Any]) -> str:
    if row["is_gustav_worker"] is False:
        return WORKER_ROLE
    return next((role for role in row["fitting_roles"] or () if role not in _OPEN_ROLES), "")
