"""The throughput of a long queue compared with a short one."""

import statistics

import psycopg

from bench.fill_queue import fill
from bench.rate import median_rate
from testkit.database import temporary_database
from testkit.postgres import Cluster

WORKERS, ROUNDS = 4, 3
SHORT, LONG = 1_000, 1_000_000
WARM_UP, JOBS = 200, 700


def measure(rows: int = LONG) -> dict[str, float]:
    """Measure jobs without work, with 1 000 and with `rows` queued, visible at different times or at the same time.

    The goal for both ratios is 0.9.
    """
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn, audited=False) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
    ):
        short_rates = []
        for _ in range(ROUNDS):
            fill(owner, SHORT)
            short_rates.append(median_rate(database, WORKERS, WARM_UP, JOBS, rounds=1))
        fill(owner, rows)
        long_rate = median_rate(database, WORKERS, WARM_UP, JOBS, ROUNDS)
        fill(owner, rows, same=True)
        same_rate = median_rate(database, WORKERS, WARM_UP, JOBS, ROUNDS)
    short_rate = statistics.median(short_rates)
    return {
        "rate_1k": round(short_rate),
        "rate_1m": round(long_rate),
        "ratio": round(long_rate / short_rate, 3),
        "ratio_same_visible_at": round(same_rate / short_rate, 3),
    }
