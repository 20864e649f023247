"""The private names of libraries that worker.vendor_internals uses still exist and still do what the product needs."""

import asyncio
import socket
from collections.abc import Generator

import httpcore
import httpx
import psycopg
import pytest
from psycopg import waiting

from worker.vendor_internals import WaitTimeout, set_connection_pool


def never_ready() -> Generator[waiting.Wait, waiting.Ready | int, None]:
    """A reply that does not come."""
    while True:
        yield waiting.WAIT_R


def test_wait_timeout() -> None:
    """psycopg raises exactly this class when a wait ends without a reply, in the blocking and in the asynchronous functions."""
    assert issubclass(WaitTimeout, psycopg.OperationalError)
    ours, server = socket.socketpair()
    with ours, server:
        with pytest.raises(WaitTimeout):
            waiting.wait(never_ready(), ours.fileno(), interval=0.01, timeout=0.02)
        with pytest.raises(WaitTimeout):
            asyncio.run(waiting.wait_async(never_ready(), ours.fileno(), interval=0.01, timeout=0.02))


class Backend(httpcore.MockBackend):
    """Counts connections and answers each request with 200."""

    connections = 0

    def connect_tcp(self, *arguments: object, **options: object) -> httpcore.NetworkStream:
        self.connections += 1
        return super().connect_tcp(*arguments, **options)  # type: ignore[arg-type]


def test_set_connection_pool() -> None:
    """httpx sends its requests through the pool that was set, and through its network backend."""
    backend = Backend([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"])
    transport = httpx.HTTPTransport(trust_env=False)
    set_connection_pool(transport, httpcore.ConnectionPool(network_backend=backend))
    with httpx.Client(transport=transport, trust_env=False) as client:
        assert client.get("http://model.test/").text == "hi"
    assert backend.connections == 1
