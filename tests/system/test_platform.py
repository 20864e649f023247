"""Every mode, schema and kind of adapter to every end: one run, one test for each case."""

import pytest

from testkit.platform.case import all_cases
from testkit.platform.report import Row
from testkit.platform.run import run

pytestmark = [pytest.mark.second_tier, pytest.mark.postgres]

CASES = list(all_cases())


@pytest.fixture(scope="module")
def rows(cluster_dsn: str) -> dict[str, Row]:
    return {row.name: row for row in run(cluster_dsn, CASES, lambda _: None)}


@pytest.mark.parametrize("name", [each.name for each in CASES])
def test_case(rows: dict[str, Row], name: str) -> None:
    """Each case writes what it must, once, and asks for nothing again that was committed."""
    assert rows[name].faults == ()
