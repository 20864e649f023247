"""The loop of the process: a job, then the other duties, then a wait if there was no job."""

import importlib
import os
import sys
import time
from typing import Any

import psycopg
from psycopg.rows import dict_row

from testkit.platform_worker import queue
from testkit.platform_worker.duties import do_one_of_each
from testkit.platform_worker.job import Desk


def main(year: int) -> None:
    """Work until a signal ends the process."""
    environ = os.environ
    lease_seconds = float(environ.get("WORKER_LEASE_SECONDS", "45")) * float(environ.get("WORKER_LEASE_MULTIPLIER", "4"))
    poll_seconds = float(environ.get("WORKER_POLL_INTERVAL", "0.5"))
    backoff_seconds = float(environ.get("WORKER_BACKOFF_SECONDS", "10"))
    dsn = environ["LEARNING_WORKER_DATABASE_URL"]
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row, application_name="platform worker") as connection:
        desk = Desk(connection, _built("VISION"), _built("FEEDBACK"), year, backoff_seconds)
        while True:
            job = queue.lease(connection, lease_seconds, environ.get("WORKER_TEST_RUN_ID"))
            if job:
                desk.work_on(job)
            if year > 2025:
                do_one_of_each(connection)
            if not job:
                time.sleep(poll_seconds)


def _built(step: str) -> Any:
    return importlib.import_module(os.environ[f"LEARNING_{step}_ADAPTER"]).build()


if __name__ == "__main__":
    main(int(sys.argv[1]))
