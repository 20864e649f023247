"""Every way in which a DSN can name its server, with names that hang or are not known among them."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from testkit.database import Database, url
from testkit.host_names import write_getent
from testkit.pg_proxy import PgProxy, proxy_before
from testkit.raw_server import silent_address
from worker.names import NameLookupFailed
from worker.queue import hosts
from worker.queue.connection import DatabaseUnavailable, connect, connect_monitor
from worker.queue.hosts import CONNECT_SECONDS, MAX_ADDRESSES, host_options

pytestmark = pytest.mark.postgres
SCHEMAS = (2025,)  # sessions and locks are the same in each

HERE, SILENT, REFUSING = "127.0.0.1", "127.0.0.77", "127.0.0.78"
MANY = tuple(f"10.0.0.{number}" for number in range(1, 30))


@pytest.fixture(autouse=True)
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_getent(tmp_path, here=(HERE,), second=(SILENT, HERE), refused=(REFUSING, HERE), two=("10.0.0.1", "::2"), many=MANY)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(hosts, "LOOKUP_SECONDS", 0.5)


@pytest.fixture
def proxy(plain_database: Database) -> Iterator[PgProxy]:
    with proxy_before(plain_database.worker_dsn) as before:
        yield before


@pytest.fixture
def silent_second(proxy: PgProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another address with the proxy's port, which sends no reply."""
    monkeypatch.setattr(hosts, "MAX_ADDRESS_SECONDS", hosts.MIN_ADDRESS_SECONDS)
    with silent_address(SILENT, int(port_of(proxy.dsn))):
        yield


def port_of(dsn: str) -> str:
    return str(conninfo_to_dict(dsn)["port"])


def by_host(dsn: str, host: str) -> str:
    """One port for all hosts, as libpq allows it."""
    return url(dsn, host=host)


def as_worker(dsn: str) -> str:
    with connect(dsn, "test") as connection:
        return str(connection.info.host)


def as_monitor(dsn: str) -> str:
    async def connected() -> str:
        async with await connect_monitor(dsn, "test") as connection:
            return str(connection.info.host)

    return asyncio.run(connected())


both = pytest.mark.parametrize("connected", [as_worker, as_monitor])
Connected = Callable[[str], str]


@both
@pytest.mark.parametrize("host", [HERE, "localhost", "here", "refused", "second", "unknown,here", "hangs,here", "here,hangs"])
@pytest.mark.usefixtures("silent_second")
def test_a_server_under_a_name(proxy: PgProxy, connected: Connected, host: str) -> None:
    """Dead addresses and names without an address cost a part of the time. libpq keeps the name, which TLS verifies."""
    assert connected(by_host(proxy.dsn, host)) in host.split(",")


@both
def test_the_other_sources_of_a_host(
    proxy: PgProxy, connected: Connected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment and a service file name the host as well as the DSN does. A given address is used as it is."""
    parts = {name: str(value) for name, value in conninfo_to_dict(proxy.dsn).items() if name not in {"host", "port"}}
    without = " ".join(f"{name}={value}" for name, value in parts.items())
    (tmp_path / "services").write_text(f"[school]\nhost=refused\nport={port_of(proxy.dsn)}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    assert connected(f"{without} service=school") == "refused"
    assert connected(f"{without} host=hangs hostaddr={HERE} port={port_of(proxy.dsn)}") == "hangs"
    monkeypatch.setenv("PGHOST", "here")
    monkeypatch.setenv("PGPORT", port_of(proxy.dsn))
    assert connected(without) == "here"


def test_a_socket_in_the_file_system(plain_database: Database) -> None:
    """It has no name to look up."""
    directory = str(conninfo_to_dict(plain_database.worker_dsn)["host"])
    assert as_worker(plain_database.worker_dsn) == directory
    assert as_monitor(plain_database.worker_dsn) == directory


@pytest.mark.parametrize(
    ("host", "error"),
    [
        ("hangs", "NameLookupTimeout"),
        ("unknown", "NameNotResolved"),
        ("unknown,hangs", "NameLookupTimeout"),
        ("-s", "NameNotResolved"),
    ],
)
def test_no_host_has_an_address(host: str, error: str) -> None:
    """The outage has the class of the failure, for workers and for the monitor."""
    with pytest.raises(DatabaseUnavailable, match=error):
        as_worker(f"host={host} user=worker dbname=platform")
    with pytest.raises(NameLookupFailed) as raised:
        as_monitor(f"host={host} user=worker dbname=platform")
    assert type(raised.value).__name__ == error


@pytest.mark.parametrize("host", ["many", ",".join(["two"] * 10), "two,two", "/tmp,two", ""])
def test_all_addresses_have_one_time(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses there are, connecting to all of them takes no longer than CONNECT_SECONDS."""
    monkeypatch.delenv("PGHOST", raising=False)
    found = host_options(f"host='{host}'")
    count = len(str(found.get("hostaddr", "")).split(","))
    assert count <= MAX_ADDRESSES
    assert count * int(found["connect_timeout"]) <= CONNECT_SECONDS


def test_each_address_has_its_host_and_port() -> None:
    assert host_options("host=two,/tmp,here port=1,2,3") == {
        "host": "two,two,/tmp,here",
        "hostaddr": f"10.0.0.1,::2,,{HERE}",
        "port": "1,1,2,3",
        "connect_timeout": 3,
    }


def test_hosts_and_ports_that_do_not_match_are_libpq_s_error() -> None:
    with pytest.raises(DatabaseUnavailable), connect("host=here,here port=1,2,3", "test"):
        pass
