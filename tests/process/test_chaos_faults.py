"""The faults of scripts/chaos with real processes: each has the effect of its name, and its end ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from testkit.adapters import helper_leaving
from testkit.chaos import refused_rows
from testkit.chaos.environment import ChaosEnvironment
from testkit.chaos.fleet import Fleet
from testkit.chaos.helper_processes import end_helpers, helpers_of, pids_of
from testkit.chaos.outages import Outages
from testkit.chaos.plan import Fault, Kind
from testkit.chaos.scheduler import Scheduler
from testkit.chaos.silent_link import SilentLink
from testkit.chaos.status_sampler import start_sampler
from testkit.database import Database, temporary_database, url
from testkit.environment import Environment
from testkit.far_host import FarHost, accept_hosts
from testkit.host_names import DATABASE, MODEL_SERVER, HostNames, NoCompiler
from testkit.ollama_simulator.fault import FaultKind
from testkit.pg_proxy import ProxyProcess, dsn_through, start_proxy
from testkit.postgres import Cluster, memory_parent
from testkit.refusals import accept, install_refusals, refuse
from testkit.submissions import text_submissions
from testkit.supervisor_process import PROJECT_ROOT, as_variables
from testkit.waiting import until

LOOK_UP = """
import socket, sys
print(socket.getaddrinfo("127.0.0.1", 1)[0][4][0], flush=True)
print(socket.getaddrinfo(sys.argv[1], 1)[0][4][0], flush=True)
"""
LEAVE = "import sys; from pathlib import Path; from testkit.adapters import helper_leaving as it; it._obey(Path(sys.argv[1]))"


# Name lookups


@pytest.mark.parametrize("name", [MODEL_SERVER, DATABASE])
def test_a_lookup_hangs_until_the_end_of_the_fault(name: str, tmp_path: Path) -> None:
    """Addresses in numbers are found at once, a name only after the end of the fault, as this host."""
    try:
        names = HostNames.build(tmp_path)
    except NoCompiler as refusal:
        pytest.skip(str(refusal))
    names.hang("another")
    assert looked_up(names, name) == ["127.0.0.1"] * 2
    names.hang(name)
    command = [sys.executable, "-c", LOOK_UP, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ_with(names)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "127.0.0.1\n"
        until(lambda: names.has_hung(name))
        names.heal()
        assert child.stdout.read() == "127.0.0.1\n"


def test_a_system_without_a_compiler_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fault is then left out, and the report has this reason."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoCompiler, match="C compiler is needed"):
        HostNames.build(tmp_path)


def looked_up(names: HostNames, name: str) -> list[str]:
    command = [sys.executable, "-c", LOOK_UP, name]
    return subprocess.check_output(command, text=True, env=environ_with(names)).split()


def environ_with(names: HostNames) -> dict[str, str]:
    return dict(os.environ) | as_variables(names.environ)


# Helper processes


@pytest.mark.parametrize("fork", ["python", "libc"])
def test_an_adapter_leaves_a_process_that_survives_its_worker(fork: str, tmp_path: Path) -> None:
    """The process is in a session of its own, is not ended with its parent's group, and is found and ended by the run."""
    (tmp_path / "order").write_text(fork)
    environ = dict(os.environ) | {"HELPERS": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", LEAVE, tmp_path], env=environ, cwd=PROJECT_ROOT, process_group=0) as worker:
        (left,) = until(lambda: helpers_of(tmp_path))
        os.killpg(worker.pid, signal.SIGKILL)
    worker_pid, helper_pid = pids_of(left)
    assert worker_pid == worker.pid
    assert os.getsid(helper_pid) == helper_pid
    assert end_helpers(tmp_path) == 1
    until(lambda: not psutil.pid_exists(helper_pid) or psutil.Process(helper_pid).status() == psutil.STATUS_ZOMBIE)
    assert end_helpers(tmp_path) == 0


def test_an_adapter_leaves_nothing_without_an_order(tmp_path: Path) -> None:
    """The adapter is otherwise that of the product."""
    with pytest.raises(OSError, match="order"):
        helper_leaving._obey(tmp_path)
    assert list(tmp_path.iterdir()) == []


# Refused rows


LEASE = "update learning_submission_jobs set status = 'leased', lease_key = gen_random_uuid() where submission_id = %s"
RENEW = "update learning_submission_jobs set leased_until = now() where submission_id = %s"
SETTLE = "delete from learning_submission_jobs where submission_id = %s"
COMPLETE = "update learning_submissions set analysis_status = 'completed' where id = %s"
FAIL = "update learning_submissions set analysis_status = 'failed' where id = %s"


@pytest.mark.parametrize("code", refused_rows.SQLSTATES)
@pytest.mark.parametrize(
    ("write", "refused", "accepted"),
    [
        ("lease", [LEASE], [RENEW, SETTLE, COMPLETE, FAIL]),
        ("complete", [COMPLETE], [LEASE, RENEW, SETTLE, FAIL]),
        ("every", [LEASE, RENEW, SETTLE, COMPLETE, FAIL], []),
    ],
)
def test_the_database_refuses_one_row(
    write: str, refused: list[str], accepted: list[str], code: str, database: Database, tmp_path: Path
) -> None:
    """Writes of this kind to this submission raise the SQLSTATE. Other writes, other submissions and later ones do not."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
        install_refusals(owner)
        one, other = Environment(database, owner, "", tmp_path).enter(*text_submissions(2, seed=1))  # type: ignore[arg-type]
        refuse(owner, one, code, write)
        assert [sqlstate_of(owner, statement, one) for statement in refused] == [code] * len(refused)
        assert [sqlstate_of(owner, statement, one) for statement in accepted] == [None] * len(accepted)
        assert [sqlstate_of(owner, statement, other) for statement in refused] == [None] * len(refused)
        accept(owner, one)
        assert [sqlstate_of(owner, statement, one) for statement in refused] == [None] * len(refused)


def sqlstate_of(owner: psycopg.Connection[tuple[object, ...]], statement: str, submission_id: object) -> str | None:
    """Run the statement, undo it, and return the SQLSTATE of its error."""
    try:
        with owner.transaction(force_rollback=True):
            owner.execute(statement.encode(), [submission_id])
    except psycopg.Error as error:
        return error.sqlstate
    return None


# A silent host


@pytest.fixture
def link(far: FarHost) -> Iterator[tuple[SilentLink, Database]]:
    with Cluster.start(memory_parent(), tcp=True) as cluster, temporary_database(cluster.admin_dsn) as database:
        accept_hosts(cluster)
        with start_proxy(url(cluster.admin_dsn, host=far.ours, port=str(cluster.port)), far.wrapper) as proxy:
            yield SilentLink(far, proxy), database


@pytest.mark.second_tier
@pytest.mark.parametrize("is_healed", [True, False])
def test_a_silenced_host_comes_back(link: tuple[SilentLink, Database], *, is_healed: bool) -> None:
    """The server keeps the session of the silenced host, whose own side ends it. Later a new connection works."""
    silent, database = link
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner, connect(database, silent.proxy) as client:
        backend_pid = client.info.backend_pid
        silent.silence()
        with pytest.raises(psycopg.OperationalError):
            client.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            connect(database, silent.proxy)
        assert backend_pid in {row[0] for row in owner.execute("select pid from pg_stat_activity")}
        if is_healed:
            silent.heal()
        else:
            silent.move()
        again = until(lambda: reconnected(database, silent.proxy))
        assert again is not None
        with again:
            assert again.execute("select 1").fetchone() == (1,)
        assert backend_pid in {row[0] for row in owner.execute("select pid from pg_stat_activity")}


def connect(database: Database, proxy: ProxyProcess) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(dsn_through(database.worker_dsn, proxy.port), autocommit=True, connect_timeout=5)


def reconnected(database: Database, proxy: ProxyProcess) -> psycopg.Connection[tuple[object, ...]] | None:
    try:
        return connect(database, proxy)
    except psycopg.OperationalError:
        return None


# The sampler of `status`


def test_a_host_without_an_instance_is_not_running(tmp_path: Path) -> None:
    """Without an answer on a socket the sample has the words of the command `status`."""
    home = tmp_path / "host1"
    (home / "run").mkdir(parents=True)
    (home / "service.env").write_text(f"RUNTIME_DIRECTORY={home / 'run'}\n")
    with start_sampler(tmp_path / "samples", [home]) as sampler:
        first = until(sampler.samples)[0]
    assert (first.host, first.state) == ("host1", "not running")


def test_an_answer_is_a_sample(tmp_path: Path) -> None:
    """State and message of each instance that answers on its socket."""
    home = tmp_path / "host1"
    (home / "run").mkdir(parents=True)
    (home / "service.env").touch()
    body = json.dumps({"state": "degraded", "message": "Something is missing."}).encode()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home / "run" / "00000001.sock"))
        listener.listen()
        with start_sampler(tmp_path / "samples", [home]) as sampler:
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                first = until(sampler.samples)[0]
    assert (first.host, first.state, first.message) == ("host1", "degraded", "Something is missing.")


# Locks and files


def outages_of(database: Database, home: Path) -> Outages:
    """Make the outages of a run without fleets."""
    environment = ChaosEnvironment(None, database, None, home, (), None)  # type: ignore[arg-type]
    return Outages(environment, Scheduler())


def fault_of(kind: Kind) -> Fault:
    return Fault(0.0, kind, 0, 0, 60.0, FaultKind.STATUS_500)


@pytest.mark.postgres
@pytest.mark.parametrize("kind", [Kind.LOCK_SUBMISSION, Kind.LOCK_TABLE])
def test_a_lock_is_held_until_the_end_of_the_fault(kind: Kind, database: Database, tmp_path: Path) -> None:
    """One submission, or every job, cannot be written meanwhile. A second lock is left out: two could wait for each other."""
    outages = outages_of(database, tmp_path)
    fleet = Fleet(tmp_path, None, None)  # type: ignore[arg-type]
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
        install_refusals(owner)
        entered = sorted(Environment(database, owner, "", tmp_path).enter(*text_submissions(2, seed=1)))  # type: ignore[arg-type]
        owner.execute("set lock_timeout = '50ms'")
        assert outages.begin(fault_of(kind), fleet)
        assert outages.begin(fault_of(kind), fleet) is None
        locked = {Kind.LOCK_SUBMISSION: ["55P03", None], Kind.LOCK_TABLE: [None, None]}[kind]
        assert [sqlstate_of(owner, COMPLETE, each) for each in entered] == locked
        jobs = {Kind.LOCK_SUBMISSION: [None, None], Kind.LOCK_TABLE: ["55P03", "55P03"]}[kind]
        assert [sqlstate_of(owner, LEASE, each) for each in entered] == jobs
        outages.scheduler.run_all()
        assert [sqlstate_of(owner, statement, each) for each in entered for statement in (COMPLETE, LEASE)] == [None] * 4


def test_a_host_loses_its_files_until_the_end_of_the_fault(database: Database, tmp_path: Path) -> None:
    """Only the host's own way to the files is gone."""
    outages = outages_of(database, tmp_path)
    outages.environment.storage_root.mkdir()
    fleet = Fleet(tmp_path / "host1", None, None)  # type: ignore[arg-type]
    fleet.home.mkdir()
    fleet.root.symlink_to(outages.environment.storage_root)
    assert outages.begin(fault_of(Kind.STORE_AWAY), fleet)
    assert (fleet.root.exists(), outages.environment.storage_root.exists()) == (False, True)
    outages.scheduler.run_all()
    assert fleet.root.is_dir()


def test_a_name_has_no_address_until_the_end_of_the_fault(tmp_path: Path) -> None:
    """A forgotten name is not found, and is this host again afterwards."""
    try:
        names = HostNames.build(tmp_path)
    except NoCompiler as refusal:
        pytest.skip(str(refusal))
    names.forget(MODEL_SERVER)
    assert names.is_hanging
    command = [sys.executable, "-c", LOOK_UP, MODEL_SERVER]
    found = subprocess.run(command, capture_output=True, text=True, env=environ_with(names), check=False)
    assert "socket.gaierror: [Errno -2]" in found.stderr
    names.heal()
    assert looked_up(names, MODEL_SERVER) == ["127.0.0.1"] * 2
