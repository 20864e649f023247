"""One PostgreSQL server for the whole run, a fresh database for each test that asks for one.

A run with several processes starts the server before them and hands its URL on in TEST_DATABASE_URL; a run of one
process starts it when the first test asks. A TEST_DATABASE_URL from outside (a superuser's) is used as it is.
"""

import os
from collections.abc import Iterator

import pytest

from testkit.database import Database, temporary_database
from testkit.postgres import Cluster, memory_parent
from tests.ollama.real_server import why_not

VARIABLE = "TEST_DATABASE_URL"
SHARED_CLUSTER = pytest.StashKey[Cluster]()


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


def pytest_unconfigure(config: pytest.Config) -> None:
    if SHARED_CLUSTER in config.stash:
        config.stash[SHARED_CLUSTER].stop()
        del os.environ[VARIABLE]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for all tests that need a real Ollama, where they were asked for and there is none."""
    if any("test_real_server" in report.nodeid for report in terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(why_not())


@pytest.fixture(scope="session")
def cluster_dsn() -> Iterator[str]:
    """The superuser's URL of the server under test."""
    if VARIABLE in os.environ:
        yield os.environ[VARIABLE]
    else:
        with Cluster.start(memory_parent()) as cluster:
            yield cluster.admin_dsn


@pytest.fixture
def database(cluster_dsn: str) -> Iterator[Database]:
    """Without the functions' guard, with an audit that sees every write (testkit/schema/audit.sql)."""
    with temporary_database(cluster_dsn) as fresh:
        yield fresh


@pytest.fixture
def plain_database(cluster_dsn: str) -> Iterator[Database]:
    """As on the platform: the functions silently refuse a second result."""
    with temporary_database(cluster_dsn, audited=False) as fresh:
        yield fresh
