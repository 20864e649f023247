"""Measure one way to run a worker: the cost of processing a full queue."""

import itertools
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

from bench.fill_queue import WORK_LIMIT_SECONDS, is_empty
from testkit.database import Database
from testkit.submissions import enter_all, text_submissions
from testkit.waiting import until

SUPERVISED = (str(Path(sys.executable).with_name("learning-supervisor")), "start", "--procs", "1")
BARE = (sys.executable, "-m", "bench.bare_worker")


@dataclass(frozen=True, slots=True)
class Cost:
    """The median time between two ends of jobs, CPU time per job, and the memory of all processes."""

    latency_ms: float
    cpu_ms: float
    pss_bytes: int


def work_off(command: tuple[str, ...], environment: Mapping[str, str], database: Database, jobs: int, home: Path) -> Cost:
    """Fill the queue, run the command until the queue is empty, and end it."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
        owner.execute("truncate audit_finishes")
        enter_all(owner, tuple(text_submissions(jobs, seed=1)), storage_root=home)
        process = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)
        try:
            until(lambda: owner.execute("select 1 from audit_finishes limit 1").fetchone(), WORK_LIMIT_SECONDS)
            booted_cpu_seconds = _cpu_seconds(process.pid)
            until(lambda: is_empty(owner), WORK_LIMIT_SECONDS)
            cpu_seconds = _cpu_seconds(process.pid) - booted_cpu_seconds
            pss_bytes = sum(member.memory_full_info().pss for member in _tree(process.pid))
        finally:
            process.terminate()
            process.wait()
        return Cost(_median_gap_ms(owner), 1000 * cpu_seconds / jobs, pss_bytes)


def _tree(pid: int) -> list[psutil.Process]:
    return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]


def _cpu_seconds(pid: int) -> float:
    times = [member.cpu_times() for member in _tree(pid)]
    return float(sum(spent.user + spent.system for spent in times))


def _median_gap_ms(owner: psycopg.Connection) -> float:
    times: list[float] = [row[0].timestamp() for row in owner.execute("select at from audit_finishes order by at")]
    return 1000 * statistics.median(later - earlier for earlier, later in itertools.pairwise(times))
