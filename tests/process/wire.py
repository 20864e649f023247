"""A proxy before PostgreSQL that knows its protocol's messages: it counts them, and strikes after a certain one.

At a strike both connections go, and the client dies by SIGKILL if that was ordered. What the server was sent before is done or
undone by then.
"""

import os
import queue
import select
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from testkit.database import url
from testkit.waiting import LIMIT_SECONDS
from tests.process.proxy import connect_upstream

CHUNK_BYTES = 65_536
TYPED_HEADER, UNTYPED_HEADER = struct.Struct("!cI"), struct.Struct("!I")  # of all messages but the client's very first
PARSE, SYNC, READY, ROW = b"P", b"S", b"Z", b"D"
IDLE = b"I"
SUBJECT = b"Qselect coalesce(current_setting('app.current_sub', true), '')\0"


class Strike(Enum):
    """What happens after the last message. All but a hasty cut wait for the server's backend to end."""

    CUT = auto()
    HASTY_CUT = auto()
    KILL = auto()
    NONE = auto()  # the conversation goes on


@dataclass(slots=True)
class Stream:
    """One direction: bytes come in as the network cut them, messages come out whole."""

    is_typed: bool
    rest: bytes = b""

    def messages(self, chunk: bytes) -> Iterator[bytes]:
        self.rest += chunk
        while len(self.rest) >= (size := self._size()):
            message, self.rest = self.rest[:size], self.rest[size:]
            self.is_typed = True
            yield message

    def _size(self) -> int:
        """Of the next message; a header's where even that is not there yet."""
        header = TYPED_HEADER if self.is_typed else UNTYPED_HEADER
        if len(self.rest) < header.size:
            return header.size
        return int(header.unpack_from(self.rest)[-1]) + self.is_typed


@dataclass(slots=True)
class Conversation:
    """One client and its server. `is_open`: past the login. `unanswered`: how often the server still has to be ready."""

    client: socket.socket
    server: socket.socket
    from_client: Stream = field(default_factory=lambda: Stream(is_typed=False))
    from_server: Stream = field(default_factory=lambda: Stream(is_typed=True))
    is_open: bool = False
    unanswered: int = 0


class Wire:
    """Serves one client after another, as a worker has one connection at a time. `dsn` leads through here.

    `statements` are all that clients have sent, `subjects` what the session's subject was after each transaction, if asked.
    """

    def __init__(self, dsn: str, *, asks_for_subjects: bool = False) -> None:
        self._upstream, self._asks_for_subjects = dsn, asks_for_subjects
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopping, self._stop = socket.socketpair()
        self._left: int | None = None
        self._how = Strike.CUT
        self._first: Callable[[], object] | None = None
        self._victims: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._has_struck = threading.Event()
        self.statements: list[str] = []
        self.subjects: list[bytes] = []
        self.dsn = url(dsn, host="127.0.0.1", port=str(self._listener.getsockname()[1]), sslmode="disable", gssencmode="disable")

    def strike_after(self, messages: int, strike: Strike = Strike.CUT, first: Callable[[], object] | None = None) -> None:
        """Counts from now on, or from the end of the next login. `first` is done before, while no message passes.

        Who is killed may be named later: the strike waits for that.
        """
        self._has_struck.clear()
        self._how, self._first, self._left = strike, first, messages

    def name_victim(self, pid: int) -> None:
        self._victims.put(pid)

    def spare(self) -> None:
        """No strike any more."""
        self._left = None

    @property
    def has_struck(self) -> bool:
        return self._has_struck.is_set()

    def stop(self) -> None:
        self._stop.close()

    def serve(self) -> None:
        with self._listener, self._stopping:
            while self._stopping not in _readable(self._listener, self._stopping):
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with client, connect_upstream(self._upstream) as server, suppress(ConnectionError):
                    self._pass_on(Conversation(client, server))

    def _pass_on(self, talk: Conversation) -> None:
        """Until one side ends, the wire is stopped, or the strike. A client that ends is told to the server as it would be."""
        while self._stopping not in (readable := _readable(talk.client, talk.server, self._stopping)):
            for source in readable:
                chunk = source.recv(CHUNK_BYTES)
                if not chunk:
                    return _end(talk.server)
                stream = talk.from_client if source is talk.client else talk.from_server
                for message in stream.messages(chunk):
                    self._pass_message(talk, message, is_clients=source is talk.client)
                    if self._is_time() and self._strike(talk.server):
                        return None
        return None

    def _pass_message(self, talk: Conversation, message: bytes, *, is_clients: bool) -> None:
        kind = message[:1]
        if is_clients:
            talk.unanswered += kind in {SYNC, b"Q"}
            if kind == PARSE:
                self.statements.append(message[5:].split(b"\0")[1].decode())
            talk.server.sendall(message)
        else:
            talk.unanswered -= kind == READY and talk.is_open
            if self._asks_for_subjects and message[5:] == IDLE and kind == READY and not talk.unanswered:
                self.subjects.append(_subject(talk))
            talk.client.sendall(message)
        if talk.is_open and self._left is not None:
            self._left -= 1
        talk.is_open = talk.is_open or (not is_clients and kind == READY)

    def _is_time(self) -> bool:
        return self._left is not None and self._left <= 0

    def _strike(self, server: socket.socket) -> bool:
        """True if the conversation is over."""
        self._left = None
        if self._first:
            self._first()
        if self._how is Strike.KILL:
            os.kill(self._victims.get(timeout=LIMIT_SECONDS), signal.SIGKILL)
        if self._how in {Strike.CUT, Strike.KILL}:
            _end(server)
        self._has_struck.set()
        return self._how is not Strike.NONE


def _end(server: socket.socket) -> None:
    """The server reads what it was sent, then the end; once it has closed its side, its backend holds and writes nothing more."""
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)
        while server.recv(CHUNK_BYTES):
            pass


def _subject(talk: Conversation) -> bytes:
    """Asked on the client's own session, behind its back."""
    talk.server.sendall(SUBJECT[:1] + UNTYPED_HEADER.pack(len(SUBJECT) + 3) + SUBJECT[1:])
    answer, stream = b"", Stream(is_typed=True)
    while True:
        for message in stream.messages(talk.server.recv(CHUNK_BYTES)):
            if message[:1] == ROW:
                answer = message[11:]  # type, size, number of columns, size of the first
            if message[:1] == READY:
                return answer


def _readable(*sockets: socket.socket) -> list[socket.socket]:
    return select.select(sockets, [], [])[0]


@contextmanager
def wire_before(dsn: str, *, asks_for_subjects: bool = False) -> Iterator[Wire]:
    wire = Wire(dsn, asks_for_subjects=asks_for_subjects)
    thread = threading.Thread(target=wire.serve)
    thread.start()
    try:
        yield wire
    finally:
        wire.stop()
        thread.join()
