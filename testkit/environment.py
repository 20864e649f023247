"""Everything the demo needs around the product: a database, a model server, a place for files, and the supervisor itself."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from testkit.database import Database, adopt_database, temporary_database
from testkit.ollama_simulator.process import start_simulator
from testkit.parent_death import die_with
from testkit.postgres import Cluster

PROCS = 4
VISION_SECONDS = 1.0  # long enough for a worker to be killed in the middle of it
STOP_SECONDS = 90.0
_PASSED_ON = ("AI_", "OLLAMA_", "WORKER_")


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """`environment` is all that the supervisor is told; `home` holds files, sockets and the log."""

    database: Database
    environment: Mapping[str, str]
    home: Path
    is_simulated: bool

    @property
    def storage_root(self) -> Path:
        return self.home / "files"

    @property
    def runtime_directory(self) -> Path:
        return self.home / "run"

    @property
    def log(self) -> Path:
        return self.home / "supervisor.log"


@contextmanager
def set_up() -> Iterator[DemoEnvironment]:
    """Everything ends with the block, whatever ends it. Raises DatabaseRefused or ClusterError."""
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="learning-demo-")))
        database = _database(undo)
        given_url = os.environ.get("OLLAMA_BASE_URL", "")
        ollama_url = given_url or undo.enter_context(start_simulator(num_parallel=PROCS, vision_seconds=VISION_SECONDS)).url
        environment = _environment(database, home, ollama_url, passes_settings_on=bool(given_url))
        yield DemoEnvironment(database, environment, home, is_simulated=not given_url)


@contextmanager
def supervisor(environment: DemoEnvironment) -> Iterator[subprocess.Popen[bytes]]:
    """`learning-supervisor start --procs 4`, in an empty directory so that no .env of somebody else is read."""
    command = [str(Path(sys.executable).with_name("learning-supervisor")), "start", "--procs", str(PROCS)]
    with environment.log.open("ab") as log:
        process = subprocess.Popen(
            command,
            env=dict(environment.environment),
            cwd=environment.home,
            stderr=log,
            process_group=0,  # a Ctrl-C reaches us first, and we drain
            preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  nothing outlives the demo, not even its SIGKILL
        )
        try:
            yield process
        finally:
            drain(process)


def drain(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, then whatever it takes; the exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _database(undo: ExitStack) -> Database:
    given = os.environ.get("DEMO_DATABASE_URL", "")
    if given:
        return adopt_database(given, audited=True)
    cluster = undo.enter_context(Cluster.start())
    return undo.enter_context(temporary_database(cluster.admin_dsn))


def _environment(database: Database, home: Path, ollama_url: str, *, passes_settings_on: bool) -> dict[str, str]:
    """With a real server its models and timeouts come from the caller; with the simulator nothing does."""
    passed = {name: value for name, value in os.environ.items() if passes_settings_on and name.startswith(_PASSED_ON)}
    return {
        "OLLAMA_NUM_PARALLEL": str(PROCS),
        **passed,
        "PATH": os.environ.get("PATH", ""),
        "AI_BACKEND": "local",
        "LEARNING_DATABASE_URL": database.worker_dsn,
        "OLLAMA_BASE_URL": ollama_url,
        "RUNTIME_DIRECTORY": str(home / "run"),
        "STATUS_ADDR": "127.0.0.1:0",
        "STORAGE_VERIFY_ROOT": str(home / "files"),
    }
