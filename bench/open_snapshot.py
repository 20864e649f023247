"""The throughput while another session holds a snapshot open, which keeps the server from removing finished jobs."""

import psycopg

from bench.fill_queue import fill
from bench.fleet import start_fleet
from bench.rate import rate
from testkit.database import temporary_database
from testkit.postgres import Cluster
from testkit.waiting import until

WORKERS = 4
JOBS, WARM_UP, WINDOW = 100_000, 1_000, 3_000
SNAPSHOT_LIMIT_SECONDS = 600.0


def measure(jobs: int = JOBS) -> dict[str, float]:
    """Measure jobs without work before the snapshot, and after `jobs` jobs under it. The goal for the ratio is 0.5."""
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn, audited=False) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
        psycopg.connect(database.admin_dsn) as backup,
    ):
        fill(owner, jobs + 2 * WINDOW + 2 * WARM_UP)
        with start_fleet(WORKERS, database.worker_dsn) as fleet:
            until(lambda: fleet.completed() >= WARM_UP, SNAPSHOT_LIMIT_SECONDS)
            rate_before = rate(fleet, WINDOW)
            backup.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            backup.execute("select from learning_submission_jobs limit 1")
            completed = fleet.completed()
            until(lambda: fleet.completed() >= completed + jobs, SNAPSHOT_LIMIT_SECONDS)
            rate_after = rate(fleet, WINDOW)
    return {"rate_before": round(rate_before), "rate_after": round(rate_after), "ratio": round(rate_after / rate_before, 3)}
