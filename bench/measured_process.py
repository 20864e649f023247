"""One side of a comparison: a way to run one worker, and what it cost to work off a full queue."""

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psutil
import psycopg

from testkit.database import Database
from testkit.submissions import enter_all, text_submissions

SUPERVISED = (str(Path(sys.executable).with_name("learning-supervisor")), "start", "--procs", "1")
BARE = (sys.executable, "-m", "bench.bare_worker")
DEADLINE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Per job: the median gap between two settled jobs, and the CPU time of all our processes. `pss_bytes`: all of them."""

    latency_ms: float
    cpu_ms: float
    pss_bytes: int


def work_off(command: tuple[str, ...], environment: Mapping[str, str], database: Database, jobs: int, home: Path) -> Cost:
    """Fills the queue, runs the command until it is empty, and ends it."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
        owner.execute("truncate audit_finishes")
        enter_all(owner, tuple(text_submissions(jobs, seed=1)), storage_root=home)
        process = subprocess.Popen(command, env=dict(environment), stderr=subprocess.DEVNULL)
        try:
            _wait_until(owner, "select 1 from audit_finishes limit 1")
            booted_cpu_seconds = _cpu_seconds(process.pid)
            _wait_until(owner, "select 1 where not exists (select from learning_submission_jobs)")
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


def _wait_until(owner: psycopg.Connection, query: LiteralString) -> None:
    until_seconds = time.monotonic() + DEADLINE_SECONDS
    while not owner.execute(query).fetchone():
        if time.monotonic() > until_seconds:
            raise TimeoutError("the queue is not empty yet")
        time.sleep(0.02)


def _median_gap_ms(owner: psycopg.Connection) -> float:
    times: list[float] = [row[0].timestamp() for row in owner.execute("select at from audit_finishes order by at")]
    return 1000 * statistics.median(later - earlier for earlier, later in itertools.pairwise(times))
