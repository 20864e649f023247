"""A payload whose stored bytes are damaged on disk, as after a failure of the disk: the other jobs go on."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from testkit.database import temporary_database
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.postgres import Cluster, memory_parent
from testkit.site import Site, open_site
from testkit.waiting import until

pytestmark = pytest.mark.postgres

PAYLOAD_BYTES = 100_000  # not to be compressed, so that it is stored in a file of its own
TOAST_FILE = """
    select pg_relation_filepath(reltoastrelid) as path from pg_class where oid = 'learning_submission_jobs'::regclass
"""


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    with Cluster.start(memory_parent()) as cluster:
        yield cluster


@pytest.fixture
def own_site(own_cluster: Cluster, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    with temporary_database(own_cluster.admin_dsn) as database, open_site(database, fleets_simulator) as site:
        yield site


def enlarge(site: Site, submission_id: UUID) -> None:
    """Store the payload outside the row, in the only file of such values."""
    site.owner.execute(
        "update learning_submission_jobs set payload = payload || %s where submission_id = %s",
        [Jsonb({"hints_md": secrets.token_hex(PAYLOAD_BYTES // 2)}), submission_id],
    )


@contextmanager
def damaged(cluster: Cluster, site: Site) -> Iterator[Site]:
    """Empty the file while the server is down."""
    path = cluster.directory / "data" / site.one(TOAST_FILE)["path"]
    site.owner.execute("checkpoint")
    cluster.halt()
    path.write_bytes(bytes(path.stat().st_size))
    cluster.resume()
    with psycopg.connect(site.database.admin_dsn, autocommit=True, row_factory=dict_row) as owner:
        yield replace(site, owner=owner)


@pytest.mark.second_tier
def test_a_damaged_payload_hides_no_other_job(own_cluster: Cluster, own_site: Site) -> None:
    """Reading the payload raises XX001. The job fails with this code, the others are completed, and no process ends."""
    damaged_id, *others = own_site.enter_texts(5)
    enlarge(own_site, damaged_id)
    with damaged(own_cluster, own_site) as site:
        with pytest.raises(psycopg.errors.DataCorrupted):
            site.job(damaged_id)
        fleet = site.start(worker_concurrency=2)
        site.until_done(others)
        status = "select status, error_code from learning_submission_jobs where submission_id = %s"
        until(lambda: site.one(status, damaged_id)["status"] == "failed")
        assert site.one(status, damaged_id)["error_code"] == "database_XX001"
        assert (fleet.logged("exited"), fleet.logged("connection_lost")) == ([], [])
