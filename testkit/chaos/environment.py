"""The environment of a run: a durable database server that can be stopped, the simulator, files, and two fleets."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg

from testkit.chaos.fleet import Fleet
from testkit.chaos.own_faults import MAX_CRASHES, MAX_RETRIES
from testkit.chaos.plan import FLEETS, PERMITS, WORKERS, Kind
from testkit.chaos.silent_link import SilentLink
from testkit.chaos.status_sampler import StatusSampler, start_sampler
from testkit.database import Database, create_database, url
from testkit.far_host import NotAllowed, accept_hosts, far_host
from testkit.host_names import DATABASE, MODEL_SERVER, HostNames, NoCompiler
from testkit.object_store import SERVICE_KEY, files_below, start_store
from testkit.ollama_simulator.process import SimulatorProcess, start_simulator
from testkit.outages.http_proxy import http_proxy
from testkit.pg_proxy import ProxyProcess, dsn_through, start_proxy
from testkit.postgres import Cluster, memory_parent
from testkit.refusals import install_refusals
from testkit.supervisor_process import FEEDBACK_SECONDS

VISION_SECONDS: Final = 0.6
CONNECT_SECONDS: Final = 2
LOCK_MILLISECONDS: Final = 300  # a fault that holds a lock must not hold up the others
TOKENS_PER_SECOND: Final = 200
JOB_TRANSITIONS: Final = Path(__file__).with_name("job_transitions.sql")
HELPER_ADAPTER: Final = "testkit.adapters.helper_leaving"


@dataclass(frozen=True, slots=True)
class ChaosEnvironment:
    """`fleets` share only the database, the simulator and the files, like fleets on two hosts.

    `links` is empty if the system gives no network namespaces. `not_possible` has the reason for each fault that this system
    does not allow.
    """

    cluster: Cluster
    database: Database
    simulator: SimulatorProcess
    home: Path
    fleets: tuple[Fleet, ...]
    sampler: StatusSampler
    links: tuple[SilentLink, ...] = ()
    not_possible: dict[Kind, str] = field(default_factory=dict)

    @property
    def storage_root(self) -> Path:
        return self.home / "files"

    def connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect as the owner, without a proxy. Raises psycopg.OperationalError, also for a statement that waits for a lock."""
        options = f"-c lock_timeout={LOCK_MILLISECONDS}"
        return psycopg.connect(self.database.admin_dsn, autocommit=True, connect_timeout=CONNECT_SECONDS, options=options)


@contextmanager
def set_up() -> Iterator[ChaosEnvironment]:
    """Start everything but the fleets. Raises ClusterError."""
    with ExitStack() as undo:
        home = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        not_possible: dict[Kind, str] = {}
        cluster = undo.enter_context(Cluster.start(memory_parent(), tcp=True, durable=True))  # a crash must not lose a commit
        database = create_database(cluster.admin_dsn)
        with psycopg.connect(database.admin_dsn) as owner:
            owner.execute(JOB_TRANSITIONS.read_bytes())
            install_refusals(owner)
        simulator = undo.enter_context(
            start_simulator(num_parallel=FLEETS * WORKERS, vision_seconds=VISION_SECONDS, tokens_per_second=TOKENS_PER_SECOND)
        )
        proxies, links = _network(cluster, undo, not_possible)
        (home / "files").mkdir()
        fleets = tuple(
            Fleet(home / f"host{number}", proxy, undo.enter_context(http_proxy(simulator.url)))
            for number, proxy in enumerate(proxies, start=1)
        )
        fleets[-1].store = undo.enter_context(http_proxy(undo.enter_context(start_store(files_below(home / "files", {}))).url))
        for fleet in fleets[:-1]:
            fleet.home.mkdir()
            fleet.root.symlink_to(home / "files")
        sampler = undo.enter_context(start_sampler(home / "status.jsonl", [fleet.home for fleet in fleets]))
        environment = ChaosEnvironment(cluster, database, simulator, home, fleets, sampler, links, not_possible)
        _name_hosts(environment)
        for fleet in fleets:
            fleet.settings.update(_settings(environment, fleet))
            undo.callback(fleet.end_helpers)
            undo.callback(fleet.stop)
        fleets[-1].settings.update(LEARNING_FEEDBACK_ADAPTER=HELPER_ADAPTER, AI_FOREIGN_TIMEOUT_SECONDS=str(FEEDBACK_SECONDS))
        yield environment


def _network(
    cluster: Cluster, undo: ExitStack, not_possible: dict[Kind, str]
) -> tuple[tuple[ProxyProcess, ...], tuple[SilentLink, ...]]:
    """Start the hosts' proxies, each on a host of its own behind a router, or all on this one."""
    try:
        hosts = [undo.enter_context(far_host(number)) for number in range(FLEETS)]
    except (NotAllowed, FileNotFoundError) as refusal:
        not_possible[Kind.SILENCE_HOST] = f"no network namespaces: {refusal}"
        return tuple(undo.enter_context(start_proxy(cluster.admin_dsn)) for _ in range(FLEETS)), ()
    accept_hosts(cluster)
    proxies = tuple(
        undo.enter_context(start_proxy(url(cluster.admin_dsn, host=host.ours, port=str(cluster.port)), host.wrapper))
        for host in hosts
    )
    return proxies, tuple(SilentLink(host, proxy) for host, proxy in zip(hosts, proxies, strict=True))


def _name_hosts(environment: ChaosEnvironment) -> None:
    """Give each fleet host names whose lookups can hang, if their library can be built."""
    try:
        for fleet in environment.fleets:
            fleet.names = HostNames.build(environment.home / f"{fleet.home.name}-names")
    except NoCompiler as reason:
        environment.not_possible[Kind.HANG_NAMES] = str(reason)


def _settings(environment: ChaosEnvironment, fleet: Fleet) -> dict[str, str]:
    """Return settings with short waits, so that a short run contains many faults. All others are the defaults."""
    database_url, ollama_url = dsn_through(environment.database.worker_dsn, fleet.proxy.port), fleet.model_server.url
    if fleet.names:
        database_url, ollama_url = url(database_url, host=DATABASE), ollama_url.replace("127.0.0.1", MODEL_SERVER)
    return {
        "AI_BACKEND": "local",
        "AI_TIMEOUT_FEEDBACK": "5",
        "AI_TIMEOUT_VISION": "5",
        "DRAIN_TIMEOUT_SECONDS": "10",
        "LEARNING_DATABASE_URL": database_url,
        "OLLAMA_BASE_URL": ollama_url,
        "OLLAMA_NUM_PARALLEL": str(PERMITS),
        "RESTART_BACKOFF_MAX_SECONDS": "5",
        "RUNTIME_DIRECTORY": str(fleet.home / "run"),
        "STATUS_ADDR": "127.0.0.1:0",
        **_files(fleet),
        "TERMINATE_GRACE_SECONDS": "1",
        "WORKER_BACKOFF_SECONDS": "0.5",
        "WORKER_CONCURRENCY": str(WORKERS),
        "WORKER_LEASE_SECONDS": "5",
        "WORKER_MAX_CRASHES": str(MAX_CRASHES),
        "WORKER_MAX_RETRIES": str(MAX_RETRIES),
    }


def _files(fleet: Fleet) -> dict[str, str]:
    """The last fleet fetches files from an object store, the others read a local root."""
    if fleet.store is None:
        return {"STORAGE_VERIFY_ROOT": str(fleet.root)}
    return {"SUPABASE_URL": fleet.store.url, "SUPABASE_SERVICE_ROLE_KEY": SERVICE_KEY}
