"""The commands of the proxy process of scripts/chaos, and a fault at one statement, with a real server."""

import select
from collections.abc import Iterator, Sequence
from typing import LiteralString

import psycopg
import pytest

from testkit.database import Database
from testkit.pg_proxy import ProxyProcess, Strike, dsn_through, proxy_before, start_proxy
from testkit.waiting import until

MANY = 20_000  # a command takes effect some requests later
SOON_SECONDS = 0.5

pytestmark = pytest.mark.postgres


@pytest.fixture
def proxy(database: Database) -> Iterator[ProxyProcess]:
    with start_proxy(database.admin_dsn) as proxy:
        yield proxy


def connect(database: Database, proxy: ProxyProcess) -> psycopg.Connection[tuple[int]]:
    return psycopg.connect(dsn_through(database.worker_dsn, proxy.port), autocommit=True)


def test_a_lost_answer_leaves_its_commit(database: Database, proxy: ProxyProcess) -> None:
    """The server commits the statement, and the client only sees the end of its connection."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner:
        owner.execute("create table seen (number int)")
        owner.execute("grant insert on seen to public")
        client = connect(database, proxy)
        proxy.send("lose 1")
        lost = next(number for number in range(MANY) if not is_answered(client, "insert into seen values (%s)", [number]))
        assert owner.execute("select max(number) from seen").fetchone() == (lost,)
    with connect(database, proxy) as another:
        assert another.execute("select 1").fetchone() == (1,)


def test_a_cut_takes_all_connections(database: Database, proxy: ProxyProcess) -> None:
    """All existing connections end, and a new one works."""
    clients = [connect(database, proxy) for _ in range(3)]
    proxy.send("cut")
    for client in clients:
        until(lambda: not is_answered(client, "select 1"))  # noqa: B023  called at once
    with connect(database, proxy) as another:
        assert another.execute("select 1").fetchone() == (1,)


def test_a_stall_ends(database: Database, proxy: ProxyProcess) -> None:
    """Nothing is lost during a stall: the answer arrives after it."""
    with connect(database, proxy) as client:
        proxy.send("stall 2")
        late = next(number for number in range(MANY) if not is_answered_soon(client, number))
        result = client.pgconn.get_result()
        assert result is not None
        assert result.get_value(0, 0) == str(late).encode()
        assert client.pgconn.get_result() is None  # the only answer


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_fault_at_a_statement_is_before_or_after_its_commit(database: Database, *, is_committed: bool) -> None:
    """The client sees the same end of its connection, and only in the second case the server has the row."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as owner, proxy_before(database.admin_dsn) as wire:
        owner.execute("create table seen (number int)")
        wire.strike_at("insert into seen", Strike.CUT, is_committed=is_committed)
        with psycopg.connect(wire.dsn, autocommit=True) as client:
            assert is_answered(client, "select 1")
            is_answered(client, "insert into seen values (%s)", [1])  # the answer may have passed before the cut
            until(lambda: wire.has_struck)
            assert not is_answered(client, "select 1")
        assert owner.execute("select count(*)::int from seen").fetchone() == (int(is_committed),)


def is_answered(client: psycopg.Connection[tuple[int]], query: LiteralString, values: Sequence[int] = ()) -> bool:
    try:
        client.execute(query, values)
    except psycopg.OperationalError:
        return False
    return True


def is_answered_soon(client: psycopg.Connection[tuple[int]], number: int) -> bool:
    """Return False if the answer is late. It can still be read then."""
    client.pgconn.send_query(f"select {number}".encode())
    if not select.select([client.fileno()], [], [], SOON_SECONDS)[0]:
        return False
    while client.pgconn.get_result() is not None:
        pass
    return True
