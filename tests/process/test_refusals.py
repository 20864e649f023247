"""A connection that is refused is told with its class, its role and its remedy, and never as a database out of reach."""

import subprocess
import sys
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from testkit.database import url
from testkit.postgres import Cluster, memory_parent
from testkit.site import Site, Value
from testkit.supervisor_process import PROJECT_ROOT
from testkit.waiting import until
from worker.queue.connection import DatabaseUnavailable, connect

END_MONITOR: LiteralString = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'learning-supervisor monitor%%'
"""

pytestmark = pytest.mark.postgres

EXHAUSTED = """
import asyncio, os, resource, sys
from contextlib import suppress
from supervisor.monitor.ollama.server import OllamaServer
from worker.queue.connection import DatabaseUnavailable, connect

async def main(dsn, ollama_url):
    server = OllamaServer(ollama_url, 5.0)
    assert (await server.listed()).models is not None  # loads what both need
    connect(dsn, "test").close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    with suppress(OSError):
        while True:
            os.dup(0)
    try:
        connect(dsn, "test")
    except DatabaseUnavailable as outage:
        print(outage)
    print((await server.listed()).why.name)

asyncio.run(main(*sys.argv[1:]))
"""


def until_told(site: Site, name: str, words: str, **settings: Value) -> str:
    """Start a fleet and wait until its status names the class and the role of the refusal."""
    fleet = site.start_with(settings)

    def told() -> str:
        message: str = fleet.status()["message"]
        return message if f"({name}, role " in message else ""

    message = until(told, what=name)
    assert words in message
    assert "cannot be reached" not in message
    assert {line["error"] for line in fleet.logged("connection_lost")} == {name}
    return message


def test_a_wrong_password(site: Site) -> None:
    """On a server that asks for passwords: the role and the variable are named, and the password is not."""
    with Cluster.start(memory_parent()) as cluster, psycopg.connect(cluster.admin_dsn, autocommit=True) as owner:
        owner.execute("create role pupil login password 'right'")
        rules = owner.execute("show hba_file").fetchone()
        assert rules
        Path(rules[0]).write_text("local all postgres trust\nhost all postgres all trust\nlocal all all scram-sha-256\n")
        owner.execute("select pg_reload_conf()")
        dsn = url(cluster.admin_dsn, user="pupil", password="geheim")
        message = until_told(site, "InvalidPassword", "LEARNING_DATABASE_URL", learning_database_url=dsn)
        assert "role pupil" in message
        assert "geheim" not in message


def test_a_role_that_is_missing(site: Site) -> None:
    """The server has no role of this name."""
    dsn = url(site.database.worker_dsn, user="nobody_knows")
    until_told(site, "InvalidAuthorizationSpecification", "role is missing", learning_database_url=dsn)


def limit_connections(site: Site, count: int) -> None:
    role = sql.Identifier(f"{site.database.name}_worker")
    site.owner.execute(sql.SQL("alter role {} connection limit {}").format(role, sql.Literal(count)))


def test_a_limit_that_refuses_a_worker_only(site: Site) -> None:
    """The second worker gets no connection. The status has the class and the remedy, not a full disk, and work goes on."""
    fleet = site.start(worker_concurrency=1)
    fleet.until_idle()
    limit_connections(site, 2)
    fleet.command("/scale", workers=2)
    until(lambda: "Workers get no connection to the database (TooManyConnections, role " in fleet.status()["message"])
    assert "Raise max_connections" in fleet.status()["message"]
    assert fleet.status()["state"] == "degraded"
    site.until_done_once(site.enter_texts(2))


def test_a_limit_that_refuses_the_monitor_only(site: Site) -> None:
    """The workers have all connections and complete submissions, so the status does not say that pupils get no feedback."""
    fleet = site.start(worker_concurrency=2)
    fleet.until_idle()
    limit_connections(site, 2)
    site.owner.execute(END_MONITOR)
    until(lambda: fleet.status()["state"] == "down")
    until(lambda: site.enter_text() and "The workers have theirs" in fleet.status()["message"])
    assert fleet.status()["state"] == "degraded"
    assert fleet.get("/healthz").status_code == 200
    limit_connections(site, -1)
    fleet.until_state("ok")


def test_a_database_that_is_missing(site: Site) -> None:
    """The server is there, the database is not."""
    dsn = site.database.worker_dsn.replace(site.database.name + "?", "no_such_school?", 1)
    assert dsn != site.database.worker_dsn
    until_told(site, "InvalidCatalogName", "has no database of this name", learning_database_url=dsn)


def test_a_role_without_a_free_connection(site: Site) -> None:
    """The limit of the role is reached, although the server has connections left."""
    role = sql.Identifier(f"{site.database.name}_worker")
    site.owner.execute(sql.SQL("alter role {} connection limit 0").format(role))
    until_told(site, "TooManyConnections", "no free connection")


def test_exhausted_descriptors_are_not_a_dead_server(site: Site) -> None:
    """Without a free descriptor the database and Ollama are not called unreachable."""
    command = [sys.executable, "-c", EXHAUSTED, site.database.worker_dsn, site.ollama_url]
    result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT, check=False)
    assert result.stdout.split() == ["DescriptorsExhausted", "EXHAUSTED"], result.stderr


def test_a_server_that_is_away_is_out_of_reach(site: Site) -> None:
    """No process listens: that is no refusal."""
    with pytest.raises(DatabaseUnavailable, match="OperationalError"):
        connect(url(site.database.worker_dsn, host=str(site.directory)), "test")
