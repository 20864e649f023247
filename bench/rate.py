"""Jobs per second of real workers that find a full queue."""

import statistics
import time

from bench.fill_queue import WORK_LIMIT_SECONDS
from bench.fleet import Fleet, start_fleet
from testkit.database import Database
from testkit.waiting import until


def median_rate(database: Database, workers: int, warm_up: int, jobs: int, rounds: int) -> float:
    """Of so many fleets one after the other, each measured over `jobs` after its first `warm_up`."""
    rates = []
    for _ in range(rounds):
        with start_fleet(workers, database.worker_dsn) as fleet:
            until(lambda: fleet.completed() >= warm_up, WORK_LIMIT_SECONDS)
            rates.append(rate(fleet, jobs))
    return statistics.median(rates)


def rate(fleet: Fleet, jobs: int) -> float:
    """Over the next so many jobs. The workers' own totals are read: a look at a long queue would cost what is measured."""
    before, began_at_seconds = fleet.completed(), time.monotonic()
    after = until(lambda: (done := fleet.completed()) >= before + jobs and done, WORK_LIMIT_SECONDS)
    return (after - before) / (time.monotonic() - began_at_seconds)
