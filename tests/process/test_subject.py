"""Real processes run as the restricted role, and leave no pupil's work in sight between two transactions."""

from collections.abc import Iterator
from typing import LiteralString

import pytest

from testkit.pg_proxy import PgProxy, proxy_before
from testkit.school import School, is_idle
from testkit.site import Site
from testkit.submissions import text_submissions
from testkit.waiting import until

pytestmark = pytest.mark.postgres

ROLES: LiteralString = """
    select application_name, usename as role from pg_stat_activity
     where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@pytest.fixture
def wire(school: School) -> Iterator[PgProxy]:
    with proxy_before(school.database.worker_dsn, asks_for_subjects=True) as before:
        yield before


@pytest.mark.parametrize("pooled", ["false", "true"])
def test_a_working_session_has_no_subject_between_transactions(school: School, wire: PgProxy, pooled: str) -> None:
    """After every transaction of a real worker, a query in its session finds no subject."""
    entered = school.enter(*text_submissions(3, seed=1))
    school.change_job('payload = payload || \'{"student_sub": "another"}\'', entered[1])
    with school.worker(learning_database_url=wire.dsn, ai_backend="stub", database_pooled=pooled) as worker:
        until(lambda: school.is_final(*entered) and is_idle(worker))
    assert [school.results(each) for each in entered] == [["completed"], ["failed"], ["completed"]]
    assert any("app.current_sub" in sent for sent in wire.statements)
    assert len(wire.subjects) > 3 * len(entered)
    assert set(wire.subjects) == {b""}


def test_a_whole_fleet_runs_as_the_restricted_role(site: Site) -> None:
    """Each session of the workers and of the monitor is the restricted role's, while they work."""
    fleet = site.start(worker_concurrency=2, ai_backend="stub")
    fleet.until_idle()
    site.until_done_once(site.enter_texts(2))
    sessions = [row for row in site.all(ROLES) if row["application_name"].startswith("learning-supervisor")]
    assert len(sessions) == 3
    assert {row["role"] for row in sessions} == {f"{site.database.name}_worker"}
