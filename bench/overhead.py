"""What supervision costs: one supervised worker against the bare serial loop, on the same jobs in the same run."""

import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measured_process import BARE, SUPERVISED, Cost, work_off
from testkit.database import Database, temporary_database
from testkit.ollama_simulator.process import start_simulator
from testkit.postgres import Cluster

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs of one sort: with a model each takes about 0.2 s, a tenth of what real ones need; with the stub none."""

    jobs: int
    settings: Mapping[str, str]


def measure() -> dict[str, float]:
    """The goal is a latency ratio of at most 1.02 for jobs that ask a model."""
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_simulator(load_seconds=0.0, tokens_per_second=500) as simulator,
    ):
        model = Workload(25, {"AI_BACKEND": "local", "OLLAMA_BASE_URL": simulator.url})
        asked, empty = _pairs(database, model), _pairs(database, Workload(300, {"AI_BACKEND": "stub"}))
    return {
        "latency_ms": _median(asked, "latency_ms", 0),
        "bare_latency_ms": _median(asked, "latency_ms", 1),
        "latency_ratio": _ratio(asked),
        "noop_latency_ms": _median(empty, "latency_ms", 0),
        "bare_noop_latency_ms": _median(empty, "latency_ms", 1),
        "noop_latency_ratio": _ratio(empty),
        "cpu_ms_per_job": _median(asked, "cpu_ms", 0),
        "bare_cpu_ms_per_job": _median(asked, "cpu_ms", 1),
        "pss_mb": round(_median(asked, "pss_bytes", 0) / 1e6, 1),
        "bare_pss_mb": round(_median(asked, "pss_bytes", 1) / 1e6, 1),
    }


def _pairs(database: Database, workload: Workload) -> list[tuple[Cost, Cost]]:
    """(supervised, bare) in turn, so that a drift of the machine hits both; the first pair only warms up."""
    pairs = []
    for _ in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory() as home:
            own = {"LEARNING_DATABASE_URL": database.worker_dsn, "RUNTIME_DIRECTORY": f"{home}/run", "STATUS_ADDR": "127.0.0.1:0"}
            environment = {**workload.settings, **own}
            supervised = work_off(SUPERVISED, environment, database, workload.jobs, Path(home))
            pairs.append((supervised, work_off(BARE, environment, database, workload.jobs, Path(home))))
    return pairs[1:]


def _ratio(pairs: list[tuple[Cost, Cost]]) -> float:
    return round(statistics.median(supervised.latency_ms / bare.latency_ms for supervised, bare in pairs), 3)


def _median(pairs: list[tuple[Cost, Cost]], name: str, side: int) -> float:
    figures: list[float] = [getattr(pair[side], name) for pair in pairs]
    return round(statistics.median(figures), 3)
