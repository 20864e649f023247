"""The network of scripts/chaos, before a real server: what it does to connections on order."""

import select
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from testkit.chaos.environment import PLAIN
from testkit.chaos.gateway import GatewayProcess, start_gateway
from testkit.database import Database, url
from testkit.waiting import until

MANY = 20_000  # an order takes effect when the gateway has read it, some questions later
SOON_SECONDS = 0.5

pytestmark = pytest.mark.postgres


@pytest.fixture
def gateway(database: Database) -> Iterator[GatewayProcess]:
    parts = conninfo_to_dict(database.admin_dsn)
    directory = str(parts.get("host", ""))
    if not directory.startswith("/"):
        pytest.skip("the server of TEST_DATABASE_URL is not reached over a socket")
    with start_gateway(Path(directory) / f".s.PGSQL.{parts.get('port', 5432)}") as gateway:
        yield gateway


def connect(database: Database, gateway: GatewayProcess) -> psycopg.Connection[tuple[int]]:
    dsn = url(database.worker_dsn, host="127.0.0.1", port=str(gateway.port), **PLAIN)
    return psycopg.connect(dsn, autocommit=True)


def test_a_lost_answer_leaves_its_commit(database: Database, gateway: GatewayProcess) -> None:
    """The server does what it is asked, and the client learns nothing but that its connection is gone."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
        owner.execute("create table seen (number int)")
        owner.execute("grant insert on seen to public")
        client = connect(database, gateway)
        gateway.order("lose 1")
        lost = next(number for number in range(MANY) if not is_answered(client, "insert into seen values (%s)", [number]))
        assert owner.execute("select max(number) from seen").fetchone() == (lost,)
    with connect(database, gateway) as another:
        assert another.execute("select 1").fetchone() == (1,)


def test_a_cut_takes_all_connections(database: Database, gateway: GatewayProcess) -> None:
    """Those that are there end; a new one works."""
    clients = [connect(database, gateway) for _ in range(3)]
    gateway.order("cut")
    for client in clients:
        until(lambda: not is_answered(client, "select 1"))  # noqa: B023  asked at once
    with connect(database, gateway) as another:
        assert another.execute("select 1").fetchone() == (1,)


def test_a_stall_ends(database: Database, gateway: GatewayProcess) -> None:
    """Nothing is passed on, and nothing is lost: the answer comes when the network goes on."""
    with connect(database, gateway) as client:
        gateway.order("stall 2")
        late = next(number for number in range(MANY) if not is_answered_soon(client, number))
        result = client.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == str(late).encode()
        assert client.pgconn.get_result() is None  # nothing comes after it


def is_answered(client: psycopg.Connection[tuple[int]], question: LiteralString, values: Sequence[int] = ()) -> bool:
    try:
        client.execute(question, values)
    except psycopg.OperationalError:
        return False
    return True


def is_answered_soon(client: psycopg.Connection[tuple[int]], number: int) -> bool:
    """If not, the answer is left to come."""
    client.pgconn.send_query(f"select {number}".encode())
    if not select.select([client.fileno()], [], [], SOON_SECONDS)[0]:
        return False
    while client.pgconn.get_result() is not None:
        pass
    return True
