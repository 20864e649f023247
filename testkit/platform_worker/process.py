"""Start and stop the platform's worker in a test."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from testkit.database import Year
from testkit.parent_death import die_with
from testkit.supervisor_process import PROJECT_ROOT

DUTIES = Path(__file__).with_name("duties.sql")


@dataclass(frozen=True, slots=True)
class PlatformWorker:
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Send SIGTERM, which ends it at once, also within a job."""
        self.process.terminate()
        self.process.wait()


def install_duties(owner: psycopg.Connection) -> None:
    """Add the database side of the other duties to a schema of 2026."""
    owner.execute(DUTIES.read_bytes())


@contextmanager
def start_platform_worker(year: Year, environ: Mapping[str, str]) -> Iterator[PlatformWorker]:
    """Run the worker of that year for the length of the block, or until it is stopped."""
    process = subprocess.Popen(
        [sys.executable, "-m", "testkit.platform_worker", str(year)],
        cwd=PROJECT_ROOT,
        env={"PATH": os.environ.get("PATH", ""), **environ},
        preexec_fn=die_with(os.getpid()),  # noqa: PLW1509
    )
    try:
        yield PlatformWorker(process)
    finally:
        process.kill()
        process.wait()
