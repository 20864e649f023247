"""Finds the sessions that hold a model's permits or its lock, and ends one that holds them for nothing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from worker.queue.connection import AsyncConnection
from worker.queue.statements import statement

MONITOR_QUIET_SECONDS = 90.0  # a live monitor polls at least once per minute, and a poll has a time limit
QUIET_SECONDS = 3.0  # a session without a statement for so long is not between its lease and its permit
_SESSIONS, _END, _LEASES = statement("permit_sessions"), statement("end_session"), statement("running_leases")
_WORKER = re.compile(r"learning-supervisor slot \d+ pid \d+ [0-9a-f]{8}")
_MONITOR = re.compile(r"learning-supervisor monitor [0-9a-f]{8}( instance [0-9a-f]{8})?")


def worker_name(slot: int, pid: int, incarnation: int) -> str:
    """Return the name of a worker's session. Its last eight digits are those of the worker's lease keys."""
    return f"learning-supervisor slot {slot} pid {pid} {incarnation:08x}"


def monitor_name(incarnation: int, instance: int) -> str:
    """Return the name of a monitor's session, with the numbers of its process and of its instance."""
    return f"learning-supervisor monitor {incarnation:08x} instance {instance:08x}"


@dataclass(frozen=True, slots=True)
class PermitSession:
    """A session that holds a permit or waits for it, as permit_sessions.sql describes it.

    `quiet_seconds`: time since the start or the end of its last statement. None if the server does not show it.
    """

    key: int
    number: int
    is_granted: bool
    backend_pid: int
    application_name: str
    client_address: str | None
    session_start: str | None
    quiet_seconds: float | None
    may_end: bool
    is_leased: bool
    is_replaced: bool

    @property
    def is_overdue(self) -> bool:
        """True if a worker's session holds a permit for no job, or a monitor's session holds a model lock for nothing.

        A process that has opened another session has given up this one. A worker's job ends with its lease, and a monitor that no
        longer polls is frozen. The session of another program is never overdue, because its use of the lock is unknown.
        """
        if not self.is_granted or not self._is_quiet_for(QUIET_SECONDS):
            return False
        if _MONITOR.fullmatch(self.application_name):
            return self.is_replaced or (self.quiet_seconds is not None and self._is_quiet_for(MONITOR_QUIET_SECONDS))
        return _WORKER.fullmatch(self.application_name) is not None and (self.is_replaced or not self.is_leased)

    def _is_quiet_for(self, seconds: float) -> bool:
        return self.quiet_seconds is None or self.quiet_seconds >= seconds


async def permit_sessions(connection: AsyncConnection, permit_keys: Sequence[int]) -> list[PermitSession]:
    """Return every session that holds a permit or a model lock under one of the keys, or waits for it."""
    rows = await (await connection.execute(_SESSIONS, {"permit_keys": list(permit_keys)})).fetchall()
    return [PermitSession(**row) for row in rows]


async def leasing_workers(connection: AsyncConnection) -> frozenset[str]:
    """Return the workers of all instances that hold a lease which still runs, by the last eight digits of their lease keys."""
    rows = await (await connection.execute(_LEASES)).fetchall()
    return frozenset(row["worker"] for row in rows if row["worker"])


async def end_session(connection: AsyncConnection, session: PermitSession) -> None:
    """Ask the server to end the session. A stopped server process ends when it continues."""
    await connection.execute(_END, {"backend_pid": session.backend_pid, "session_start": session.session_start})
