"""The platform's schema changes while a fleet works."""

import psycopg
import pytest

from testkit.database import migrate_to_2026
from testkit.site import Site

pytestmark = pytest.mark.postgres


def test_a_migration_to_2026_under_a_working_fleet_costs_nothing(site: Site) -> None:
    """Workers that have connected before the migration's end wait for it. Each job is completed once, and no worker ends."""
    entered = site.enter_texts(5)
    with psycopg.connect(site.database.admin_dsn) as owner, owner.transaction():
        migrate_to_2026(owner)
        fleet = site.start(worker_concurrency=2, ai_backend="stub")
        site.until_a_statement_waits_for_a_lock()
    site.until_done_once(entered + site.enter_texts(5))
    assert {row["analysis_status"] for row in site.all("select analysis_status from learning_submissions")} == {"completed"}
    assert fleet.logged("exited") == []
