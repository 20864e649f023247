"""The demo from start to end."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from testkit.waiting import until

LAST_LINE = "14 submissions: 13 completed, 1 failed (input_corrupt), 0 lost, 0 written twice, 1 worker killed and replaced"


@pytest.fixture
def home() -> Iterator[Path]:
    """Make a directory for temporary files, with a short path because of the sockets."""
    with tempfile.TemporaryDirectory(prefix="d-") as path:
        Path(path).chmod(0o755)
        yield Path(path)


def start(home: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "TMPDIR": str(home), "COLUMNS": "80"}
    command = [sys.executable, "-m", "demo", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, process_group=0)


@pytest.mark.parametrize("year", ["2025", pytest.param("2026", marks=pytest.mark.second_tier)])
def test_the_demo_accounts_for_every_submission(home: Path, year: str) -> None:
    """It ends with its last line and exit code 0 on each schema, and removes its files."""
    demo = start(home, "--year", year)
    output, _ = demo.communicate(timeout=90)
    assert (demo.returncode, output.splitlines()[-1]) == (0, LAST_LINE)
    assert max(map(len, output.splitlines()[:-1])) <= 80
    assert list(home.glob("learning-demo-*")) == []


BY_REQUEST = [pytest.param(number, marks=pytest.mark.second_tier) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("number", [*BY_REQUEST, signal.SIGKILL])
def test_nothing_outlives_the_demo(home: Path, number: signal.Signals) -> None:
    """Supervisor, workers, database and simulator end with the demo, also after SIGKILL."""
    demo = start(home)
    descendants = until(lambda: _with_workers(demo.pid))
    demo.send_signal(number)
    demo.communicate(timeout=60)
    until(lambda: not any(_is_alive(process) for process in descendants))


def _with_workers(pid: int) -> list[psutil.Process]:
    """Return all descendants, empty until there are workers."""
    found = psutil.Process(pid).children(recursive=True)
    return found if sum(_is_ours(process) for process in found) > 4 else []


def _is_ours(process: psutil.Process) -> bool:
    """Return True for a process of the product. A process may end during the check, like the helpers of initdb."""
    try:
        return "learning-supervisor" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
