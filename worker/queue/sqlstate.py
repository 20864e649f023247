"""The one table of whose fault a failed statement is, by SQLSTATE. From PostgreSQL's documentation, appendix A.

A code that is not in the table is a fault of the row, because triggers and functions of a platform may raise any code.
"""

import re
from enum import Enum

import psycopg

NO_SQLSTATE = "22000"  # for a value that psycopg could not send: class 22 is about data
_WELL_FORMED = re.compile(r"[0-9A-Z]{5}")
_PREFIX = "database_"


class Fault(Enum):
    """Origin of an error, and its effect on the row that the statement named."""

    SURROUNDINGS = "surroundings"  # connection, server, session: wait, connect again, repeat
    SUSPECT = "suspect"  # the same, until the statement succeeds for another row and fails again for this one
    ROW = "row"  # this row's alone


_FAULTS = {
    "08": Fault.SURROUNDINGS,  # connection
    "25": Fault.SURROUNDINGS,  # state of the transaction: a read-only server, a session that was ended for being idle
    "26": Fault.SURROUNDINGS,  # unknown prepared statement: a pooler that was not recognised as one
    "28": Fault.SURROUNDINGS,  # password
    "3D": Fault.SURROUNDINGS,  # no such database
    "42P05": Fault.SURROUNDINGS,  # duplicate prepared statement: a pooler
    "53": Fault.SURROUNDINGS,  # disk, connections
    "53200": Fault.SUSPECT,  # memory: of the server, or of one row's trigger
    "53400": Fault.SUSPECT,  # a limit of the configuration, such as temp_file_limit
    "57": Fault.SURROUNDINGS,  # shutdown, crash, restart
    "58": Fault.SURROUNDINGS,  # files of the server
    "0A000": Fault.SUSPECT,  # a prepared statement whose table has changed: a new connection prepares it again
    "3F": Fault.SUSPECT,  # no such schema
    "40": Fault.SUSPECT,  # deadlock, serialization
    "42": Fault.SUSPECT,  # rights and missing objects: a migration, or a trigger that calls what does not exist
    "55": Fault.SUSPECT,  # locks
    "57014": Fault.SUSPECT,  # statement timeout: a busy server, or the slow trigger of one row
    "XX000": Fault.SUSPECT,  # an object was dropped while the statement ran, or a damaged value
    "XX002": Fault.SUSPECT,  # damaged index
    "22": Fault.ROW,  # data
    "23": Fault.ROW,  # constraints
    "54": Fault.ROW,  # limits, such as a result that is too large
    "P0": Fault.ROW,  # a trigger or function raised an exception
    "XX001": Fault.ROW,  # damaged row
}

_PASSING = ("40", "55", "57014")  # may end without a change of the row, so its job is tried again as often as any other
_DAMAGE = ("22", "XX001")  # of the values of the row itself


def fault_of(sqlstate: str) -> Fault:
    """Look up the code, else its class."""
    return _FAULTS.get(sqlstate) or _FAULTS.get(sqlstate[:2]) or Fault.ROW


def sqlstate_of(error: psycopg.Error) -> str | None:
    """Return the code that the server sent, or that stands for a value that could not be sent. None: there was no reply."""
    code = error.sqlstate
    if code and _WELL_FORMED.fullmatch(code):
        return code
    return NO_SQLSTATE if isinstance(error, psycopg.DataError) else None


def is_passing(sqlstate: str) -> bool:
    """Report whether a later try may succeed although nothing was corrected: a lock, a deadlock, a slow statement."""
    return sqlstate.startswith(_PASSING)


def is_damage(sqlstate: str) -> bool:
    """Report whether the values of the row itself are at fault: they cannot be read, whatever other rows are like."""
    return sqlstate.startswith(_DAMAGE)


def reason_of(sqlstate: str) -> str:
    """Return the error code of a job that ends by this SQLSTATE."""
    return f"{_PREFIX}{sqlstate}"


def sqlstate_in(reason: str) -> str | None:
    """Return the SQLSTATE of a job's error code. None for every other reason, and for a refusal that may concern all jobs."""
    code = reason.removeprefix(_PREFIX)
    return code if code != reason and _WELL_FORMED.fullmatch(code) else None


def is_refusal(reason: str) -> bool:
    """Report whether a job's error code names an SQLSTATE, of one row or of all."""
    return reason.startswith(_PREFIX)
