"""The memory that a worker does not share (USS), before and after it has worked."""

import statistics

import psutil
import psycopg

from bench.fill_queue import WORK_LIMIT_SECONDS
from bench.fleet import Fleet, start_fleet
from testkit.database import temporary_database
from testkit.ollama_simulator.process import start_simulator
from testkit.postgres import Cluster
from testkit.submissions import Submission, demo_submissions, enter_all, text_submissions
from testkit.waiting import until

WORKERS = 4
JOBS = 100  # per worker, every second one with a photo


def measure(workers: int = WORKERS, jobs: int = JOBS) -> dict[str, float]:
    """Measure medians over the workers. Goal for an idle worker: at most 8 MB."""
    fast = {"num_parallel": workers, "load_seconds": 0.0, "vision_seconds": 0.01, "tokens_per_second": 20_000}
    with (
        Cluster.start() as cluster,
        temporary_database(cluster.admin_dsn) as database,
        start_simulator(**fast) as simulator,
        start_fleet(workers, database.worker_dsn, simulator.url, OLLAMA_NUM_PARALLEL=str(workers)) as fleet,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
    ):
        fleet.until_at_rest()
        idle_bytes = _uss_bytes(fleet)
        enter_all(owner, _work(workers * jobs), storage_root=fleet.storage_root)
        until(
            lambda: owner.execute("select 1 where not exists (select from learning_submission_jobs)").fetchone(),
            WORK_LIMIT_SECONDS,
        )
        fleet.until_at_rest()
        return {
            "uss_idle_mb": round(idle_bytes / 1e6, 2),
            "uss_busy_mb": round(_uss_bytes(fleet) / 1e6, 2),
            "supervisor_rss_mb": round(psutil.Process(fleet.pid).memory_info().rss / 1e6, 2),
        }


def _uss_bytes(fleet: Fleet) -> float:
    return statistics.median(psutil.Process(pid).memory_full_info().uss for pid in fleet.worker_pids())


def _work(jobs: int) -> list[Submission]:
    photo = next(each for each in demo_submissions() if each.mime_type == "image/png")
    return [each for text in text_submissions(jobs // 2, seed=1) for each in (text, photo)]
