"""The environment of the demo: its own database and simulator, or those that the user names in environment variables."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from testkit.database import Database, Year, adopt_database, temporary_database
from testkit.environment import Environment
from testkit.ollama_simulator.process import start_simulator
from testkit.postgres import Cluster
from testkit.supervisor_process import SupervisorProcess, as_variables

PROCS = 4
VISION_SECONDS = 1.0  # long enough to kill a worker during a vision call
_PASSED_ON = ("AI_", "OLLAMA_", "WORKER_")


@dataclass(frozen=True, slots=True)
class DemoEnvironment(Environment):
    """`is_simulated` is False with a real Ollama, which is given in OLLAMA_BASE_URL."""

    is_simulated: bool

    @contextmanager
    def supervisor(self) -> Iterator[SupervisorProcess]:
        """Run `learning-supervisor start --procs 4` for the length of the block."""
        passed = {} if self.is_simulated else {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        environ = {"OLLAMA_NUM_PARALLEL": str(PROCS), **passed, **as_variables(self.settings())}
        supervisor = SupervisorProcess.spawn(environ, self.directory, arguments=("start", "--procs", str(PROCS)))
        try:
            yield supervisor
        finally:
            supervisor.drain()


@contextmanager
def set_up(year: Year) -> Iterator[DemoEnvironment]:
    """Start everything but the supervisor, with the schema of this year. Raises DatabaseRefused or ClusterError."""
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="learning-demo-")))
        database = _database(undo, year)
        given_url = os.environ.get("OLLAMA_BASE_URL", "")
        ollama_url = given_url or undo.enter_context(start_simulator(num_parallel=PROCS, vision_seconds=VISION_SECONDS)).url
        owner = undo.enter_context(psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row))
        yield DemoEnvironment(database, owner, ollama_url, directory, is_simulated=not given_url)


def _database(undo: ExitStack, year: Year) -> Database:
    given = os.environ.get("DEMO_DATABASE_URL", "")
    if given:
        return adopt_database(given, audited=True, year=year)
    cluster = undo.enter_context(Cluster.start())
    return undo.enter_context(temporary_database(cluster.admin_dsn, year=year))
