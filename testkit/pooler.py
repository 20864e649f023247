"""A transaction pooler: many clients share few server sessions. A client has a session during a transaction.

Like pgbouncer in transaction mode it accepts every client, sends the key of a backend that does not exist, and rejects startup
options. Unlike pgbouncer it uses the sessions in turn, so the next transaction is never in the same session.
"""

import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg.rows import DictRow, dict_row

from testkit.pg_proxy import CHUNK_BYTES, Stream, dsn_through

TLS_OR_GSS = (80_877_103, 80_877_104)
PARAMETERS = ("server_version", "server_encoding", "client_encoding", "is_superuser", "standard_conforming_strings",
              "integer_datetimes", "DateStyle", "TimeZone")  # fmt: skip
ENDS_A_FLIGHT = {b"S", b"Q"}  # Sync and Query: each is answered with one ReadyForQuery


@dataclass(eq=False, slots=True)
class Session:
    """One connection to the server. libpq logs in, then only its socket is used."""

    connection: psycopg.Connection[DictRow]
    socket: socket.socket
    answers: Stream = field(default_factory=Stream)


@dataclass(eq=False, slots=True)
class Client:
    """`owed` counts the ReadyForQuery messages that the client waits for."""

    socket: socket.socket
    questions: Stream = field(default_factory=Stream)
    is_known: bool = False
    session: Session | None = None
    owed: int = 0
    waiting: list[bytes] = field(default_factory=list)


class Pooler:
    """`dsn` leads through here, into `sessions` that are logged in as the role of the given DSN.

    `flights` counts the round trips of all clients.
    """

    def __init__(self, dsn: str, sessions: int) -> None:
        self._dsn = dsn
        self.sessions = [self._logged_in() for _ in range(sessions)]
        self._free = deque(self.sessions)
        self._clients: dict[socket.socket, Client] = {}
        self._owners: dict[socket.socket, tuple[Session, Client | None]] = {each.socket: (each, None) for each in self.sessions}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping, self._stop = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for each in (self._listener, self._stopping, *self._owners):
            self._selector.register(each, selectors.EVENT_READ)
        self.flights = 0
        self._thread = threading.Thread(target=self.serve)
        self._thread.start()
        self.dsn = dsn_through(dsn, self._listener.getsockname()[1])

    def stop(self) -> None:
        """Stop forwarding. The sessions stay open for `query_session`."""
        self._stop.close()
        self._thread.join()

    def query_session(self, session: Session, query: LiteralString) -> DictRow:
        """Query a session after the stop and return the one row."""
        (row,) = session.connection.execute(query)
        return row

    def serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._stopping:
                    return self._close()
                assert isinstance(key.fileobj, socket.socket)
                self._read(key.fileobj)

    def _read(self, source: socket.socket) -> None:
        if source is self._listener:
            client = Client(source.accept()[0])
            self._clients[client.socket] = client
            self._selector.register(client.socket, selectors.EVENT_READ)
        elif source in self._owners:
            self._from_server(source)
        elif source in self._clients:
            self._from_client(self._clients[source])

    def _from_client(self, client: Client) -> None:
        chunk = b""
        with suppress(OSError):
            chunk = client.socket.recv(CHUNK_BYTES)
        if not chunk:
            self._forget(client)
        elif client.is_known:
            client.waiting += client.questions.messages(chunk)
            self._pass_on(client)
        else:
            self._welcome(client, chunk)

    def _welcome(self, client: Client, chunk: bytes) -> None:
        """Answer the first message, which has no type and arrives in one chunk."""
        (code,) = struct.unpack_from("!4xi", chunk)
        if code in TLS_OR_GSS:
            client.socket.sendall(b"N")
            return
        if b"\0options\0" in chunk:
            client.socket.sendall(_message(b"E", b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"))
            self._forget(client)
            return
        client.is_known = True
        info = self.sessions[0].connection.info
        parameters = [_message(b"S", f"{name}\0{info.parameter_status(name)}\0".encode()) for name in PARAMETERS]
        key = _message(b"K", struct.pack("!ii", 0x7000_0000 + client.socket.fileno(), 0))
        client.socket.sendall(_message(b"R", bytes(4)) + b"".join(parameters) + key + _message(b"Z", b"I"))

    def _pass_on(self, client: Client) -> None:
        """Forward messages. The first of a transaction waits for a free session. Terminate ends the client."""
        while client.waiting:
            message = client.waiting[0]
            if message[:1] == b"X":
                return self._forget(client)
            if client.session is None:
                if not self._free:
                    return None
                client.session = self._free.popleft()
                self._owners[client.session.socket] = client.session, client
            ends_a_flight = message[:1] in ENDS_A_FLIGHT
            self.flights += ends_a_flight
            client.owed += ends_a_flight
            client.session.socket.sendall(message)
            client.waiting.pop(0)
        return None

    def _from_server(self, source: socket.socket) -> None:
        session, client = self._owners[source]
        for message in session.answers.messages(source.recv(CHUNK_BYTES)):  # no test ends the server
            if client is None:
                continue  # a reported setting, or the end
            with suppress(OSError):
                client.socket.sendall(message)
            client.owed -= message[:1] == b"Z"
            if message[:1] == b"Z" and message[5:] == b"I" and not client.owed:
                self._give_back(session, client)
                client = None

    def _give_back(self, session: Session, client: Client) -> None:
        client.session = None
        self._owners[session.socket] = session, None
        self._free.append(session)
        for waiting in [*self._clients.values()]:
            self._pass_on(waiting)

    def _forget(self, client: Client) -> None:
        """Remove a client. A session within a transaction is replaced."""
        self._selector.unregister(client.socket)
        del self._clients[client.socket]
        client.socket.close()
        if client.session is not None:
            self._replace(client.session)

    def _replace(self, session: Session) -> None:
        self._selector.unregister(session.socket)
        del self._owners[session.socket]
        session.socket.detach()
        session.connection.close()
        fresh = self.sessions[self.sessions.index(session)] = self._logged_in()
        self._owners[fresh.socket] = fresh, None
        self._selector.register(fresh.socket, selectors.EVENT_READ)
        self._free.append(fresh)

    def _logged_in(self) -> Session:
        connection = psycopg.connect(self._dsn, autocommit=True, row_factory=dict_row, application_name="pooler")
        return Session(connection, socket.socket(fileno=connection.fileno()))

    def _close(self) -> None:
        for each in (self._listener, self._stopping, *self._clients):
            each.close()
        self._selector.close()
        for session in self.sessions:
            session.socket.detach()


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


@contextmanager
def pooler_before(dsn: str, sessions: int = 3) -> Iterator[Pooler]:
    pooler = Pooler(dsn, sessions)
    try:
        yield pooler
    finally:
        pooler.stop()
        for session in pooler.sessions:
            session.connection.close()
