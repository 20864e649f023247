"""The throughput of jobs without work, compared with pgbench with the same statements, clients and server."""

import os
import re
import statistics
import subprocess
import tempfile
from collections.abc import Mapping
from typing import Any

import psycopg

from bench.fill_queue import fill
from bench.rate import median_rate
from testkit.database import Database, temporary_database
from testkit.postgres import Cluster, bundled_binaries
from worker.queue.statements import statement

WORKERS, ROUNDS = 4, 3
JOBS, WARM_UP = 6000, 1000
_ANALYSIS = '{"schema": "criteria.v2", "score": 3, "criteria_results": []}'
_RATE = re.compile(r"tps = ([\d.]+)")


def measure(jobs: int = JOBS, warm_up: int = WARM_UP, rounds: int = ROUNDS) -> dict[str, float]:
    """Measure both in turn, so that a drift of the machine affects both. Medians. The goal for the ratio is 0.8."""
    with (
        Cluster.start(durable=True) as cluster,
        temporary_database(cluster.admin_dsn, audited=False) as database,
        psycopg.connect(database.admin_dsn, autocommit=True) as owner,
    ):
        ours, theirs = [], []
        for _ in range(rounds):
            fill(owner, jobs)
            ours.append(median_rate(database, WORKERS, warm_up, jobs - 2 * warm_up, rounds=1))
            fill(owner, jobs)
            theirs.append(_pgbench_rate(database, (jobs - warm_up) // WORKERS))
    ours_rate, theirs_rate = statistics.median(ours), statistics.median(theirs)
    return {
        "jobs_per_second": round(ours_rate),
        "pgbench_jobs_per_second": round(theirs_rate),
        "ratio": round(ours_rate / theirs_rate, 3),
    }


def _pgbench_rate(database: Database, jobs_per_client: int) -> float:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(_script())
        script.flush()
        options = ["-n", "-M", "prepared", "-c", str(WORKERS), "-j", "2", "-t", str(jobs_per_client)]
        command = [str(bundled_binaries() / "pgbench"), *options, "-f", script.name, database.worker_dsn]
        environ = os.environ | {"PGOPTIONS": "-c app.current_sub=pupil"}
        output = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=True).stdout
    return float(_RATE.findall(output)[-1])


def _script() -> str:
    """Return the statements of a typed text: lease, read, begin the feedback, settle.

    pgbench cannot use a result within a pipeline, so its lease is a round trip of its own, while a worker's comes with the
    end of the job before. The subject is set for the session, because a transaction's setting ends before the read.
    """
    held = {"job_id": ":id", "lease_key": ":lease_key", "lease_seconds": "65"}
    texts = {"text_md": "'two plus two is four'", "feedback_md": "'well done'", "analysis": f"'{_ANALYSIS}'"}
    lease = {"lease_key": "gen_random_uuid()", "lease_seconds": "65", "position": "null", "sibling_keys": "'{}'", **_ABILITIES}
    return "\n".join(
        (
            _written("lease", lease) + "\\gset",
            "\\startpipeline",
            _written("read_submission", {"submission_id": ":submission_id"}) + ";",
            _written("begin_step", {**held, "permits": "0", "permit_key": "0"}) + ";",
            "\\endpipeline",
            _written("settle", {**held, **texts}) + ";",
            "",
        )
    )


_ABILITIES = {
    "kinds": "'{text,image,file,dialog}'",
    "modes": "'{text_direct,ocr_text}'",
    "practice": "false",
    "program_files": "'{\"\"}'",
    "skips_tests": "false",
    "test_run_id": "''",
}


def _written(name: str, values: Mapping[str, Any]) -> str:
    """Return a statement of the product on one line with its parameters replaced."""
    text = " ".join(statement(name).split())
    for parameter, value in values.items():
        text = text.replace(f"%({parameter})s", value)
    return text
