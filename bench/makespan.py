"""The time of a fleet for jobs that only wait, and the ideal time without a pause between two jobs."""

import heapq
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, LiteralString

import psycopg

from bench.fill_queue import WORK_LIMIT_SECONDS, enter_texts, is_empty
from bench.fleet import start_fleet
from testkit.database import temporary_database
from testkit.postgres import Cluster
from testkit.waiting import until

_SECONDS: LiteralString = """
    select extract(epoch from max(pg_xact_commit_timestamp(xmin)) - pg_xact_commit_timestamp(%s::text::xid))::float8
    from learning_submissions
"""


def greedy_seconds(durations_seconds: Sequence[float], workers: int) -> float:
    """Compute the ideal time: each job, in order, goes to the first free worker."""
    free_at_seconds = [0.0] * workers
    for duration_seconds in durations_seconds:
        heapq.heappush(free_at_seconds, heapq.heappop(free_at_seconds) + duration_seconds)
    return max(free_at_seconds)


def measured_seconds(durations_seconds: Sequence[float], workers: int, instances: int = 1) -> float:
    """Measure from the commit of all jobs to the commit of the last result, by the server's commit timestamps."""
    parallel = str(workers * instances)
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn, audited=False) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
        ExitStack() as stack,
    ):
        for _ in range(instances):
            fleet = start_fleet(
                workers, database.worker_dsn, LEARNING_FEEDBACK_ADAPTER="bench.sleeper", OLLAMA_NUM_PARALLEL=parallel
            )
            stack.enter_context(fleet).until_at_rest()
        entered = _enter(owner, durations_seconds)
        until(lambda: is_empty(owner), WORK_LIMIT_SECONDS)
        return _number(owner, _SECONDS, entered)


def _enter(owner: psycopg.Connection[Any], durations_seconds: Sequence[float]) -> int:
    """Return the number of the transaction."""
    with owner.transaction():
        enter_texts(owner, [f"{seconds:.6f}" for seconds in durations_seconds])
        return int(_number(owner, "select pg_current_xact_id()::xid::text::float8"))


def _number(owner: psycopg.Connection[Any], query: LiteralString, *values: object) -> float:
    row = owner.execute(query, values or None).fetchone()
    return float(row[0]) if row else 0.0
