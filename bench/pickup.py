"""The time until an idle worker leases a new job, from the commit of the job to the commit of the lease."""

import random
import statistics
import time
from typing import Any, LiteralString

import psycopg

from bench.fill_queue import WORK_LIMIT_SECONDS, enter_texts, is_empty
from bench.fleet import start_fleet
from testkit.database import temporary_database
from testkit.postgres import Cluster
from testkit.waiting import until

WORKERS, JOBS = 8, 200
PAUSE_SECONDS = (0.02, 0.12)  # so that jobs arrive at any time between two polls
_DELAYS: LiteralString = """
    select 1000 * extract(epoch from pg_xact_commit_timestamp(taken.xmin) - pg_xact_commit_timestamp(entered.xmin))::float8
    from audit_leases as taken join bench_entered as entered using (submission_id)
"""


def measure(jobs: int = JOBS, workers: int = WORKERS) -> dict[str, float]:
    """Measure by the server's commit timestamps. Goals with eight idle workers and fsync on: p50 2 ms, p95 5 ms."""
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
        start_fleet(workers, database.worker_dsn) as fleet,
    ):
        owner.execute("create table bench_entered (submission_id uuid)")
        fleet.until_at_rest()
        chance = random.Random(1)
        for _ in range(jobs):
            time.sleep(chance.uniform(*PAUSE_SECONDS))
            _enter(owner)
            until(lambda: is_empty(owner), WORK_LIMIT_SECONDS)
        delays_ms = sorted(row[0] for row in owner.execute(_DELAYS))
    return {"p50_ms": round(statistics.median(delays_ms), 2), "p95_ms": round(delays_ms[len(delays_ms) * 95 // 100], 2)}


def _enter(owner: psycopg.Connection[Any]) -> None:
    """Enter a job, with a row whose commit timestamp is that of the transaction."""
    with owner.transaction():
        enter_texts(owner, ["two plus two is four"])
        owner.execute("insert into bench_entered select submission_id from learning_submission_jobs")
