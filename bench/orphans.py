"""How long anybody outlives a supervisor that is killed: idle workers, workers that wait for a model, the monitor."""

import os
import select
import signal
import time
from contextlib import ExitStack

import psycopg

from bench.fleet import start_fleet
from testkit.database import Database, temporary_database
from testkit.ollama_simulator.process import start_simulator
from testkit.postgres import Cluster
from testkit.submissions import enter_all, text_submissions

ROUNDS = 20
WORKERS, BUSY = 4, 2
PATIENCE_SECONDS = 30.0


def measure(rounds: int = ROUNDS) -> dict[str, float]:
    """From the supervisor's SIGKILL to the end of its last child. Goal: at most 100 ms."""
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_simulator(num_parallel=BUSY, load_seconds=0.0, tokens_per_second=1) as simulator,
    ):
        return {"max_ms": round(max(_outlived_ms(database, simulator.url) for _ in range(rounds)), 2)}


def _outlived_ms(database: Database, ollama_url: str) -> float:
    with (
        start_fleet(WORKERS, database.worker_dsn, ollama_url, AI_TIMEOUT_FEEDBACK="300", OLLAMA_NUM_PARALLEL=str(BUSY)) as fleet,
        ExitStack() as undo,
    ):
        with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
            owner.execute("truncate learning_submissions cascade")
            enter_all(owner, text_submissions(BUSY, seed=1), storage_root=fleet.storage_root)
        fleet.until_at_rest(busy=BUSY)
        ends = [os.pidfd_open(child.pid) for child in fleet.children()]
        for fd in ends:
            undo.callback(os.close, fd)
        killed_at_seconds = time.monotonic()
        os.kill(fleet.pid, signal.SIGKILL)
        _until_all_ended(ends)
        return 1000 * (time.monotonic() - killed_at_seconds)


def _until_all_ended(pidfds: list[int]) -> None:
    """A pidfd is readable when its process has ended, were it a zombie still."""
    for fd in pidfds:
        if not select.select([fd], [], [], PATIENCE_SECONDS)[0]:
            raise TimeoutError(f"somebody was still there after {PATIENCE_SECONDS:g} s")
