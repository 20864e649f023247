"""Behind a transaction pooler nothing may stay in a session: status reports the pooler, and the work goes on by polling."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from testkit.database import url
from testkit.live_fleet import PROJECT_ROOT, LiveFleet
from testkit.pooler import Pooler, pooler_before
from testkit.postgres import free_port, identity, server_account
from testkit.site import FEEDBACK_MODEL, VISION_MODEL, Site, everything
from testkit.supervisor_process import run_command
from testkit.waiting import until
from worker.ollama.address import server_name
from worker.queue import host_permits
from worker.queue.bounded import MONITOR_BOUNDS, WORKER_BOUNDS
from worker.queue.connection import Connection, DatabaseUnavailable, connect, connect_monitor, is_pooled, outages_named
from worker.queue.permits import Permits

pytestmark = pytest.mark.postgres

LEFT_BEHIND: LiteralString = """
    select (select count(*)::int from pg_prepared_statements) as prepared,
        (select count(*)::int from pg_listening_channels()) as channels,
        (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks,
        coalesce(current_setting('app.current_sub', true), '') as subject,
        (select count(*)::int from pg_settings where source = 'session' and name ~ '_timeout$') as settings
"""
NOTHING = {"prepared": 0, "channels": 0, "locks": 0, "subject": "", "settings": 0}
PGBOUNCER = """
[databases]
{dbname} = {target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
"""
ADVISORY_LOCKS: LiteralString = """
    select from pg_locks
    where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())
"""
RUN_OUT: LiteralString = """
    update learning_submission_jobs set leased_until = now()
    where status = 'leased' and lease_key::text like %s || '%%'
"""
TIMEOUTS: LiteralString = "select name, setting from pg_settings where name ~ '^(statement|lock)_timeout$'"


@pytest.fixture
def pooler(site: Site) -> Iterator[Pooler]:
    """With fewer sessions than a fleet has connections."""
    with pooler_before(site.database.worker_dsn, sessions=2) as before:
        yield before


def start(site: Site, pooler: Pooler, workers: int, directory: str = "run", parallel: int = 1) -> LiveFleet:
    return site.start(
        learning_database_url=pooler.dsn,
        worker_poll_interval=0.1,
        worker_concurrency=workers,
        runtime_directory=site.directory / directory,
        ollama_num_parallel=parallel,
    )


def timeouts(connection: Connection) -> dict[str, int]:
    return {f"{row['name']}_ms": int(row["setting"]) for row in connection.execute(TIMEOUTS)}


def test_jobs_are_found_by_polling_behind_a_pooler(site: Site, pooler: Pooler) -> None:
    """Each submission of a class ends once, one call at a time. Status gives the mode, and no session keeps any state."""
    fleet = start(site, pooler, workers=3)
    fleet.until_state("ok")
    site.until_done_once(site.enter(*everything()))
    status = fleet.status()
    assert (status["queue"]["is_pooled"], status["queue"]["is_listening"]) == (True, False)
    assert "A transaction pooler is in between" in status["message"]
    assert {site.simulator.state()["models"][model]["max_in_flight"] for model in (VISION_MODEL, FEEDBACK_MODEL)} == {1}
    assert fleet.stop() == 0
    assert fleet.logged("connection_lost") == []
    pooler.stop()
    assert [pooler.query_session(session, LEFT_BEHIND) for session in pooler.sessions] == [NOTHING] * 2


def test_permits_hold_on_one_host_and_end_with_their_worker(site: Site, pooler: Pooler) -> None:
    """Two instances share one permit of the model. A worker that is killed in its call frees it for the next one."""
    site.simulator.fault("hang", FEEDBACK_MODEL)
    entered = site.enter_texts(6)
    fleets = [start(site, pooler, workers=2, directory=name) for name in ("one", "two")]
    until(lambda: sum(len(pids_in(fleet, "permit")) for fleet in fleets) == 3)
    (victim,) = until(lambda: [pid for fleet in fleets for pid in pids_in(fleet, "feedback")])
    until(lambda: site.simulator.state()["models"][FEEDBACK_MODEL]["running"] == 1)
    os.kill(victim, signal.SIGKILL)
    site.until_done_once(entered)
    assert [crashes for crashes in (worker["crashes"] for fleet in fleets for worker in fleet.workers()) if crashes] == [1]


TAKE_AND_LEAVE = """
import os, sys
from worker.queue import host_permits
sock = host_permits.take(int(sys.argv[1]), 1)
if os.fork():
    os._exit(0)  # the child keeps the socket
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_permit_that_outlives_its_process_is_replaced(site: Site, pooler: Pooler) -> None:
    """A process that an adapter has started keeps the socket. Others call in its place, and status names it until it ends."""
    key = Permits.of(server_name(site.ollama_url), FEEDBACK_MODEL, 1).key
    command = [sys.executable, "-c", TAKE_AND_LEAVE, str(key)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT_ROOT) as taker:
        assert taker.stdout is not None
        taker.stdout.readline()
        taker.wait()
        entered = site.enter_texts(2)
        fleet = start(site, pooler, workers=1)
        until(lambda: fleet.status()["lost_permits"])
        assert f"a process that outlived process {taker.pid} of this host" in fleet.status()["message"]
        site.until_done_once(entered)
    fleet.until_state("ok")


def test_the_permit_of_a_frozen_instance_is_replaced_after_its_lease(site: Site, pooler: Pooler) -> None:
    """All its processes are stopped and live. Another instance does its job and a second one, and names the process."""
    site.simulator.fault("hang", FEEDBACK_MODEL, times=1)
    entered = [site.enter_text()]
    frozen = start(site, pooler, workers=1, directory="frozen")
    (pid,) = site.until_in_call(frozen, FEEDBACK_MODEL)
    stopped, instance = frozen.living(), frozen.instance()
    for process in stopped:
        process.suspend()
    entered += site.enter_texts(1)
    other = start(site, pooler, workers=1, directory="other")
    until(lambda: any(wait["holders"] for wait in other.status()["permit_waits"]))
    assert other.status()["lost_permits"] == []
    site.owner.execute(RUN_OUT, [f"{instance:08x}"])
    until(lambda: [f"process {pid} of this host"] == [lost["name"] for lost in other.status()["lost_permits"]])
    site.until_done(entered)
    for process in stopped:
        process.resume()
    site.until_done_once(entered)
    other.until_state("ok")


def test_a_wait_at_a_socket_that_is_full_still_waits(site: Site) -> None:
    """After thousands of waits in one call the kernel refuses to connect. The wait then lasts its time, instead of spinning."""
    key = Permits.of("nowhere", str(site.directory), 1).key
    held = host_permits.take(key, 1)
    assert held is not None
    with held:
        while host_permits.holder_pid(key, 1):
            pass
        started_at_seconds = time.monotonic()
        assert host_permits.wait(key, 1, 0.2) is None
        assert time.monotonic() - started_at_seconds >= 0.2


def pids_in(fleet: LiveFleet, activity: str) -> list[int]:
    return [worker["pid"] for worker in fleet.workers() if worker["activity"] == activity]


def test_a_pooled_transaction_has_its_timeouts(site: Site, pooler: Pooler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statement and lock timeout apply to every statement behind a pooler, and need no round trip of their own."""
    monkeypatch.setitem(WORKER_BOUNDS, "lock_timeout_ms", 200)
    with connect(pooler.dsn, "test") as connection, site.owner.transaction():
        assert is_pooled(connection)
        before = pooler.flights
        assert timeouts(connection) == WORKER_BOUNDS
        assert pooler.flights == before + 1
        site.owner.execute("lock learning_submission_jobs")
        with pytest.raises(DatabaseUnavailable, match="LockNotAvailable"), outages_named():
            connection.execute("delete from learning_submission_jobs")


def test_the_monitors_statements_have_timeouts(site: Site, pooler: Pooler) -> None:
    """Directly and behind a pooler, one locked row does not block the monitor."""

    async def bounds(dsn: str) -> dict[str, int]:
        async with await connect_monitor(dsn, "test") as connection:
            return {f"{row['name']}_ms": int(row["setting"]) async for row in await connection.execute(TIMEOUTS)}

    assert [asyncio.run(bounds(dsn)) for dsn in (site.database.worker_dsn, pooler.dsn)] == [MONITOR_BOUNDS] * 2


def test_database_pooled_overrides_the_detection(site: Site, pooler: Pooler) -> None:
    """DATABASE_POOLED overrides the detection: true skips it, and false accepts a pooler that keeps sessions apart."""
    with (
        connect(site.database.worker_dsn, "test", pooled="true") as configured,
        connect(pooler.dsn, "test", pooled="false") as trusted,
    ):
        assert (is_pooled(configured), is_pooled(trusted)) == (True, False)
        assert timeouts(configured) == WORKER_BOUNDS


@pytest.mark.second_tier
def test_jobs_run_behind_pgbouncer(site: Site) -> None:
    """The pooler that most have, in transaction mode with two sessions: found out, and every submission of a class ends once."""
    with pgbouncer_before(site) as dsn:
        fleet = site.start(learning_database_url=dsn, worker_poll_interval=0.1, worker_concurrency=3, ollama_num_parallel=1)
        fleet.until_state("ok")
        site.until_done_once(site.enter(*everything()))
        assert fleet.status()["queue"]["is_pooled"]
        assert site.all(ADVISORY_LOCKS) == []
        assert {site.simulator.state()["models"][model]["max_in_flight"] for model in (VISION_MODEL, FEEDBACK_MODEL)} == {1}
        assert fleet.stop() == 0
        assert fleet.logged("connection_lost") == []


@contextmanager
def pgbouncer_before(site: Site) -> Iterator[str]:
    """Starts a pgbouncer that accepts every client and logs in with the role's own password, not as root (nor does
    PostgreSQL).
    """
    if (program := shutil.which("pgbouncer")) is None:
        pytest.skip("apt-get install pgbouncer")
    parts, port = conninfo_to_dict(site.database.worker_dsn), free_port()
    with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as place:
        Path(place).chmod(0o711)
        settings = Path(place) / "pgbouncer.ini"
        target = " ".join(f"{key}={parts[key]}" for key in ("host", "port", "dbname", "user", "password") if key in parts)
        settings.write_text(PGBOUNCER.format(dbname=parts["dbname"], target=target, port=port))
        with subprocess.Popen([program, settings], **identity(server_account())) as process:
            try:
                dsn = url(site.database.worker_dsn, host="127.0.0.1", port=str(port), sslmode="disable", gssencmode="disable")
                until(lambda: answers(dsn))
                yield dsn
            finally:
                process.terminate()


def answers(dsn: str) -> bool:
    with suppress(psycopg.OperationalError), psycopg.connect(dsn):
        return True
    return False


def test_a_direct_connection_is_not_taken_for_a_pooler(site: Site) -> None:
    """A direct connection keeps its session: prepared statements, notifications, permits across hosts."""
    with connect(site.database.worker_dsn, "test") as connection:
        assert not is_pooled(connection)


def test_check_names_the_pooler(site: Site, pooler: Pooler) -> None:
    """Before the first job an operator learns what a pooler costs."""
    environ = {"LEARNING_DATABASE_URL": pooler.dsn, "RUNTIME_DIRECTORY": str(site.directory / "run")}
    done = run_command(site.directory, environ, "check")
    assert "warning the database is behind a transaction pooler" in " ".join(done.stdout.split())
    assert done.returncode == 0
