"""An empty queue for each test. The database is emptied and not created again, which would take longer than most tests."""

from collections.abc import Iterator

import pytest

from testkit.database import YEARS, Database, temporary_database
from testkit.filled_queue import FilledQueue, open_queue

pytest.register_assert_rewrite("tests.postgres.queue_machine")  # its failures show what differs


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on both schemas. A module with `SCHEMAS` names its years: the other one takes long and shows nothing."""
    if "shared_database" in metafunc.fixturenames:
        years = getattr(metafunc.module, "SCHEMAS", YEARS)
        metafunc.parametrize("shared_database", years, indirect=True, scope="module")


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database with the schema as of 2025-12, and another one as of 2026."""
    with temporary_database(cluster_dsn, year=request.param) as fresh:
        yield fresh


@pytest.fixture
def queue(shared_database: Database) -> Iterator[FilledQueue]:
    with open_queue(shared_database) as cleared:
        yield cleared
