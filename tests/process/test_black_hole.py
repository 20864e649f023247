"""A network between us and the server that swallows everything: no packet, no refusal, no end."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import LiteralString

import pytest
from psycopg import sql

from testkit.database import temporary_database, url
from testkit.far_host import FarHost, accept_hosts
from testkit.live_fleet import PROJECT_ROOT
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.outage import ALL_RAN_OUT, NO_MODEL, set_scene
from testkit.postgres import Cluster, memory_parent
from testkit.site import Site, Value, open_site
from testkit.waiting import until

pytestmark = pytest.mark.second_tier

HOLE_SECONDS = 60.0  # twelve to give up, five to connect in vain, five to wait
LEASE_OF: LiteralString = """
    select status = 'leased' and leased_until > clock_timestamp() as is_running from learning_submission_jobs
    where submission_id = %s
"""
ASK_AND_LISTEN = """
import select, sys, psycopg
from worker.queue.connection import options
asking, idle = (psycopg.connect(sys.argv[1], **options("test")) for _ in range(2))
print("connected", flush=True)
input()
try:
    asking.execute("select 1")
except psycopg.OperationalError:
    print("asked in vain", flush=True)
select.select([idle], [], [])
print("idle no more", flush=True)
"""


@pytest.fixture
def site(far: FarHost, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    """The worker's DSN leads to us from the far host."""
    with Cluster.start(memory_parent(), tcp=True) as cluster:
        accept_hosts(cluster)
        with temporary_database(cluster.admin_dsn) as database:
            dsn = url(database.worker_dsn, host=far.ours, port=str(cluster.port))
            with open_site(replace(database, worker_dsn=dsn), fleets_simulator) as opened:
                yield opened


def test_a_black_hole(site: Site, far: FarHost) -> None:
    """Workers close their connections, keep their answers, and write them once packets pass again. No process ends."""
    scene = set_scene(site, far.wrapper)
    far.cut()
    scene.answer()
    scene.until_lost("StatementTimeout")
    scene.fleet.until_state("down")
    far.heal()
    scene.assert_survived(site)


def test_a_black_hole_longer_than_the_lease(site: Site, far: FarHost) -> None:
    """Other workers do the jobs meanwhile. The result in hand is dropped and counted, and each job ends once."""
    scene = set_scene(site, far.wrapper, worker_lease_seconds=5, ai_timeout_feedback=2, terminate_grace_seconds=0.1)
    far.cut()
    scene.answer()
    until(lambda: site.one(ALL_RAN_OUT)["it"])
    site.start_with({**scene.settings, "learning_database_url": site.database.admin_dsn, "allow_service_dsn_for_testing": "true",
                     "runtime_directory": site.directory / "near"})  # fmt: skip
    site.until_done_once(scene.entered)
    far.heal()
    scene.until_dropped(2)
    scene.fleet.until_idle()
    assert site.results() == sorted(scene.entered)
    assert (scene.fleet.worker_pids(), scene.fleet.logged("exited")) == (scene.pids, [])


def test_a_silent_host_in_a_call_keeps_no_other_worker_waiting(site: Site, far: FarHost) -> None:
    """The server itself ends the session of a host that is silent, long before the lease of its job, and so frees its permit.

    A setting of the role makes no difference.
    """
    site.owner.execute(
        sql.SQL("alter role {} set tcp_keepalives_idle = 7200").format(sql.Identifier(f"{site.database.name}_worker"))
    )
    (first,) = site.enter_texts(1)
    settings: dict[str, Value] = {**NO_MODEL, "ollama_num_parallel": 1, "ollama_base_url": "http://models:11434",
                                  "ai_timeout_feedback": 300}  # fmt: skip
    there = site.start_with({**settings, "gate": site.directory / "never", "runtime_directory": site.directory / "far",
                             "worker_concurrency": 1}, wrapper=far.wrapper)  # fmt: skip
    there.until_busy("feedback")
    others = site.enter_texts(4)
    here = site.start_with({**settings, "gate": site.directory / "gate", "worker_concurrency": 2})
    (site.directory / "gate").touch()
    here.until_busy("permit", 2)
    far.cut()
    until(lambda: site.is_done(others), HOLE_SECONDS, "the other jobs are done")
    assert (site.results(), here.logged("permit_overdue")) == (sorted(others), [])
    assert [lease["is_running"] for lease in site.all(LEASE_OF, first)] == [True]
    far.heal()


def test_the_kernel_ends_a_dead_connection(site: Site, far: FarHost) -> None:
    """Without any bound of ours: an unanswered packet ends its connection, and so does silence on one that only listens."""
    command = [*far.wrapper, sys.executable, "-c", ASK_AND_LISTEN, site.database.worker_dsn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "connected\n"
        far.cut()
        try:
            output, _ = client.communicate("\n", timeout=HOLE_SECONDS)
        finally:
            client.kill()
    assert output.splitlines() == ["asked in vain", "idle no more"]
