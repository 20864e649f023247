"""What supervision costs: one supervised worker against the bare serial loop, on the same jobs in the same run."""

import statistics
import tempfile
from pathlib import Path

from bench.candidate import BARE, SUPERVISED, Cost, work_off
from demo.cluster import Cluster
from demo.database import temporary_database

ROUNDS, JOBS = 5, 400


def measure() -> dict[str, float]:
    """Rounds in turn, so that a drift of the machine hits both. The goal is a latency ratio of at most 1.02."""
    pairs: list[tuple[Cost, Cost]] = []
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        tempfile.TemporaryDirectory() as home,
    ):
        environment = {
            "LEARNING_DATABASE_URL": database.worker_dsn,
            "RUNTIME_DIRECTORY": f"{home}/run",
            "STATUS_ADDR": "127.0.0.1:0",
        }
        for round_number in range(ROUNDS + 1):
            supervised = work_off(SUPERVISED, environment, database, JOBS, Path(home))
            bare = work_off(BARE, environment, database, JOBS, Path(home))
            if round_number:  # the first one warms both
                pairs.append((supervised, bare))
    return {
        "latency_ms": _median(pairs, "latency_ms", 0),
        "bare_latency_ms": _median(pairs, "latency_ms", 1),
        "latency_ratio": round(statistics.median(a.latency_ms / b.latency_ms for a, b in pairs), 3),
        "cpu_ms_per_job": _median(pairs, "cpu_ms", 0),
        "bare_cpu_ms_per_job": _median(pairs, "cpu_ms", 1),
        "pss_mb": round(_median(pairs, "pss_bytes", 0) / 1e6, 1),
        "bare_pss_mb": round(_median(pairs, "pss_bytes", 1) / 1e6, 1),
    }


def _median(pairs: list[tuple[Cost, Cost]], name: str, side: int) -> float:
    figures: list[float] = [getattr(pair[side], name) for pair in pairs]
    return round(statistics.median(figures), 3)
