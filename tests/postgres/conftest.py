"""An empty queue for each test. The database is emptied and not created again, which would take longer than most tests."""

from collections.abc import Iterator

import pytest

from testkit.database import Database, temporary_database
from testkit.filled_queue import FilledQueue, open_queue


@pytest.fixture(scope="module")
def shared_database(cluster_dsn: str) -> Iterator[Database]:
    with temporary_database(cluster_dsn) as fresh:
        yield fresh


@pytest.fixture
def queue(shared_database: Database) -> Iterator[FilledQueue]:
    with open_queue(shared_database) as cleared:
        yield cleared
