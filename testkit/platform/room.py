"""The database and the workers of one schema and one kind of adapter. Nothing else works on its queue."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from testkit.bare_worker import BareWorker, Forker
from testkit.database import Year, temporary_database
from testkit.environment import Value
from testkit.monitor import Monitor, open_monitor
from testkit.ollama_simulator.process import start_simulator
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.platform.case import Adapter
from testkit.platform.foreign import Scene
from testkit.school import School, is_idle
from testkit.waiting import until
from worker.ipc.scoreboard import ControlRecord

FOREIGN: Final = "testkit.platform.foreign"
PACKAGE: Final = "testkit.adapters.platform_practice:build"  # a set-up function that makes the platform's package importable
LONG_SECONDS: Final = 300.0  # a worker polls only after a wake-up, a retry waits until the test ends its wait
LIMIT_SECONDS: Final = 20.0  # of a job, whose calls take milliseconds
MAX_CRASHES: Final = 2
IS_DUE: Final[LiteralString] = """
    select exists (select from learning_submission_jobs
        where submission_id = %s and status <> 'failed' and visible_at <= now()) as it
"""


@dataclass(frozen=True, slots=True)
class Room:
    """`heir` lives as long as the room. It works alone, and ends the jobs of killed workers. `wire` counts its round trips."""

    adapter: Adapter
    school: School
    scene: Scene
    wire: PgProxy
    monitor: Monitor
    heir: BareWorker

    @contextmanager
    def victim(self) -> Iterator[BareWorker]:
        """Run a further worker while the heir pauses."""
        with paused(self.heir), self.school.worker(environ(self.school.directory), **settings(self.adapter, self.wire)) as worker:
            yield worker

    def work_on(self, submission_id: UUID) -> None:
        """Let the heir work until it is idle and the job is not due. Raises TimeoutError."""
        self.heir.wake()
        until(lambda: self.is_resting(submission_id), LIMIT_SECONDS, "an idle worker without a due job")

    def look(self) -> None:
        """Let the heir poll the queue and become idle again, whatever it finds. Raises TimeoutError."""
        before = self.wire.round_trips
        self.heir.wake()
        until(lambda: self.wire.round_trips > before and is_idle(self.heir), LIMIT_SECONDS, "a poll of the queue")

    def is_resting(self, submission_id: UUID) -> bool:
        return not self.school.one(IS_DUE, submission_id)["it"] and is_idle(self.heir)

    def hasten(self, submission_id: UUID) -> None:
        """End the wait of a retry."""
        self.school.change_job("visible_at = now()", submission_id)

    def reclaim(self, dead: BareWorker) -> None:
        """Reclaim the leases on a dead worker's scoreboard, as the monitor does."""
        record = dead.record()
        for key, job_id in ((record.lease_key, record.job_id), (record.next_lease_key, None)):
            if key:
                self.monitor.reclaim_lease(job_id, key, MAX_CRASHES)


@contextmanager
def open_room(cluster_dsn: str, forker: Forker, year: Year, adapter: Adapter) -> Iterator[Room]:
    """Open a room with its own database, simulated model server and worker."""
    with (
        TemporaryDirectory(prefix="room-") as directory,
        temporary_database(cluster_dsn, year=year) as database,
        start_simulator(tokens_per_second=20_000, load_seconds=0.01, vision_seconds=0.01) as simulator,
        psycopg.connect(database.admin_dsn, autocommit=True, row_factory=dict_row) as owner,
        proxy_before(database.worker_dsn) as wire,
        open_monitor(database.worker_dsn) as monitor,
    ):
        school = School(database, owner, simulator.url, Path(directory), simulator, forker)
        with school.worker(environ(school.directory), **settings(adapter, wire)) as heir:
            until(lambda: is_idle(heir), what="an idle worker")
            yield Room(adapter, school, Scene(Path(directory)), wire, monitor, heir)


@contextmanager
def paused(worker: BareWorker) -> Iterator[None]:
    """Let the worker take no job for the length of the block."""
    worker.control(ControlRecord(leasing_slots=0))
    yield
    worker.control(ControlRecord(leasing_slots=1))


def environ(directory: Path) -> dict[str, str]:
    return {"SCENE": str(directory)}


def settings(adapter: Adapter, wire: PgProxy) -> dict[str, Value]:
    """Return the settings of a worker behind the proxy. A call that hangs is not to end by its timeout."""
    named: dict[Adapter, dict[str, Value]] = {
        Adapter.OURS: {},
        Adapter.WITH_PACKAGE: {"learning_worker_setup": PACKAGE},
        Adapter.FOREIGN: {"learning_vision_adapter": FOREIGN, "learning_feedback_adapter": FOREIGN},
    }
    return {
        "learning_database_url": wire.dsn,
        "ai_timeout_vision": LONG_SECONDS,
        "ai_timeout_feedback": LONG_SECONDS,
        "worker_poll_interval": 60.0,
        "worker_backoff_seconds": LONG_SECONDS,
        "worker_max_crashes": MAX_CRASHES,
        "worker_max_retries": 1,
        **named[adapter],
    }
