"""How long a slot is empty: from the SIGKILL of an idle worker to the first line of its replacement, and what a fork costs."""

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
WORKERS = 16  # so many that no slot comes to the 8 starts that it may have in a minute
HEALTHY_SECONDS = 1.0  # the shortest life whose end is a first death again
QUIET_SECONDS = 0.1  # with nobody asking or booting, as it is when a worker dies


def measure(kills: int = KILLS, workers: int = WORKERS) -> dict[str, float]:
    """The supervised one and the bare one in turn, so that a drift of the machine hits both.

    Goals: p50 at most 8 ms and 2.5 times the bare one, maximum at most 20 ms.
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
            _until_ripe(fleet, living[slot])
            living[slot], gap_ms = _replaced(living[slot], fleet.stamp_fd)
            supervised_ms.append(gap_ms)
            bare, gap_ms = _replaced(bare, bare_fd)
            bare_ms.append(gap_ms)
    return {
        "p50_ms": round(statistics.median(supervised_ms), 2),
        "max_ms": round(max(supervised_ms), 2),
        "bare_p50_ms": round(statistics.median(bare_ms), 2),
    }


def _until_ripe(fleet: Fleet, victim: Stamp) -> None:
    fleet.until_at_rest()
    lived_seconds = time.monotonic() - victim.at_ns / 1e9
    time.sleep(max(QUIET_SECONDS, HEALTHY_SECONDS + QUIET_SECONDS - lived_seconds))


def _replaced(victim: Stamp, stamp_fd: int) -> tuple[Stamp, float]:
    """The replacement, and how many milliseconds after the kill it ran."""
    killed_at_ns = time.monotonic_ns()
    os.kill(victim.pid, signal.SIGKILL)
    replacement = next_stamp(stamp_fd)
    if replacement.slot != victim.slot:
        raise RuntimeError(f"worker {replacement.slot} was started while {victim.slot} was killed")
    return replacement, (replacement.at_ns - killed_at_ns) / 1e6


@contextmanager
def _bare_supervisor() -> Iterator[int]:
    """Where its children stamp. It ends when its standard input does."""
    read_fd, write_fd = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.bare_supervisor", str(write_fd)],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        pass_fds=[write_fd],
        preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  the measurement may be killed as well
    )
    os.close(write_fd)
    try:
        yield read_fd
    finally:
        process.communicate()
        os.close(read_fd)
