"""The growth of supervisor and monitor after many replacements: descriptors, threads, zombies, memory."""

import time
from dataclasses import dataclass

import psutil

from bench.fleet import Fleet, start_fleet
from bench.stamp import next_stamp
from testkit.database import temporary_database
from testkit.postgres import Cluster

RECYCLES = 10_000
WARM_UP_RECYCLES = 200  # until the allocators' caches are full
WORKERS = 4
SETTLE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """The sums over supervisor and monitor. `rss_bytes` is the supervisor's only."""

    fds: int
    threads: int
    rss_bytes: int


def measure(recycles: int = RECYCLES, warm_up: int = WARM_UP_RECYCLES) -> dict[str, float]:
    """Measure replacements by the command `recycle`. Goals: no growth, no zombie, at most 2 MB."""
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_fleet(WORKERS, database.worker_dsn) as fleet,
    ):
        for _ in range(WORKERS):
            next_stamp(fleet.stamp_fd)
        fleet.until_at_rest()
        _recycle(fleet, warm_up)
        before = _holdings(fleet)
        _recycle(fleet, recycles)
        after = _holdings(fleet)
        zombies = sum(child.status() == psutil.STATUS_ZOMBIE for child in fleet.children())
    return {
        "fd_growth": after.fds - before.fds,
        "thread_growth": after.threads - before.threads,
        "zombies": zombies,
        "rss_growth_mb": round((after.rss_bytes - before.rss_bytes) / 1e6, 2),
    }


def _recycle(fleet: Fleet, recycles: int) -> None:
    """Replace all workers repeatedly, one at a time. Each replacement writes a stamp."""
    for done in range(0, recycles, WORKERS):
        slots = list(range(min(WORKERS, recycles - done)))
        fleet.command("/recycle", slots=slots).raise_for_status()
        for _ in slots:
            next_stamp(fleet.stamp_fd)
    fleet.until_at_rest()


def _holdings(fleet: Fleet) -> Holdings:
    """Read the figures after the connections of the status requests are closed."""
    time.sleep(SETTLE_SECONDS)
    supervisor, monitor = psutil.Process(fleet.pid), psutil.Process(fleet.status()["monitor"]["pid"])
    both = (supervisor, monitor)
    fds, threads = sum(each.num_fds() for each in both), sum(each.num_threads() for each in both)
    return Holdings(fds, threads, supervisor.memory_info().rss)
