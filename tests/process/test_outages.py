"""The database goes away in every way it can, while answers of models are in the workers' hands."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from testkit.database import temporary_database
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.outage import ALL_RAN_OUT, set_scene
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.postgres import Cluster, memory_parent
from testkit.site import Site, open_site
from testkit.waiting import until
from worker.queue import bounded
from worker.queue.bounded import StatementTimeout
from worker.queue.connection import Connection, DatabaseUnavailable, connect, connect_monitor, outages_named

pytestmark = pytest.mark.postgres

FEW_CONNECTIONS = 12
TAKE_OVER: LiteralString = """
    update learning_submission_jobs set lease_key = gen_random_uuid(), leased_until = clock_timestamp() + interval '1 hour'
    where status = 'leased'
"""
COMPLETED: LiteralString = "select count(*)::int as n from learning_submissions where analysis_status = 'completed'"
OURS: LiteralString = "select count(*)::int as n from pg_stat_activity where application_name like 'learning-supervisor%%'"


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """A server that may be ended without others noticing. A crash loses no commit, so no lease."""
    with Cluster.start(memory_parent(), durable=True) as cluster:
        yield cluster


@pytest.fixture
def own_site(own_cluster: Cluster, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    with temporary_database(own_cluster.admin_dsn) as database, open_site(database, fleets_simulator) as site:
        yield site


@contextmanager
def seen_again(site: Site) -> Iterator[Site]:
    """The same site over a new connection of its owner, as the old one went with the server."""
    with psycopg.connect(site.database.admin_dsn, autocommit=True, row_factory=dict_row) as owner:
        yield replace(site, owner=owner)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_of_the_server(own_cluster: Cluster, own_site: Site, how: signal.Signals) -> None:
    """A shutdown and a crash: answers that come while there is no server are written when there is one again."""
    scene = set_scene(own_site)
    own_cluster.halt(how)
    scene.answer()
    scene.until_lost("OperationalError")
    own_cluster.resume()
    with seen_again(own_site) as site:
        scene.assert_survived(site)


@pytest.mark.second_tier
def test_connections_that_are_ended_repeatedly(site: Site) -> None:
    """Each time all are back they are ended again, first with answers on their way, then in the middle of everything else."""
    scene = set_scene(site)
    for turn in range(6):
        until(lambda: site.one(OURS + " and datname = current_database()")["n"] > 0)
        site.cut_connections()
        if turn == 2:
            scene.answer()
    scene.assert_survived(site)


@pytest.mark.second_tier
def test_no_connection_is_left(own_cluster: Cluster, own_site: Site) -> None:
    """Other clients take all connections of the server. Running and new processes wait, and none of them ends."""
    own_site.owner.execute(sql.SQL("alter system set max_connections = {}").format(FEW_CONNECTIONS))
    own_cluster.halt()
    own_cluster.resume()
    with seen_again(own_site) as site:
        scene = set_scene(site)
        with ExitStack() as crowd:
            crowd_out(site, crowd)
            scene.answer()
            scene.until_lost("TooManyConnections")
            assert "no free connection (TooManyConnections, role " in scene.fleet.status()["message"]
            late = site.start(runtime_directory=site.directory / "late", worker_concurrency=2, boot_timeout_seconds=1)
            late.until_logged("connection_lost", 6)
            assert (late.logged("exited"), late.logged("terminate")) == ([], [])
        scene.assert_survived(site)
        late.until_idle()
        assert late.logged("exited") == []


def crowd_out(site: Site, crowd: ExitStack) -> None:
    """Waits until other clients hold every connection and none is ours."""
    while site.one(OURS)["n"]:
        site.cut_connections()
        with suppress(psycopg.OperationalError):
            while True:
                crowd.enter_context(psycopg.connect(site.database.worker_dsn))


def test_a_server_that_takes_no_writes(site: Site) -> None:
    """After a failover to a standby, reads work and writes fail. Status reports it, and nothing is lost."""
    scene = set_scene(site)
    name = sql.Identifier(site.database.name)
    site.owner.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
    site.cut_connections()
    scene.answer()
    scene.until_lost("ReadOnlySqlTransaction")
    scene.fleet.until_state("degraded")
    assert "(ReadOnlySqlTransaction)" in scene.fleet.status()["message"]
    site.owner.execute(sql.SQL("alter database {} reset default_transaction_read_only").format(name))
    scene.assert_survived(site)


def test_a_queue_that_is_forbidden_for_a_while(site: Site) -> None:
    """A migration revokes the role's rights and grants them again: no worker dies, no job loses an attempt, status reports it."""
    scene = set_scene(site)
    site.owner.execute("revoke all on learning_submission_jobs from learning_worker")
    scene.answer()
    scene.until_lost("InsufficientPrivilege")
    until(
        lambda: "answers, but does not let the service use the queue (InsufficientPrivilege)" in scene.fleet.status()["message"]
    )
    site.owner.execute("grant select, update, delete on learning_submission_jobs to learning_worker")
    scene.assert_survived(site)


@pytest.mark.second_tier
def test_an_outage_longer_than_the_lease(site: Site) -> None:
    """Others have the jobs when the server is back: the answers in hand are dropped and counted, and each job ends once."""
    scene = set_scene(site, worker_lease_seconds=5, ai_timeout_feedback=2, terminate_grace_seconds=0.1)
    site.shut_out()
    scene.answer()
    until(lambda: site.one(ALL_RAN_OUT)["it"])
    site.owner.execute(TAKE_OVER)
    site.let_in()
    scene.until_dropped(2)
    site.owner.execute("update learning_submission_jobs set leased_until = clock_timestamp() where status = 'leased'")
    site.until_done_once(scene.entered)
    scene.fleet.until_state("ok")
    assert scene.fleet.metrics()["learning_writes_rejected_total"] == 2
    assert scene.fleet.worker_pids() == scene.pids


def test_a_sibling_does_not_take_a_job_whose_answer_is_in_hand(site: Site) -> None:
    """After an outage longer than the lease one worker is back before the other, and each still writes its own answer."""
    scene = set_scene(site, worker_lease_seconds=5, ai_timeout_feedback=2, terminate_grace_seconds=0.1)
    late = scene.pids[1]
    site.shut_out()
    scene.answer()
    scene.until_lost("InvalidAuthorizationSpecification")
    until(lambda: site.one(ALL_RAN_OUT)["it"])
    os.kill(late, signal.SIGSTOP)
    try:
        site.let_in()
        until(lambda: site.one(COMPLETED)["n"] == len(scene.entered) - 1)
        until(lambda: all(worker["activity"] != "lease" for worker in scene.fleet.workers()))
    finally:
        os.kill(late, signal.SIGCONT)
    scene.assert_survived(site)


# A server that is there and does not answer


@pytest.fixture
def proxy(site: Site) -> Iterator[PgProxy]:
    with proxy_before(site.database.worker_dsn) as before:
        yield before


def test_a_silent_server_is_an_outage(proxy: PgProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without an answer is closed after its timeout, and an answer that arrives later is ignored."""
    monkeypatch.setattr(bounded, "REPLY_TIMEOUT_SECONDS", 0.3)
    with connect(proxy.dsn, "test") as connection:
        proxy.fall_silent()
        with pytest.raises(DatabaseUnavailable, match="StatementTimeout"), outages_named():
            connection.execute("select 1")
        assert connection.closed


@pytest.mark.parametrize("is_at_the_end", [False, True])
def test_a_server_that_falls_silent_in_a_pipeline(site: Site, monkeypatch: pytest.MonkeyPatch, *, is_at_the_end: bool) -> None:
    """The server process is stopped before a result or before the commit. Both are the class that log and `status` explain."""
    monkeypatch.setattr(bounded, "REPLY_TIMEOUT_SECONDS", 0.3)

    def use_a_stopped_process(connection: Connection) -> None:
        with outages_named(), connection.pipeline():
            cursor = connection.execute("select 1")
            if not is_at_the_end:
                cursor.fetchone()

    connection = connect(site.database.worker_dsn, "test")
    backend_pid = connection.info.backend_pid
    os.kill(backend_pid, signal.SIGSTOP)
    try:
        with pytest.raises(DatabaseUnavailable, match=r"^StatementTimeout$"):
            use_a_stopped_process(connection)
    finally:
        os.kill(backend_pid, signal.SIGCONT)


def test_a_silent_server_is_an_outage_for_the_monitor(proxy: PgProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in its loop, while waiting for a notification that does not come is none."""
    monkeypatch.setattr(bounded, "REPLY_TIMEOUT_SECONDS", 0.3)

    async def monitor() -> None:
        async with await connect_monitor(proxy.dsn, "test") as connection:
            assert [each async for each in connection.notifies(timeout=0.5)] == []
            proxy.fall_silent()
            with pytest.raises(StatementTimeout):
                await connection.execute("select 1")

    asyncio.run(monitor())
