"""What a bad set-up costs: workers that end as soon as they run, in the minute after the first of them."""

import time
from collections import Counter
from collections.abc import Iterator

import psutil

from bench.cpu_time import cpu_seconds
from bench.fleet import Fleet, start_fleet
from bench.stamp import Stamp, next_stamp, stamp_within
from testkit.database import temporary_database
from testkit.postgres import Cluster

WORKERS = 4
SECONDS = 60.0


def measure(workers: int = WORKERS, seconds: float = SECONDS) -> dict[str, float]:
    """The most starts of one slot; the CPU time of the supervisor and of the workers that ended. Goals: at most 8 and 0.2 s.

    It would give up at the end of that minute: for the measurement it is told to hope for longer.
    """
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_fleet(workers, database.worker_dsn, what="exits", RESTART_WINDOW_SECONDS="3600") as fleet,
    ):
        first = next_stamp(fleet.stamp_fd)
        before_seconds = _spent_seconds(fleet)
        slots = Counter(stamp.slot for stamp in (first, *_forked_until(fleet, first.at_ns / 1e9 + seconds)))
        return {"forks_per_slot": max(slots.values()), "cpu_seconds": round(_spent_seconds(fleet) - before_seconds, 3)}


def _forked_until(fleet: Fleet, until_seconds: float) -> Iterator[Stamp]:
    while stamp := stamp_within(fleet.stamp_fd, until_seconds - time.monotonic()):
        if stamp.at_ns / 1e9 < until_seconds:
            yield stamp
    time.sleep(max(0.0, until_seconds - time.monotonic()))


def _spent_seconds(fleet: Fleet) -> float:
    """With the children that it has reaped; the monitor lives, and is not among them."""
    reaped = psutil.Process(fleet.pid).cpu_times()
    return cpu_seconds(fleet.pid) + reaped.children_user + reaped.children_system
