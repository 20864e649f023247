"""A database, a model server, a place for files and a supervisor, for as long as inputs are tried."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import psycopg

from supervisor.cli.status import documents
from testkit.database import Database, temporary_database
from testkit.environment import drain
from testkit.inputs.input import Input, Place
from testkit.inputs.memory import Memory
from testkit.inputs.store import SERVICE_KEY
from testkit.ollama_simulator.process import PROJECT_ROOT, SimulatorProcess, start_simulator
from testkit.parent_death import die_with
from testkit.postgres import Cluster, memory_parent

WORKERS = 4
PROGRAM = str(Path(sys.executable).with_name("learning-supervisor"))
CRASHES = 'learning_process_crashes_total{role="worker"}'
REFUSAL_SECONDS = 10.0  # by then it has refused, or it runs
TIMEOUT_SECONDS = 3  # of a request to a model: what says nothing is over soon


@dataclass(frozen=True, slots=True)
class InputEnvironment:
    """`said` collects all that the supervisors showed to anybody: log lines, metrics and status documents."""

    database: Database
    owner: psycopg.Connection[Any]
    simulator: SimulatorProcess
    home: Path
    memory: Memory = field(default_factory=Memory)
    said: list[str] = field(default_factory=list)

    @property
    def storage_root(self) -> Path:
        return self.home / "files"

    @property
    def log(self) -> Path:
        return self.home / "supervisor.log"

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", ""),
            "AI_BACKEND": "local",
            "AI_NUM_CTX": "8192",
            "AI_TIMEOUT_VISION": str(TIMEOUT_SECONDS),
            "AI_TIMEOUT_FEEDBACK": str(TIMEOUT_SECONDS),
            "LEARNING_VISION_ADAPTER": "testkit.inputs.adapters_without_metrics.vision",
            "LEARNING_FEEDBACK_ADAPTER": "testkit.inputs.adapters_without_metrics.feedback",
            "PYTHONPATH": str(PROJECT_ROOT),
            "LEARNING_DATABASE_URL": self.database.worker_dsn,
            "LOG_LEVEL": "DEBUG",
            "OLLAMA_BASE_URL": self.simulator.url,
            "OLLAMA_NUM_PARALLEL": str(WORKERS),
            "RUNTIME_DIRECTORY": str(self.home / "run"),
            "STATUS_ADDR": "127.0.0.1:0",
            "WORKER_BACKOFF_SECONDS": "0",
            "WORKER_CONCURRENCY": str(WORKERS),
            "WORKER_MAX_RETRIES": "1",
            **more,
        }

    def files(self, place: Place, store_url: str) -> dict[str, str]:
        if place is Place.STORE:
            return {"SUPABASE_URL": store_url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY}
        return {"STORAGE_VERIFY_ROOT": str(self.storage_root)}

    def order(self, given: Input, containing: str) -> None:
        """The fault of an input, for requests that contain its mark. Written in ASCII, so that it may say what is no text."""
        fault = {"fault": given.fault["kind"], **given.fault, "containing": containing}
        self.simulator.client.post("/_simulator/faults", content=json.dumps(fault)).raise_for_status()

    def status(self) -> dict[str, Any]:
        """Empty while nobody answers."""
        found = documents(self.home / "run")
        return found[0] if found else {}

    def worker_crashes(self) -> int:
        """Of all supervisors, as their metrics had it at their end."""
        lines = (line.split() for text in self.said for line in text.splitlines() if line.startswith(CRASHES))
        return sum(int(float(value)) for _, value in lines)

    def look(self) -> None:
        """Takes a sample of the workers' memory."""
        self.memory.sample({worker["pid"] for worker in self.status().get("workers", []) if worker["pid"]})


@contextmanager
def set_up() -> Iterator[InputEnvironment]:
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="inputs-")))
        cluster = undo.enter_context(Cluster.start(memory_parent()))
        database = undo.enter_context(temporary_database(cluster.admin_dsn))
        simulator = undo.enter_context(
            start_simulator(num_parallel=2 * WORKERS, tokens_per_second=2000, load_seconds=0.01, vision_seconds=0.01)
        )
        owner = undo.enter_context(psycopg.connect(database.admin_dsn, autocommit=True))
        yield InputEnvironment(database, owner, simulator, home)


@contextmanager
def supervisor(environment: InputEnvironment, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """With what it shows at its end kept in `environment.said`."""
    with environment.log.open("ab") as log:
        process = _started(environment, environment, log)
        try:
            _until_connected(environment)
            yield process
            environment.said.extend(_shown(environment))
        finally:
            drain(process)


def refusal_code(environment: InputEnvironment, environment: Mapping[str, str]) -> int:
    """The exit code of a supervisor that must not start."""
    with environment.log.open("ab") as log:
        process = _started(environment, environment, log)
        try:
            return process.wait(REFUSAL_SECONDS)
        except subprocess.TimeoutExpired:
            return drain(process)


def _started(environment: InputEnvironment, environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [PROGRAM, "start"],
        env=dict(environment),
        cwd=environment.home,
        stderr=log,
        preexec_fn=die_with(os.getpid()),  # noqa: PLW1509  nothing outlives us
    )


def _until_connected(environment: InputEnvironment) -> None:
    until_seconds = time.monotonic() + 20
    while not environment.status().get("queue", {}).get("is_listening"):
        if time.monotonic() > until_seconds:
            raise TimeoutError("the supervisor does not start; its log: " + environment.log.read_text()[-2000:])
        time.sleep(0.05)


def _shown(environment: InputEnvironment) -> list[str]:
    status = environment.status()
    metrics = httpx.get(f"http://{status['metrics_address']}/metrics", trust_env=False).text
    return [json.dumps(status), metrics]
