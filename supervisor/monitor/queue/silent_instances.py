"""Other instances that hold jobs and whose monitors have sent no statement for some time, as on a frozen host. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.queue.instances import InstanceRow

SILENT_SECONDS = 15.0  # above the time limit of a statement (12 s), and above a replacement of the monitor


@dataclass(frozen=True, slots=True)
class SilentInstance:
    """`heard_at_seconds` is the time of its monitor's last statement (monotonic)."""

    instance: str
    address: str
    jobs: int
    heard_at_seconds: float
    leased_until_seconds: float  # end of its last lease (monotonic)


@dataclass(frozen=True, slots=True)
class _Heard:
    at_seconds: float
    address: str


class InstanceWatch:
    """Remembers each instance that was heard of, because the server ends the session of a silent host.

    Behind a pooler an instance has no session of its own, so it is never heard of and never called silent.
    """

    def __init__(self, own: str) -> None:
        self._own = own
        self._heard: dict[str, _Heard] = {}

    def forget(self) -> None:
        """Begin anew after an outage of the database, because the others may not be back yet."""
        self._heard = {}

    def silent(self, rows: Sequence[InstanceRow], now_seconds: float, poll_interval_seconds: float) -> tuple[SilentInstance, ...]:
        """Return the instances that hold jobs and have missed several polls. Their interval is taken to be the same."""
        others = [row for row in rows if row.instance != self._own]
        self._heard = {row.instance: heard for row in others if (heard := self._latest(row, now_seconds))}
        limit_seconds = SILENT_SECONDS + 2 * poll_interval_seconds
        return tuple(
            SilentInstance(row.instance, heard.address, row.jobs, heard.at_seconds, now_seconds + row.remaining_seconds)
            for row in others
            if row.jobs and (heard := self._heard.get(row.instance)) and now_seconds - heard.at_seconds > limit_seconds
        )

    def _latest(self, row: InstanceRow, now_seconds: float) -> _Heard | None:
        """Return None for a session whose times the server does not show."""
        if not row.is_connected:
            return self._heard.get(row.instance)
        return None if row.quiet_seconds is None else _Heard(now_seconds - row.quiet_seconds, row.address or "")
