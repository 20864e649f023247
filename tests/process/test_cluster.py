"""The throw-away server ends with the process that started it."""

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from testkit.postgres import Cluster, ClusterError

START_AND_WAIT = """
import pathlib, sys
from testkit.postgres import Cluster
cluster = Cluster.start(pathlib.Path(sys.argv[1]))
print(cluster.pid, cluster.directory, flush=True)
input()
"""

ROOT = Path(__file__).parents[2]


def server_processes(postmaster_pid: int) -> list[int]:
    """Return pidfds of the postmaster and its children, which are readable after their end."""
    postmaster = psutil.Process(postmaster_pid)
    return [os.pidfd_open(process.pid) for process in (postmaster, *postmaster.children())]


def have_ended(pidfds: list[int], timeout_seconds: float) -> bool:
    """Wait for all, and close the pidfds."""
    ended = [bool(select.select([pidfd], [], [], timeout_seconds)[0]) for pidfd in pidfds]
    for pidfd in pidfds:
        os.close(pidfd)
    return all(ended)


@pytest.fixture
def parent() -> Iterator[Path]:
    """Make a directory that no other run sweeps, with a short path and access for the server's user."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as place:
        Path(place).chmod(0o711)
        yield Path(place)


@contextmanager
def starter(parent: Path) -> Iterator[tuple[int, Path]]:
    """Run a process with its own server, and kill it at the end. Yield the postmaster's pid and directory."""
    command = [sys.executable, "-c", START_AND_WAIT, str(parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        pid, directory = process.stdout.readline().split()
        yield int(pid), Path(directory)
        process.kill()


@pytest.fixture
def killed_directory(parent: Path) -> Path:
    """Return the directory of a server whose starting process was killed. The server has ended."""
    with starter(parent) as (postmaster_pid, directory):
        processes = server_processes(postmaster_pid)
    assert len(processes) > 1
    assert have_ended(processes, timeout_seconds=10)
    return directory


def test_the_server_dies_with_its_starter(killed_directory: Path) -> None:
    """SIGKILL of the starting process ends the postmaster and its children by an immediate shutdown."""
    assert "received immediate shutdown request" in (killed_directory / "server.log").read_text()


def test_the_next_start_removes_directories_of_killed_servers(parent: Path, killed_directory: Path) -> None:
    """The next start removes the directory of a dead server, but not one in use."""
    with Cluster.start(parent) as first, Cluster.start(parent) as second:
        assert sorted(parent.glob("learning-pg-*")) == sorted([first.directory, second.directory])
        assert killed_directory not in (first.directory, second.directory)
        psycopg.connect(first.admin_dsn).close()


def test_stop_leaves_neither_process_nor_directory() -> None:
    """The end of the block ends every process of the server and removes its directory. A second stop is harmless."""
    with Cluster.start() as cluster:
        processes = server_processes(cluster.pid)
    assert have_ended(processes, timeout_seconds=0)
    assert not cluster.directory.exists()
    cluster.stop()


def test_only_a_durable_server_syncs() -> None:
    """By default fsync is off. A durable server has PostgreSQL's defaults."""
    with Cluster.start() as fast, psycopg.connect(fast.admin_dsn) as connection:
        assert connection.execute("show fsync").fetchone() == ("off",)
    with Cluster.start(durable=True) as durable, psycopg.connect(durable.admin_dsn) as connection:
        assert connection.execute("select current_setting('fsync'), current_setting('full_page_writes')").fetchone() == (
            "on",
            "on",
        )


def test_a_failed_start_has_a_reason_and_leaves_nothing(parent: Path) -> None:
    """If the socket's path is too long, the error contains the server's log, and the directory is removed."""
    deep = parent / ("x" * 100)
    deep.mkdir(mode=0o711)
    with pytest.raises(ClusterError, match=r"socket path .* is too long"):
        Cluster.start(deep)
    assert list(deep.iterdir()) == []
