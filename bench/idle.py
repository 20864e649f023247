"""The CPU time of an idle fleet."""

import time

from bench.cpu_time import cpu_seconds
from bench.fleet import start_fleet
from testkit.database import temporary_database
from testkit.postgres import Cluster

WORKERS = 8
SECONDS = 20.0
SETTLE_SECONDS = 3.0  # after the starts and the first polls


def measure(workers: int = WORKERS, seconds: float = SECONDS) -> dict[str, float]:
    """Measure percent of one core. `all` is supervisor, workers and monitor. Goals: at most 0.1 and 0.5."""
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_fleet(workers, database.worker_dsn) as fleet,
    ):
        fleet.until_at_rest()
        time.sleep(SETTLE_SECONDS)
        pids = fleet.pids()
        before, started_at_seconds = [cpu_seconds(pid) for pid in pids], time.monotonic()
        time.sleep(seconds)
        after, elapsed_seconds = [cpu_seconds(pid) for pid in pids], time.monotonic() - started_at_seconds
    percent = [100 * (end - begin) / elapsed_seconds for begin, end in zip(before, after, strict=True)]
    return {"supervisor_cpu_percent": round(percent[0], 3), "all_cpu_percent": round(sum(percent), 3)}
