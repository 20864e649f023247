"""Round trips to the database per job of each kind, counted on the wire and not in the code."""

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from bench.candidate import BARE
from bench.wire import CountingProxy
from testkit.database import Database, temporary_database, url
from testkit.ollama_simulator.process import start_simulator
from testkit.postgres import Cluster
from testkit.submissions import Submission, demo_submissions, enter_all, text_submissions

FEW, MANY = 10, 30  # both beyond the fifth use of a statement, when psycopg prepares it
DEADLINE_SECONDS = 60.0

Prepare = Callable[[psycopg.Connection], None]


def measure() -> dict[str, float]:
    """A run with many jobs minus a run with few, over the difference: connecting and looking in vain cancel out."""
    fast = {"num_parallel": 2, "load_seconds": 0.0, "vision_seconds": 0.0, "tokens_per_second": 100_000}
    with Cluster.start(tcp=True) as cluster, start_simulator(**fast) as simulator:
        image = next(s for s in demo_submissions() if s.kind == "image" and s.expected_status == "completed")
        kinds: dict[str, tuple[Callable[[int], tuple[Submission, ...]], Prepare]] = {
            "text": (lambda count: tuple(text_submissions(count, seed=1)), lambda _owner: None),
            "image": (lambda count: (image,) * count, lambda _owner: None),
            "image_with_checkpoint": (lambda count: (image,) * count, _extract),
        }
        return {
            f"round_trips_{kind}": round(
                (_flights(cluster, simulator.url, make(MANY), prepare) - _flights(cluster, simulator.url, make(FEW), prepare))
                / (MANY - FEW),
                1,  # a last look more or less
            )
            for kind, (make, prepare) in kinds.items()
        }


def _extract(owner: psycopg.Connection) -> None:
    owner.execute("update learning_submissions set analysis_status = 'extracted'")
    owner.execute("""update learning_submission_jobs set payload = payload || '{"cached_text_md": "schon gelesen"}'""")


def _flights(cluster: Cluster, ollama_url: str, submissions: tuple[Submission, ...], prepare: Prepare) -> int:
    with (
        temporary_database(cluster.admin_dsn) as database,
        tempfile.TemporaryDirectory() as home,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
        CountingProxy(cluster.port) as proxy,
    ):
        enter_all(owner, submissions, storage_root=Path(home))
        prepare(owner)
        _run(database, proxy.port, ollama_url, home, owner)
        return proxy.flights


def _run(database: Database, port: int, ollama_url: str, home: str, owner: psycopg.Connection) -> None:
    environment = {
        "AI_BACKEND": "local",
        "LEARNING_DATABASE_URL": url(database.worker_dsn, host="127.0.0.1", port=str(port)),
        "OLLAMA_BASE_URL": ollama_url,
        "STORAGE_VERIFY_ROOT": home,
        "WORKER_POLL_INTERVAL": "60",
    }
    process = subprocess.Popen(BARE, env=environment)
    try:
        until_seconds = time.monotonic() + DEADLINE_SECONDS
        while owner.execute("select 1 from learning_submission_jobs limit 1").fetchone():
            if time.monotonic() > until_seconds:
                raise TimeoutError("the queue is not empty yet")
            time.sleep(0.05)
    finally:
        process.terminate()
        process.wait()
