"""The time from the SIGKILL of an idle worker to the first line of its replacement, compared with a bare fork."""

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.fleet import PROJECT_ROOT, Fleet, start_fleet
from bench.stamp import Stamp, next_stamp
from testkit.database import temporary_database
from testkit.parent_death import die_with
from testkit.postgres import Cluster

KILLS = 100
WORKERS = 16  # so that no slot reaches its limit of 8 starts per minute
HEALTHY_SECONDS = 1.0  # after this time a death does not count as a repeated one
QUIET_SECONDS = 0.1  # without starts and model calls


def measure(kills: int = KILLS, workers: int = WORKERS) -> dict[str, float]:
    """Measure both in turn, so that a drift of the machine affects both.

    Goals: p50 at most 8 ms and 2.5 times the bare fork, maximum at most 20 ms.
    """
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_fleet(workers, database.worker_dsn, HEALTHY_AFTER_SECONDS=str(HEALTHY_SECONDS)) as fleet,
        _bare_supervisor() as bare_fd,
    ):
        living = {stamp.slot: stamp for stamp in (next_stamp(fleet.stamp_fd) for _ in range(workers))}
        bare = next_stamp(bare_fd)
        supervised_ms, bare_ms = [], []
        for number in range(kills):
            slot = number % workers
            _until_healthy(fleet, living[slot])
            living[slot], gap_ms = _replaced(living[slot], fleet.stamp_fd)
            supervised_ms.append(gap_ms)
            bare, gap_ms = _replaced(bare, bare_fd)
            bare_ms.append(gap_ms)
    return {
        "p50_ms": round(statistics.median(supervised_ms), 2),
        "max_ms": round(max(supervised_ms), 2),
        "bare_p50_ms": round(statistics.median(bare_ms), 2),
    }


def _until_healthy(fleet: Fleet, victim: Stamp) -> None:
    fleet.until_at_rest()
    lived_seconds = time.monotonic() - victim.at_ns / 1e9
    time.sleep(max(QUIET_SECONDS, HEALTHY_SECONDS + QUIET_SECONDS - lived_seconds))


def _replaced(victim: Stamp, stamp_fd: int) -> tuple[Stamp, float]:
    """Kill a worker. Return its replacement and the milliseconds until that runs."""
    killed_at_ns = time.monotonic_ns()
    os.kill(victim.pid, signal.SIGKILL)
    replacement = next_stamp(stamp_fd)
    if replacement.slot != victim.slot:
        raise RuntimeError(f"worker {replacement.slot} was started while {victim.slot} was killed")
    return replacement, (replacement.at_ns - killed_at_ns) / 1e6


@contextmanager
def _bare_supervisor() -> Iterator[int]:
    """Run the bare supervisor and yield the descriptor of its stamps. It ends with its standard input."""
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare_supervisor", str(write_fd)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        pass_fds=[write_fd],
        preexec_fn=die_with(os.getpid()),  # noqa: PLW1509
    )
    os.close(write_fd)
    try:
        yield read_fd
    finally:
        process.communicate()
        os.close(read_fd)
