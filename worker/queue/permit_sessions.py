"""Finds the sessions that hold a model's permits, and ends one that holds a permit for no job."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from worker.queue.connection import AsyncConnection
from worker.queue.statements import statement

QUIET_SECONDS = 3.0  # a session without a statement for so long is not between its lease and its permit
_SESSIONS, _END = statement("permit_sessions"), statement("end_session")
_WORKER = re.compile(r"learning-supervisor slot \d+ pid \d+ [0-9a-f]{8}")


def worker_name(slot: int, pid: int, incarnation: int) -> str:
    """Return the name of a worker's session. Its last eight digits are those of the worker's lease keys."""
    return f"learning-supervisor slot {slot} pid {pid} {incarnation:08x}"


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
    started_at: str | None
    quiet_seconds: float | None
    may_end: bool
    is_leased: bool
    is_replaced: bool

    @property
    def is_overdue(self) -> bool:
        """True if a worker's session holds a permit for no job: its lease has ended, or the worker has opened another session.

        The session of another program is never overdue, because its use of the permit is unknown.
        """
        is_quiet = self.quiet_seconds is None or self.quiet_seconds >= QUIET_SECONDS
        is_worker = _WORKER.fullmatch(self.application_name) is not None
        return self.is_granted and is_worker and is_quiet and (self.is_replaced or not self.is_leased)


async def permit_sessions(connection: AsyncConnection, permit_keys: Sequence[int]) -> list[PermitSession]:
    """Return every session that holds a permit under one of the keys or waits for one."""
    rows = await (await connection.execute(_SESSIONS, {"permit_keys": list(permit_keys)})).fetchall()
    return [PermitSession(**row) for row in rows]


async def end_session(connection: AsyncConnection, session: PermitSession) -> None:
    """Ask the server to end the session. A stopped server process ends when it continues."""
    await connection.execute(_END, {"backend_pid": session.backend_pid, "started_at": session.started_at})
