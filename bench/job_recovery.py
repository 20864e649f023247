"""The time from the SIGKILL of a worker in a job to the job's next lease."""

import math
import os
import signal
import statistics
import time

import psycopg

from bench.fleet import start_fleet
from testkit.database import temporary_database
from testkit.ollama_simulator.process import start_simulator
from testkit.postgres import Cluster
from testkit.submissions import enter_all, text_submissions
from testkit.waiting import until

KILLS = 50
WORKERS = 16  # each slot may start 8 times in a minute
QUIET_SECONDS = 0.1  # without starts and model calls

NEXT_LEASE = """
    select extract(epoch from at)::float8 from audit_leases where number > %s order by number limit 1
"""


def measure(kills: int = KILLS, workers: int = WORKERS) -> dict[str, float]:
    """Measure one job repeatedly, by one clock. Goals: p50 at most 50 ms, max 1000 ms."""
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_simulator(num_parallel=workers, load_seconds=0.0, tokens_per_second=1) as simulator,
        start_fleet(
            workers,
            database.worker_dsn,
            simulator.url,
            AI_TIMEOUT_FEEDBACK="300",
            HEALTHY_AFTER_SECONDS="1",
            WORKER_MAX_CRASHES="100",
        ) as fleet,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
    ):
        enter_all(owner, text_submissions(1, seed=1), storage_root=fleet.storage_root)
        gaps_ms = []
        for _ in range(kills):
            (victim,) = fleet.until_at_rest(busy=1)
            time.sleep(QUIET_SECONDS)
            gaps_ms.append(_leased_again_ms(owner, victim["pid"]))
    return {"p50_ms": round(statistics.median(gaps_ms), 2), "max_ms": round(max(gaps_ms), 2)}


def _leased_again_ms(owner: psycopg.Connection, victim_pid: int) -> float:
    (leases,) = owner.execute("select max(number) from audit_leases").fetchone() or (0,)
    killed_at_seconds = time.time()
    os.kill(victim_pid, signal.SIGKILL)
    leased_at_seconds: float = (until(lambda: owner.execute(NEXT_LEASE, [leases]).fetchone()) or (math.inf,))[0]
    return 1000 * (leased_at_seconds - killed_at_seconds)
