"""Finds out which features the live database has beyond the contract of 2025-12. Reads catalogs, never a version number.

A migration may run while workers live. So the facts are kept with their connection, and are read again after an error that may be
the sign of a migration.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from psycopg.errors import InsufficientPrivilege

from worker.core.platform import CODES_OF_2025, PLATFORM_OF_2025, Platform
from worker.queue.connection import Connection, outages_named
from worker.queue.dsn import SERVICE_ROLES
from worker.queue.statements import statement

# a function, column or table that is gone, a right, a check, and an exception of a function
MIGRATION_SIGNS = frozenset({"42883", "42703", "42P01", "42501", "23514", "P0001"})
USAGE, PRACTICE, QUEUE = "usage", "practice", "queue"  # the groups of functions and tables in probe_platform.sql
WORKER_ROLE = "gustav_worker"  # on the platform

_PROBE = statement("probe_platform")
_CONTEXT = frozenset({"instruction_md", "teacher_context_md", "hints_md", "model_solution_md"})
_OPEN_ROLES = SERVICE_ROLES | {"anon", "authenticated"}  # the host of the database grants these every function
_QUOTED = re.compile(r"'([a-z0-9_]{1,64})'")
_CONSTANT = re.compile(r"\[ ((?:-?\d+ )+)\]")  # the bytes of a constant in a parsed expression, as signed numbers
_WORD = re.compile(rb"[a-z0-9_]{2,64}")
_COMMENT = re.compile(r"--[^\n]*")


@dataclass(frozen=True, slots=True)
class PlatformProbe:
    """The facts of one connection, and those about its role that only `check` shows.

    `withheld`: groups with a function or table that exists and that the role may not use. `fitting_role`: one that may, or ''.
    """

    platform: Platform = PLATFORM_OF_2025
    is_of_2026: bool = False
    role: str = ""
    withheld: frozenset[str] = frozenset()
    fitting_role: str = ""

    @property
    def features(self) -> dict[str, bool]:
        """Return for each feature whether it is on, by its name in `check`."""
        return {
            "usage events": self.platform.records_usage,
            "practice attempts": self.platform.has_practice,
            "dialogs": self.platform.has_dialog,
            "task context": bool(self.platform.context_columns),
            "new error codes": self.platform.error_codes > CODES_OF_2025,
        }


_probed: WeakKeyDictionary[Connection, PlatformProbe] = WeakKeyDictionary()


def platform_of(connection: Connection) -> Platform:
    """Return the facts, which are read once per connection. Raises DatabaseUnavailable.

    The first call is one statement. It must not be within a pipeline.
    """
    if connection not in _probed:
        _probed[connection] = probe(connection)
    return _probed[connection].platform


def forget(connection: Connection) -> None:
    """Read the facts again at the next request."""
    _probed.pop(connection, None)


def probe(connection: Connection) -> PlatformProbe:
    """Read the facts now. Raises DatabaseUnavailable."""
    with outages_named(names_row=False):
        try:
            row = connection.execute(_PROBE).fetchone()
        except InsufficientPrivilege:  # not even the names of the schema: `check` names the missing right
            row = None
    return probe_of(row)


def probe_of(row: Mapping[str, Any] | None) -> PlatformProbe:
    """Read the statement's row. Without one, everything is as in 2025-12."""
    if row is None:
        return PlatformProbe()
    installed, granted = frozenset(row["installed"] or ()), frozenset(row["granted"] or ())
    columns, task_columns = frozenset(row["submission_columns"] or ()), frozenset(row["task_columns"] or ())
    codes = _codes(row["error_code_checks"], row["failing"])
    platform = Platform(
        records_usage=USAGE in granted,
        has_practice=PRACTICE in granted,
        has_dialog="dialog_session_id" in columns and all("dialog" in _constants(check) for check in row["kind_checks"] or ()),
        context_columns=task_columns & _CONTEXT if "id" in task_columns else frozenset(),
        error_codes=codes,
    )
    is_of_2026 = bool({USAGE, PRACTICE} & installed) or "intent" in columns or codes > CODES_OF_2025
    return PlatformProbe(platform, is_of_2026, row["session_user"], frozenset(row["withheld"] or ()), _fitting_role(row))


def _codes(checks: list[str] | None, failing: str | None) -> frozenset[str]:
    """Return the codes that both the table and the function take. Those of 2025-12 are in the contract."""
    taken = frozenset(_QUOTED.findall(_COMMENT.sub("", failing or ""))).intersection(*map(_constants, checks or ()))
    return CODES_OF_2025 | {code for code in taken if not code.endswith("_retrying")}


def _constants(check: str) -> frozenset[str]:
    """Return the words in the constants of a parsed check. Length and type, which come first, are no words."""
    constants = (bytes(int(byte) % 256 for byte in found.split()) for found in _CONSTANT.findall(check))
    return frozenset(word.decode() for constant in constants for word in _WORD.findall(constant))


def _fitting_role(row: Mapping[str, Any]) -> str:
    if row["is_gustav_worker"] is False:
        return WORKER_ROLE
    return next((role for role in row["fitting_roles"] or () if role not in _OPEN_ROLES), "")
