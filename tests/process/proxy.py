"""A proxy before PostgreSQL that counts round trips, can lose an answer on its way back, and can keep all to itself.

A round trip is a flight of bytes from the client after which the server speaks: statements of one pipeline are one.
"""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from psycopg.conninfo import conninfo_to_dict

from testkit.database import url

CHUNK_BYTES = 65_536


class Proxy:
    """Serves one client after another, as a worker has one connection at a time. `dsn` leads through here."""

    def __init__(self, dsn: str) -> None:
        self._upstream = dsn
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping, self._stop = socket.socketpair()
        self._lost: bytes | None = None
        self._is_silent = False
        self.round_trips = 0
        self.answers_lost = 0
        self.dsn = url(dsn, host="127.0.0.1", port=str(self._listener.getsockname()[1]), sslmode="disable", gssencmode="disable")

    def lose_answer_to(self, part: str) -> None:
        """The next statement with this text reaches the server and is committed; what it answers reaches nobody."""
        self._lost = part.encode()

    def fall_silent(self) -> None:
        """From now on nothing is passed on and nothing is closed: TCP on both sides is content."""
        self._is_silent = True

    def stop(self) -> None:
        self._stop.close()

    def serve(self) -> None:
        with self._listener, self._stopping:
            while self._stopping not in _readable(self._listener, self._stopping):
                client, _ = self._listener.accept()
                with client, connect_upstream(self._upstream) as server, suppress(ConnectionError):
                    self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Until one side ends, the proxy is stopped, or an answer is to be lost, with which both connections go."""
        speaker, is_losing = server, False
        while self._stopping not in (readable := _readable(client, server, self._stopping)):
            for source in readable:
                chunk = source.recv(CHUNK_BYTES)
                if self._is_silent and chunk:
                    continue
                if not chunk or (source is server and is_losing):
                    self.answers_lost += is_losing
                    return
                if source is client:
                    self.round_trips += speaker is server
                    is_losing = is_losing or self._is_lost(chunk)
                speaker = source
                (server if source is client else client).sendall(chunk)

    def _is_lost(self, chunk: bytes) -> bool:
        """The server answers a small statement with one chunk, after its commit."""
        if self._lost is None or self._lost not in chunk:
            return False
        self._lost = None
        return True


def connect_upstream(dsn: str) -> socket.socket:
    """Where the DSN leads, by TCP or over the server's own socket."""
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    host, port = parts.get("host", "localhost"), parts.get("port", "5432")
    if not host.startswith("/"):
        return socket.create_connection((host, int(port)))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server


def _readable(*sockets: socket.socket) -> list[socket.socket]:
    return select.select(sockets, [], [])[0]


@contextmanager
def proxy_before(dsn: str) -> Iterator[Proxy]:
    proxy = Proxy(dsn)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
