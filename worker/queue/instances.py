"""Finds all instances that share the queue: their leases, and the time since each was last heard of."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import DictRow

from worker.queue.connection import AsyncConnection
from worker.queue.statements import statement

_INSTANCES = statement("instances")


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """An instance with leases or with a connected monitor. `instance` is its number as eight digits.

    `remaining_seconds` is the time until its last lease ends. `quiet_seconds` is the time since the last statement of its
    monitor, None if that is not connected or if the server does not show it.
    """

    instance: str
    jobs: int
    remaining_seconds: float
    address: str | None
    quiet_seconds: float | None
    is_connected: bool


async def all_instances(connection: AsyncConnection) -> list[InstanceRow]:
    rows = await (await connection.execute(_INSTANCES)).fetchall()
    return [_instance(number, [row for row in rows if row["instance"] == number]) for number in {row["instance"] for row in rows}]


def _instance(number: str, rows: Sequence[DictRow]) -> InstanceRow:
    leases, sessions = ([row for row in rows if row["is_session"] is is_session] for is_session in (False, True))
    quiet = [row["quiet_seconds"] for row in sessions if row["quiet_seconds"] is not None]
    return InstanceRow(
        number,
        len(leases),
        max((row["remaining_seconds"] for row in leases), default=0.0),
        next((row["address"] for row in sessions), None),
        min(quiet, default=None),
        bool(sessions),
    )
