"""The environment of a run: a durable database server that can be stopped, the simulator, files, and two fleets."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from testkit.chaos.checks import MAX_CRASHES, MAX_RETRIES
from testkit.chaos.fleet import Fleet
from testkit.chaos.plan import FLEETS, WORKERS
from testkit.database import Database, create_database
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.pg_proxy import dsn_through, start_proxy
from testkit.postgres import Cluster, memory_parent

VISION_SECONDS: Final = 0.6
CONNECT_SECONDS: Final = 2
TOKENS_PER_SECOND: Final = 200
TRANSITIONS_SQL: Final = Path(__file__).with_name("job_transitions.sql")


@dataclass(frozen=True, slots=True)
class ChaosEnvironment:
    """`fleets` share only the database, the simulator and the files, like fleets on two hosts."""

    cluster: Cluster
    database: Database
    simulator: SimulatorProcess
    home: Path
    fleets: tuple[Fleet, ...]

    @property
    def storage_root(self) -> Path:
        return self.home / "files"

    def connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the owner, without a proxy. Raises psycopg.OperationalError."""
        return psycopg.connect(self.database.admin_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS)


@contextmanager
def set_up() -> Iterator[ChaosEnvironment]:
    """Start everything but the fleets. Raises ClusterError."""
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        cluster = undo.enter_context(Cluster.start(memory_parent(), durable=True))  # a crash must not lose a commit
        database = create_database(cluster.admin_dsn)
        with psycopg.connect(database.admin_dsn) as owner:
            owner.execute(TRANSITIONS_SQL.read_bytes())
        simulator = undo.enter_context(
            start_simulator(num_parallel=FLEETS * WORKERS, vision_seconds=VISION_SECONDS, tokens_per_second=TOKENS_PER_SECOND)
        )
        proxies = [undo.enter_context(start_proxy(cluster.admin_dsn)) for _ in range(FLEETS)]
        fleets = tuple(Fleet(home / f"host{number}", proxy) for number, proxy in enumerate(proxies, start=1))
        environment = ChaosEnvironment(cluster, database, simulator, home, fleets)
        for fleet in fleets:
            fleet.settings.update(_settings(environment, fleet))
            undo.callback(fleet.stop)
        yield environment


def _settings(environment: ChaosEnvironment, fleet: Fleet) -> dict[str, str]:
    """Return settings with short waits, so that a short run contains many faults. All others are the defaults."""
    return {
        "AI_BACKEND": "local",
        "AI_TIMEOUT_FEEDBACK": "5",
        "AI_TIMEOUT_VISION": "5",
        "DRAIN_TIMEOUT_SECONDS": "10",
        "LEARNING_DATABASE_URL": dsn_through(environment.database.worker_dsn, fleet.proxy.port),
        "OLLAMA_BASE_URL": environment.simulator.url,
        "OLLAMA_NUM_PARALLEL": str(FLEETS * WORKERS),
        "RESTART_BACKOFF_MAX_SECONDS": "5",
        "RUNTIME_DIRECTORY": str(fleet.home / "run"),
        "STATUS_ADDR": "127.0.0.1:0",
        "STORAGE_VERIFY_ROOT": str(environment.storage_root),
        "TERMINATE_GRACE_SECONDS": "1",
        "WORKER_BACKOFF_SECONDS": "0.5",
        "WORKER_CONCURRENCY": str(WORKERS),
        "WORKER_LEASE_SECONDS": "5",
        "WORKER_MAX_CRASHES": str(MAX_CRASHES),
        "WORKER_MAX_RETRIES": str(MAX_RETRIES),
    }
