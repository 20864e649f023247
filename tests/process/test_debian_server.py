"""A server as Debian installs it: TLS with a verified certificate, and messages that are not English."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from testkit.database import temporary_database, url
from testkit.debian_server import (
    DEBIAN_BINARIES,
    GERMAN,
    GERMAN_NAME,
    HOST,
    Relay,
    encrypt,
    german_locale,
    make_certificates,
    relay_to,
)
from testkit.ollama_simulator.process import SimulatorProcess
from testkit.outage import set_scene
from testkit.postgres import Cluster, memory_parent
from testkit.refusals import MISSING, accept, install_refusals, refuse
from testkit.site import Site, open_site
from testkit.waiting import until
from tests.process.test_cli import failures, run

pytestmark = [
    pytest.mark.second_tier,
    pytest.mark.skipif(not DEBIAN_BINARIES.exists(), reason="needs Debian's PostgreSQL 15: apt-get install postgresql-15"),
]
needs_openssl = pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl: apt-get install openssl")

ENCRYPTED = """
    select count(*)::int as all_sessions, count(*) filter (where ssl)::int as encrypted
      from pg_stat_ssl join pg_stat_activity using (pid)
     where application_name like 'learning-supervisor%%'
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("tls") / "school")


@pytest.fixture(scope="module")
def debian_server(authority: Path) -> Iterator[Cluster]:
    """Start a server with TLS that can be set to German messages."""
    with german_locale() as locale, pytest.MonkeyPatch.context() as patch:
        patch.setenv("POSTGRES_BIN", str(DEBIAN_BINARIES))
        patch.setenv("LOCPATH", str(locale))
        with Cluster.start(memory_parent(), tcp=True) as cluster:
            encrypt(cluster, authority.parent)
            yield cluster


@pytest.fixture
def debian_site(debian_server: Cluster, fleets_simulator: SimulatorProcess) -> Iterator[Site]:
    with temporary_database(debian_server.admin_dsn) as database, open_site(database, fleets_simulator) as site:
        install_refusals(site.owner)
        yield site


@pytest.fixture
def relay(debian_server: Cluster) -> Iterator[Relay]:
    with relay_to(debian_server.port) as running:
        yield running


def over_tcp(site: Site, port: int, **parts: str) -> str:
    return url(site.database.worker_dsn, host=HOST, port=str(port), **parts)


def verified(site: Site, port: int, authority: Path) -> str:
    return over_tcp(site, port, sslmode="verify-full", sslrootcert=str(authority))


# TLS


@needs_openssl
@pytest.mark.parametrize("mode", ["disable", "verify-full"])
def test_a_cut_and_a_refused_row_are_recognised(debian_site: Site, relay: Relay, authority: Path, mode: str) -> None:
    """With TLS as without: the row's SQLSTATE is shown, a cut has the same class, no worker ends, each job is done."""
    is_encrypted = mode == "verify-full"
    dsn = verified(debian_site, relay.port, authority) if is_encrypted else over_tcp(debian_site, relay.port, sslmode=mode)
    refused_id, *others = debian_site.enter_texts(4)
    refuse(debian_site.owner, refused_id, "23514", "every")
    fleet = debian_site.start(learning_database_url=dsn, worker_concurrency=2)
    debian_site.until_done(others)
    until(lambda: "(SQLSTATE 23514)" in fleet.status()["message"])
    sessions = debian_site.one(ENCRYPTED)
    assert sessions["all_sessions"] >= 3
    assert sessions["encrypted"] == (sessions["all_sessions"] if is_encrypted else 0)
    assert relay.cut() >= 3
    lost = fleet.until_logged("connection_lost")
    accept(debian_site.owner, refused_id)
    debian_site.until_done_once([refused_id, *others, *debian_site.enter_texts(3)])
    assert {each["error"] for each in lost} == {"OperationalError"}
    assert (fleet.logged("exited"), fleet.logged("bug")) == ([], [])


@needs_openssl
def test_a_certificate_of_another_authority_is_named(debian_site: Site, debian_server: Cluster, tmp_path: Path) -> None:
    """A wrong sslrootcert is no server out of reach: log and `status` have the class, `check` has the reason."""
    other = make_certificates(tmp_path / "other")
    assert_certificate_rejected(debian_site, verified(debian_site, debian_server.port, other))


@needs_openssl
def test_a_certificate_for_another_host_is_named(debian_site: Site, debian_server: Cluster, authority: Path) -> None:
    """The authority is the right one, and the certificate is for another name than that of the DSN."""
    dsn = url(verified(debian_site, debian_server.port, authority), host="127.0.0.1")
    assert_certificate_rejected(debian_site, dsn)


def assert_certificate_rejected(site: Site, dsn: str) -> None:
    fleet = site.start(learning_database_url=dsn)
    until(lambda: "(CertificateRejected, role " in fleet.status()["message"])
    assert "sslrootcert" in fleet.status()["message"]
    assert "cannot be reached" not in fleet.status()["message"]
    assert {each["error"] for each in fleet.logged("connection_lost")} == {"CertificateRejected"}
    (failure,) = failures(run(site, "check", learning_database_url=dsn))
    assert "certificate" in failure


# Messages that are not English


@pytest.fixture
def german_site(debian_site: Site) -> Iterator[Site]:
    """Set the messages of the whole server to German, and check that they are."""
    if not GERMAN.exists():
        pytest.skip(f"needs the German messages of PostgreSQL 15, {GERMAN}")
    try:
        set_messages(debian_site, GERMAN_NAME)
        with pytest.raises(psycopg.errors.DivisionByZero, match="Division durch Null"):
            debian_site.owner.execute("select 1 / 0")
        yield debian_site
    finally:
        set_messages(debian_site, "C")


def set_messages(site: Site, name: str) -> None:
    site.owner.execute(sql.SQL("alter system set lc_messages = {}").format(name))
    site.owner.execute("select pg_reload_conf()")
    until(lambda: site.one("select current_setting('lc_messages') as it")["it"] == name)


WORKERS_CONNECTED: LiteralString = """
    select exists (select from pg_stat_activity
        where datname = current_database() and application_name like 'learning-supervisor slot %%') as it
"""
OUTAGES: dict[str, tuple[LiteralString, LiteralString]] = {
    "ReadOnlySqlTransaction": (
        "alter database {} set default_transaction_read_only = on",
        "alter database {} reset default_transaction_read_only",
    ),
    "InsufficientPrivilege": (
        "revoke all on learning_submission_jobs from learning_worker",
        "grant select, update, delete on learning_submission_jobs to learning_worker",
    ),
    "UndefinedTable": (
        "alter table learning_submission_jobs rename to jobs_in_migration",
        "alter table jobs_in_migration rename to learning_submission_jobs",
    ),
    "AdminShutdown": ("select 1", "select 1"),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_keeps_its_class(german_site: Site, name: str) -> None:
    """Each outage with an SQLSTATE has its class in the log, no process ends, and each answer in hand is written."""
    scene = set_scene(german_site)
    database = sql.Identifier(german_site.database.name)
    begin, end = (sql.SQL(statement).format(database) for statement in OUTAGES[name])
    german_site.owner.execute(begin)
    if name in {"ReadOnlySqlTransaction", "AdminShutdown"}:
        german_site.cut_connections()
        until(lambda: not german_site.one(WORKERS_CONNECTED)["it"])  # a statement sent before may lose the server's reason
    scene.answer()
    scene.until_lost(name)
    german_site.owner.execute(end)
    scene.assert_survived(german_site)


@pytest.mark.parametrize("code", ["23514", MISSING])
def test_a_refused_row_is_recognised(german_site: Site, code: str) -> None:
    """A refused row, also by a function that does not exist, fails its job alone with its SQLSTATE."""
    refused_id, *others = german_site.enter_texts(9)
    refuse(german_site.owner, refused_id, code, "complete")
    fleet = german_site.start(ai_backend="stub", worker_concurrency=2, worker_lease_seconds=5, ai_timeout_feedback=2)
    german_site.until_done(others)
    until(lambda: german_site.enter_text() and german_site.job(refused_id)["status"] == "failed", within_seconds=60)
    assert german_site.job(refused_id)["error_code"] == ("database_42883" if code == MISSING else f"database_{code}")
    assert fleet.logged("exited") == []


def test_a_rejected_connection_has_no_class(german_site: Site) -> None:
    """libpq passes the server's text on and no SQLSTATE, so that a missing role is an outage of unknown class, and no crash."""
    fleet = german_site.start(learning_database_url=url(german_site.database.worker_dsn, user="nobody_knows"))
    until(lambda: "cannot be reached (OperationalError)" in fleet.status()["message"])
    assert fleet.logged("exited") == []
