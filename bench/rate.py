"""Jobs per second of real workers with a full queue."""

import statistics
import time

from bench.fill_queue import WORK_LIMIT_SECONDS
from bench.fleet import Fleet, start_fleet
from testkit.database import Database
from testkit.waiting import until


def median_rate(database: Database, workers: int, warm_up: int, jobs: int, rounds: int) -> float:
    """Return the median over several fleets, each measured over `jobs` jobs after `warm_up` jobs."""
    rates = []
    for _ in range(rounds):
        with start_fleet(workers, database.worker_dsn) as fleet:
            until(lambda: fleet.completed() >= warm_up, WORK_LIMIT_SECONDS)
            rates.append(rate(fleet, jobs))
    return statistics.median(rates)


def rate(fleet: Fleet, jobs: int) -> float:
    """Measure over the next jobs, by the workers' totals, because a query on a long queue would change the figure."""
    before, began_at_seconds = fleet.completed(), time.monotonic()
    after = until(lambda: (done := fleet.completed()) >= before + jobs and done, WORK_LIMIT_SECONDS)
    return (after - before) / (time.monotonic() - began_at_seconds)
