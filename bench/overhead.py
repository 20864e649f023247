"""The cost of supervision: one supervised worker compared with a worker alone, on the same jobs."""

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
    """Jobs of one kind: about 0.2 s each with a model, none with the stub."""

    jobs: int
    settings: Mapping[str, str]


def measure() -> dict[str, float]:
    """Measure. The goal for the latency ratio of jobs with a model is at most 1.02."""
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_simulator(load_seconds=0.0, tokens_per_second=500) as simulator,
    ):
        model = Workload(25, {"AI_BACKEND": "local", "OLLAMA_BASE_URL": simulator.url})
        with_model, empty = _pairs(database, model), _pairs(database, Workload(300, {"AI_BACKEND": "stub"}))
    return {
        "latency_ms": _median(with_model, "latency_ms", 0),
        "bare_latency_ms": _median(with_model, "latency_ms", 1),
        "latency_ratio": _ratio(with_model),
        "noop_latency_ms": _median(empty, "latency_ms", 0),
        "bare_noop_latency_ms": _median(empty, "latency_ms", 1),
        "noop_latency_ratio": _ratio(empty),
        "cpu_ms_per_job": _median(with_model, "cpu_ms", 0),
        "bare_cpu_ms_per_job": _median(with_model, "cpu_ms", 1),
        "pss_mb": round(_median(with_model, "pss_bytes", 0) / 1e6, 1),
        "bare_pss_mb": round(_median(with_model, "pss_bytes", 1) / 1e6, 1),
    }


def _pairs(database: Database, workload: Workload) -> list[tuple[Cost, Cost]]:
    """Measure pairs (supervised, alone) in turn, so that a drift of the machine affects both. The first pair is a warm-up."""
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
