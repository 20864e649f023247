"""Lookups of host names that hang, for the model server, the object store and the database: an outage each, and no crash."""

import subprocess
from collections.abc import Iterator
from typing import LiteralString
from urllib.parse import urlsplit

import pytest

from testkit.database import url
from testkit.host_names import DATABASE, MODEL_SERVER, OBJECT_STORE, HostNames, NoCompiler
from testkit.live_fleet import LiveFleet
from testkit.name_server import NameServer, name_server, wrapper
from testkit.object_store import SERVICE_KEY, files_below, start_store
from testkit.outage import set_scene
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.site import Site, Value
from testkit.supervisor_process import as_variables, run_command
from testkit.waiting import until

END_WORKERS: LiteralString = """
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name like 'learning-supervisor slot%%'
"""
QUICK: dict[str, Value] = {"worker_concurrency": 2, "worker_backoff_seconds": 1, "ai_timeout_feedback": 5}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> HostNames:
    try:
        return HostNames.build(tmp_path_factory.mktemp("names"))
    except NoCompiler as reason:
        pytest.skip(str(reason))


@pytest.fixture
def names(library: HostNames) -> Iterator[HostNames]:
    yield library
    library.heal()


@pytest.fixture
def proxy(site: Site) -> Iterator[PgProxy]:
    """A server at a TCP port, because the site's database may have a socket in the file system only."""
    with proxy_before(site.database.worker_dsn) as before:
        yield before


def under_the_name(name: str, address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=f"{name}:{parts.port}").geturl()


def assert_no_worker_died(fleet: LiveFleet, pids: list[int]) -> None:
    assert fleet.worker_pids() == pids
    assert (fleet.logged("exited"), fleet.logged("terminate"), fleet.logged("kill")) == ([], [], [])


def test_the_name_of_the_model_server_hangs(site: Site, names: HostNames) -> None:
    """Jobs are held as for an unreachable server, `status` names the cause, and no worker dies."""
    fleet = site.start_with(
        {**names.environ, **QUICK, "ollama_base_url": under_the_name(MODEL_SERVER, site.ollama_url), "worker_max_retries": 0}
    )
    fleet.until_idle()
    pids = fleet.worker_pids()
    names.hang(MODEL_SERVER)
    entered = [*site.enter_photos(4), *site.enter_texts(4)]
    until(lambda: "NameUnresolved" in {line["error"] for line in fleet.logged("step_failed")})  # of one: then the gate may close
    until(lambda: "host name is not resolved" in fleet.status()["message"])
    names.heal()
    site.until_done_once(entered)
    assert {line["outcome"] for line in fleet.logged("settled")} <= {"completed", "released_held", "released_gate"}
    assert {site.submission(each)["analysis_status"] for each in entered} == {"completed"}
    assert_no_worker_died(fleet, pids)


@pytest.mark.second_tier
def test_the_name_of_the_object_store_hangs(site: Site, names: HostNames) -> None:
    """The file is fetched later without an attempt, and no worker dies."""
    with start_store(files_below(site.storage_root, {})) as store:
        settings = {"storage_verify_root": "", "supabase_url": under_the_name(OBJECT_STORE, store.url)}
        settings |= {"supabase_service_role_key": SERVICE_KEY}
        fleet = site.start_with({**names.environ, **QUICK, **settings, "worker_max_retries": 0})
        fleet.until_idle()
        pids = fleet.worker_pids()
        names.hang(OBJECT_STORE)
        entered = site.enter_photos(8)
        until(lambda: fleet.logged("step_failed"))  # of one: then the gate may close
        assert {line["error"] for line in fleet.logged("step_failed")} == {"StoreNameUnresolved"}
        names.heal()
        site.until_done_once(entered)
        assert {site.submission(each)["analysis_status"] for each in entered} == {"completed"}
        assert_no_worker_died(fleet, pids)


def test_the_name_of_the_database_hangs(site: Site, proxy: PgProxy, names: HostNames) -> None:
    """Workers keep their answers and write them when the name is resolved again. `status` names the fault meanwhile."""
    dsn = url(proxy.dsn, host=DATABASE)
    scene = set_scene(site, ld_preload=names.library, names_directory=names.directory, learning_database_url=dsn)
    names.hang(DATABASE)
    site.cut_connections()
    scene.answer()
    scene.until_lost("NameLookupTimeout")
    until(lambda: "The database's host name is not resolved (NameLookupTimeout, role " in scene.fleet.status()["message"])
    names.heal()
    scene.assert_survived(site)


@pytest.mark.second_tier
def test_the_name_hangs_for_the_workers_alone(site: Site, proxy: PgProxy, names: HostNames) -> None:
    """The monitor's connection is still open, and `status` names what the workers miss."""
    dsn = url(proxy.dsn, host=DATABASE)
    scene = set_scene(site, ld_preload=names.library, names_directory=names.directory, learning_database_url=dsn)
    names.hang(DATABASE)
    site.all(END_WORKERS)
    scene.answer()
    until(
        lambda: (
            "Workers get no connection to the database, although the monitor has one. The database's host name"
            in scene.fleet.status()["message"]
        )
    )
    names.heal()
    scene.assert_survived(site)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("check", ["(NameUnresolved)", f"the lookup of the host name {DATABASE} did not end in time"]),
        ("doctor", ["(host name not resolved)"]),
    ],
)
@pytest.mark.second_tier
def test_commands_end_while_names_hang(site: Site, proxy: PgProxy, names: HostNames, command: str, words: list[str]) -> None:
    """Each names the cause, and none waits for a lookup."""
    names.hang(DATABASE, MODEL_SERVER)
    settings = site.settings() | names.environ
    settings |= {"learning_database_url": url(proxy.dsn, host=DATABASE), "columns": 1000}
    settings |= {"ollama_base_url": under_the_name(MODEL_SERVER, site.ollama_url)}
    ran = run_command(site.directory, as_variables(settings), command, timeout_seconds=60.0)
    assert ran.returncode == 1
    assert [word for word in words if word not in ran.stdout] == []


@pytest.mark.second_tier
def test_a_stop_does_not_wait_for_lookups(site: Site, proxy: PgProxy, names: HostNames) -> None:
    """The monitor serves `status` while its lookups hang, and leaves on request without being killed."""
    names.hang(DATABASE, MODEL_SERVER)
    fleet = site.start_with(
        {
            **names.environ,
            **QUICK,
            "learning_database_url": url(proxy.dsn, host=DATABASE),
            "ollama_base_url": under_the_name(MODEL_SERVER, site.ollama_url),
        }
    )
    until(lambda: names.has_hung(DATABASE) and names.has_hung(MODEL_SERVER))
    until(lambda: "host name is not resolved" in fleet.status()["message"])
    fleet.terminate()
    assert fleet.exit_code() == 0
    assert fleet.logged("kill") == []


# A real resolver


@pytest.fixture
def name_servers() -> Iterator[tuple[NameServer, NameServer]]:
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespace; .ci/run does this in one of its own")
    try:
        with name_server("127.0.0.153") as first, name_server("127.0.0.154", answers=True) as second:
            yield first, second
    except PermissionError as refusal:
        pytest.skip(f"{refusal}; .ci/run does this as root")


@pytest.mark.second_tier
def test_the_name_server_falls_silent(site: Site, name_servers: tuple[NameServer, NameServer]) -> None:
    """The system's own resolver waits in a worker for a server that never answers. After the stall every submission completes."""
    server, _ = name_servers
    server.answers = True
    address = under_the_name(MODEL_SERVER, site.ollama_url)
    fleet = site.start_with({**QUICK, "ollama_base_url": address}, wrapper=wrapper(site.directory, server))
    fleet.until_idle()
    fleet.until_state("ok")
    pids = fleet.worker_pids()
    server.answers = False
    entered = [*site.enter_photos(4), *site.enter_texts(4)]
    until(lambda: "NameUnresolved" in {line["error"] for line in fleet.logged("step_failed")})
    server.answers = True
    site.until_done_once(entered)
    assert {site.submission(each)["analysis_status"] for each in entered} == {"completed"}
    assert_no_worker_died(fleet, pids)


@pytest.mark.second_tier
def test_the_name_server_is_silent_at_the_start(site: Site, name_servers: tuple[NameServer, NameServer]) -> None:
    """The monitor's own lookup holds the jobs and names the cause, so that no worker begins one in vain."""
    silent, _ = name_servers
    address = under_the_name(MODEL_SERVER, site.ollama_url)
    fleet = site.start_with({**QUICK, "ollama_base_url": address}, wrapper=wrapper(site.directory, silent))
    fleet.until_idle()
    pids = fleet.worker_pids()
    until(lambda: "host name is not resolved" in fleet.status()["message"])
    assert silent.was_asked
    entered = [*site.enter_photos(4), *site.enter_texts(4)]
    until(lambda: fleet.status()["queue"]["queued"] == len(entered))
    silent.answers = True
    site.until_done_once(entered)
    assert fleet.logged("step_failed") == []
    assert {site.submission(each)["analysis_status"] for each in entered} == {"completed"}
    assert_no_worker_died(fleet, pids)


@pytest.mark.second_tier
def test_one_name_server_of_two_is_silent(site: Site, proxy: PgProxy, name_servers: tuple[NameServer, NameServer]) -> None:
    """The resolver asks the second one after 5 s, which is soon enough for a connection to the database."""
    dsn = url(proxy.dsn, host=DATABASE)
    fleet = site.start_with({**QUICK, "learning_database_url": dsn}, wrapper=wrapper(site.directory, *name_servers))
    fleet.until_idle()
    assert name_servers[0].was_asked
    assert fleet.logged("connection_lost") == []
