"""What a run needs: a durable database server that can be stopped, a model server, files, and two fleets, as on two hosts."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from testkit.chaos.checks import MAX_CRASHES, MAX_RETRIES
from testkit.chaos.fleet import Fleet
from testkit.chaos.gateway import start_gateway
from testkit.chaos.plan import FLEETS, WORKERS
from testkit.database import Database, create_database, url
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.postgres import Cluster, memory_parent

VISION_SECONDS: Final = 0.6
CONNECT_SECONDS: Final = 2
TOKENS_PER_SECOND: Final = 200
PLAIN: Final = {"sslmode": "disable", "gssencmode": "disable"}  # a gateway tells questions from answers, and no more
TRANSITIONS_SQL: Final = Path(__file__).with_name("job_transitions.sql")


@dataclass(frozen=True, slots=True)
class ChaosEnvironment:
    """`fleets` share the database, the model server and the files, and nothing else."""

    cluster: Cluster
    database: Database
    simulator: SimulatorProcess
    home: Path
    fleets: tuple[Fleet, ...]

    @property
    def storage_root(self) -> Path:
        return self.home / "files"

    def connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """As the owner, past the gateways. Raises psycopg.OperationalError."""
        return psycopg.connect(self.database.admin_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS)


@contextmanager
def set_up() -> Iterator[ChaosEnvironment]:
    """Everything ends with the block. Raises ClusterError."""
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        cluster = undo.enter_context(Cluster.start(memory_parent(), durable=True))  # a crash may take nothing committed along
        database = create_database(cluster.admin_dsn)
        with psycopg.connect(database.admin_dsn) as owner:
            owner.execute(TRANSITIONS_SQL.read_bytes())
        simulator = undo.enter_context(
            start_simulator(num_parallel=FLEETS * WORKERS, vision_seconds=VISION_SECONDS, tokens_per_second=TOKENS_PER_SECOND)
        )
        server_socket = cluster.directory / f".s.PGSQL.{cluster.port}"
        gateways = [undo.enter_context(start_gateway(server_socket)) for _ in range(FLEETS)]
        fleets = tuple(Fleet(home / f"host{number}", gateway) for number, gateway in enumerate(gateways, start=1))
        environment = ChaosEnvironment(cluster, database, simulator, home, fleets)
        for fleet in fleets:
            fleet.settings.update(_settings(environment, fleet))
            undo.callback(fleet.stop)
        yield environment


def _settings(environment: ChaosEnvironment, fleet: Fleet) -> dict[str, str]:
    """Short waits, or a short run would be over before much has happened; all else as it is delivered."""
    return {
        "AI_BACKEND": "local",
        "AI_TIMEOUT_FEEDBACK": "5",
        "AI_TIMEOUT_VISION": "5",
        "DRAIN_TIMEOUT_SECONDS": "10",
        "LEARNING_DATABASE_URL": url(environment.database.worker_dsn, host="127.0.0.1", port=str(fleet.gateway.port), **PLAIN),
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
