"""One PostgreSQL server for the whole run, and a new database for each test that needs one.

A run with several processes starts the server before them and passes its URL on in TEST_DATABASE_URL. A run of one process
starts it with the first test that needs it. A given TEST_DATABASE_URL must be a superuser's and is used unchanged.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from testkit.database import Database, temporary_database
from testkit.postgres import Cluster, memory_parent
from testkit.real_ollama.server import why_not

VARIABLE = "TEST_DATABASE_URL"
SLOW_FOLDERS = {"process", "system"}
SHARED_CLUSTER = pytest.StashKey[Cluster]()

settings.register_profile("untimed", deadline=None)  # a busy machine makes no example wrong
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--repeat", type=int, default=1, metavar="N", help="run every test N times, to find one that fails now and then"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if (times := metafunc.config.getoption("repeat")) > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(times))


def pytest_configure(config: pytest.Config) -> None:
    is_controller = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if is_controller and VARIABLE not in os.environ:
        cluster = config.stash[SHARED_CLUSTER] = Cluster.start(memory_parent())
        os.environ[VARIABLE] = cluster.admin_dsn


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, else the processes of a run wait for the last one of them at its end."""
    items.sort(key=lambda item: item.path.parent.name not in SLOW_FOLDERS)


def pytest_unconfigure(config: pytest.Config) -> None:
    if SHARED_CLUSTER in config.stash:
        config.stash[SHARED_CLUSTER].stop()
        del os.environ[VARIABLE]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for all skipped tests that need a real Ollama."""
    if any("test_real_server" in report.nodeid for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(why_not())


@pytest.fixture(scope="session")
def cluster_dsn() -> Iterator[str]:
    """Return the superuser's URL of the server under test."""
    if VARIABLE in os.environ:
        yield os.environ[VARIABLE]
    else:
        with Cluster.start(memory_parent()) as cluster:
            yield cluster.admin_dsn


@pytest.fixture
def database(cluster_dsn: str) -> Iterator[Database]:
    """Create a database with an audit of every write, without the guard of the functions (testkit/schema/audit.sql)."""
    with temporary_database(cluster_dsn) as fresh:
        yield fresh


@pytest.fixture
def plain_database(cluster_dsn: str) -> Iterator[Database]:
    """Create a database as on the platform: the functions ignore a second result."""
    with temporary_database(cluster_dsn, audited=False) as fresh:
        yield fresh
