"""The environment of the inputs, and the supervisors that process them."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import dict_row

from testkit.database import temporary_database
from testkit.environment import Environment
from testkit.inputs.input import Input, Place
from testkit.object_store import SERVICE_KEY
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.postgres import Cluster, memory_parent
from testkit.supervisor_process import SupervisorProcess, as_variables
from testkit.waiting import until

WORKERS = 4
CRASHES = 'learning_process_crashes_total{role="worker"}'
REFUSAL_SECONDS = 10.0  # a supervisor that is still running then has not refused its settings
TIMEOUT_SECONDS = 3  # of a model call, so that a silent server is detected soon


@dataclass(frozen=True, slots=True)
class InputEnvironment(Environment):
    """`published` collects the status documents and metrics of all supervisors."""

    simulator: SimulatorProcess
    published: list[str] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.directory / "supervisor.log"

    def variables(self, **more: str) -> dict[str, str]:
        adapters = "testkit.inputs.adapters_without_metrics"
        return {
            **as_variables(self.settings()),
            "AI_NUM_CTX": "8192",
            "AI_TIMEOUT_VISION": str(TIMEOUT_SECONDS),
            "AI_TIMEOUT_FEEDBACK": str(TIMEOUT_SECONDS),
            "LEARNING_VISION_ADAPTER": f"{adapters}.vision",
            "LEARNING_FEEDBACK_ADAPTER": f"{adapters}.feedback",
            "LOG_LEVEL": "DEBUG",
            "OLLAMA_NUM_PARALLEL": str(WORKERS),
            "WORKER_BACKOFF_SECONDS": "0",
            "WORKER_CONCURRENCY": str(WORKERS),
            "WORKER_MAX_JOB_AGE_SECONDS": "45",  # ends what a fault without an end holds up
            "WORKER_MAX_RETRIES": "1",
            **more,
        }

    def variables_for(self, place: Place, store_url: str) -> dict[str, str]:
        """Return the variables for files in the directory or in the object store."""
        if place is Place.DIRECTORY:
            return self.variables()
        given = self.variables(SUPABASE_URL=store_url, SUPABASE_SERVICE_ROLE_KEY=SERVICE_KEY)
        del given["STORAGE_VERIFY_ROOT"]
        return given

    def set_fault(self, given: Input, containing: str) -> None:
        """Set the input's fault for requests that contain its mark. ASCII JSON may contain invalid text as escapes."""
        fault = {"fault": given.fault["kind"], **given.fault, "containing": containing}
        self.simulator.client.post("/_simulator/faults", content=json.dumps(fault)).raise_for_status()

    def worker_crashes(self) -> int:
        """Count the worker crashes of all supervisors, from their last metrics."""
        lines = (line.split() for text in self.published for line in text.splitlines() if line.startswith(CRASHES))
        return sum(int(float(value)) for _, value in lines)

    @contextmanager
    def supervisor(self, variables: Mapping[str, str]) -> Iterator[SupervisorProcess]:
        """Run a supervisor for the length of the block, and keep its last status and metrics."""
        supervisor = SupervisorProcess.spawn(variables, self.directory)
        try:
            until(lambda: supervisor.status()["queue"]["is_listening"])
            yield supervisor
            self.published.extend([json.dumps(supervisor.status()), supervisor.get("/metrics").text])
        finally:
            supervisor.drain()

    def refusal_code(self, variables: Mapping[str, str]) -> int:
        """Return the exit code of a supervisor that must refuse these settings."""
        return SupervisorProcess.spawn(variables, self.directory).drain_after(REFUSAL_SECONDS)


@contextmanager
def set_up() -> Iterator[InputEnvironment]:
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="inputs-")))
        cluster = undo.enter_context(Cluster.start(memory_parent()))
        database = undo.enter_context(temporary_database(cluster.admin_dsn))
        simulator = undo.enter_context(
            start_simulator(num_parallel=2 * WORKERS, tokens_per_second=2000, load_seconds=0.01, vision_seconds=0.01)
        )
        owner = undo.enter_context(psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row))
        yield InputEnvironment(database, owner, simulator.url, directory, simulator)
