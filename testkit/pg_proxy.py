"""A proxy for PostgreSQL that knows the protocol's messages, counts them and injects faults between two of them.

`proxy_before(dsn)` runs it in a thread of the test. `start_proxy(dsn)` runs it as a process of its own, which is not slowed
down by the test and reads commands from its standard input, one a line:

    cut             reset all connections
    stall SECONDS   forward nothing for this time
    lose N          forward the next N requests, and reset their connections in place of the answers
    from ADDRESS    connect to the server from this address of the host from now on
"""

import os
import queue
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict

from testkit.database import url
from testkit.waiting import LIMIT_SECONDS

PROJECT_ROOT: Final = Path(__file__).resolve().parents[1]
CHUNK_BYTES: Final = 65_536
STOP_SECONDS: Final = 5.0
TYPED_HEADER, UNTYPED_HEADER = struct.Struct("!cI"), struct.Struct("!I")  # only a client's first message has no type
PARSE, QUERY, SYNC, READY, ROW = b"P", b"Q", b"S", b"Z", b"D"
ASYNCHRONOUS: Final = frozenset({b"A", b"N", b"S"})  # notification, notice, changed parameter: no answer to a request
IDLE: Final = b"I"
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN
UNENCRYPTED: Final = {"sslmode": "disable", "gssencmode": "disable"}  # the proxy cannot read encrypted messages
CONNECT_SECONDS: Final = 1.0  # on one host or none at all
TCP_OPTIONS: Final = {  # those of worker/queue/connection.py
    socket.TCP_NODELAY: 1,
    socket.TCP_KEEPIDLE: 5,
    socket.TCP_KEEPINTVL: 2,
    socket.TCP_KEEPCNT: 3,
    socket.TCP_USER_TIMEOUT: 15_000,
}
SUBJECT: Final = b"Qselect coalesce(current_setting('app.current_sub', true), '')\0"


class Strike(Enum):
    """The fault after the last message that passes. All but HASTY_CUT first wait until the server's backend has ended."""

    CUT = auto()
    HASTY_CUT = auto()
    KILL = auto()  # also SIGKILL to the client
    NONE = auto()  # only the callback, the connection stays


@dataclass(slots=True)
class Stream:
    """One direction of a connection. Turns chunks of any size into whole messages."""

    is_typed: bool = True
    rest: bytes = b""

    def messages(self, chunk: bytes) -> Iterator[bytes]:
        self.rest += chunk
        while len(self.rest) >= (size := self._size()):
            message, self.rest = self.rest[:size], self.rest[size:]
            self.is_typed = True
            yield message

    def _size(self) -> int:
        """Return the size of the next message, or of its header while that is incomplete."""
        header = TYPED_HEADER if self.is_typed else UNTYPED_HEADER
        if len(self.rest) < header.size:
            return header.size
        return int(header.unpack_from(self.rest)[-1]) + self.is_typed


@dataclass(eq=False, slots=True)
class Link:
    """One client and its connection to the server.

    `is_open` is True after the login. `unanswered` counts the ReadyForQuery messages that the server still owes.
    `is_marked`: its next transaction's end is the moment of a fault.
    """

    client: socket.socket
    server: socket.socket
    from_client: Stream = field(default_factory=lambda: Stream(is_typed=False))
    from_server: Stream = field(default_factory=Stream)
    is_open: bool = False
    unanswered: int = 0
    is_losing: bool = False
    is_marked: bool = False
    has_server_sent_last: bool = True
    has_client_ended: bool = False


class PgProxy:
    """All connections are served by one thread, so a fault stops the traffic of all of them. `dsn` leads through here.

    `statements` are the texts of all prepared statements. `round_trips` counts how often a client sends after the server
    has sent: the statements of one pipeline are one round trip. `subjects` has the session's subject after each
    transaction if `asks_for_subjects`.
    """

    round_trips = 0
    answers_lost = 0
    _left: int | None = None
    _how = Strike.CUT
    _first: Callable[[], object] | None = None
    _lost_text: bytes | None = None
    _before_loss: Callable[[], object] | None = None
    _struck_text: bytes | None = None
    _strikes_its_end = False
    _to_lose = 0
    _is_silent = False
    _stalled_until = 0.0

    _source: str | None = None

    def __init__(self, dsn: str, *, asks_for_subjects: bool = False, listener: socket.socket | None = None) -> None:
        self._upstream, self._asks_for_subjects = dsn, asks_for_subjects
        self._waits_for_end = listener is None
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._stopping, self._stop = socket.socketpair()
        self._links: dict[socket.socket, Link] = {}
        self._victims: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._has_struck = threading.Event()
        self.statements: list[str] = []
        self.subjects: list[bytes] = []
        self.port: int = self._listener.getsockname()[1]
        self.dsn = dsn_through(dsn, self.port)

    # Faults

    def strike_after(self, messages: int, strike: Strike = Strike.CUT, first: Callable[[], object] | None = None) -> None:
        """Inject the fault after so many messages from now on, or from the end of the next login.

        `first` is called before the fault, while no message passes. The pid for KILL may be named later.
        """
        self._has_struck.clear()
        self._how, self._first, self._left = strike, first, messages

    def strike_at(self, part: str, strike: Strike = Strike.KILL, *, is_committed: bool = False) -> None:
        """Inject the fault at the next statement with this text, before it runs or after it is committed.

        The statement must be new to its connection, because a repeated one is sent without its text.
        """
        self._has_struck.clear()
        self._how, self._first = strike, None
        self._struck_text, self._strikes_its_end = part.encode(), is_committed

    def name_victim(self, pid: int) -> None:
        self._victims.put(pid)

    def spare(self) -> None:
        """Cancel the fault, also for a victim that was named and lives."""
        self._left = self._struck_text = None
        self._victims = queue.SimpleQueue()

    @property
    def has_struck(self) -> bool:
        return self._has_struck.is_set()

    def lose_answer_to(self, part: str, first: Callable[[], object] | None = None) -> None:
        """Forward the next statement with this text, and reset the connection in place of the server's answer.

        `first` is called before the reset.
        """
        self._lost_text, self._before_loss = part.encode(), first

    def fall_silent(self) -> None:
        """Drop all data from now on and close nothing, so that both sides see an open connection."""
        self._is_silent = True

    def obey(self, command: str, number: str = "0") -> None:
        """Execute one command of the process, see the module."""
        match command:
            case "cut":
                for link in set(self._links.values()):
                    self._drop(link)
            case "lose":
                self._to_lose += int(number)
            case "stall":
                self._stalled_until = time.monotonic() + float(number)
            case "from":
                self._source = number

    # Traffic

    def stop(self) -> None:
        self._stop.close()

    def serve(self, commands: int | None = None) -> None:
        """Forward until `stop`, or until the descriptor of the commands is at its end."""
        controls: list[socket.socket | int] = [self._stopping] if commands is None else [self._stopping, commands]
        with self._listener, self._stopping:
            while self._stopping not in (readable := self._readable(controls)):
                if commands is not None and commands in readable and not self._obey_all(os.read(commands, CHUNK_BYTES)):
                    break
                for source in readable:
                    if isinstance(source, socket.socket):
                        self._read(source)
            for link in set(self._links.values()):
                self._close(link)

    def _readable(self, controls: list[socket.socket | int]) -> list[socket.socket | int]:
        stall_seconds = self._stalled_until - time.monotonic()
        if stall_seconds > 0:
            return select.select(controls, [], [], stall_seconds)[0]
        return select.select([*controls, self._listener, *self._links], [], [])[0]

    def _obey_all(self, lines: bytes) -> bool:
        """Return False at the end of the commands."""
        for line in lines.decode().splitlines():
            self.obey(*line.split())
        return bool(lines)

    def _read(self, source: socket.socket) -> None:
        if source is self._listener:
            self._accept()
        elif link := self._links.get(source):
            try:
                self._forward(link, source)
            except OSError:
                self._close(link)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            server = connect_upstream(self._upstream, self._source)
        except OSError:  # the server is down
            client.close()
            return
        self._links[client] = self._links[server] = Link(client, server)

    def _forward(self, link: Link, source: socket.socket) -> None:
        """Forward one chunk. A client's end is passed on to the server."""
        chunk = source.recv(CHUNK_BYTES)
        if not chunk:
            return self._pass_end(link, source)
        if self._is_silent or link.has_client_ended:
            return None
        is_clients = source is link.client
        stream = link.from_client if is_clients else link.from_server
        for message in stream.messages(chunk):
            if not is_clients and self._loses(link, message):
                return None
            self._pass_message(link, message, is_clients=is_clients)
            if self._left is not None and self._left <= 0 and self._strike(link):
                return None
        return None

    def _pass_end(self, link: Link, source: socket.socket) -> None:
        """Pass a client's end on. A process does not wait for the server, because the network may be silent."""
        if self._waits_for_end:
            _await_end(link.server)
        elif source is link.client:
            link.server.shutdown(socket.SHUT_WR)
            link.has_client_ended = True
            self._links.pop(link.client)
            return link.client.close()
        return self._close(link)

    def _loses(self, link: Link, answer: bytes) -> bool:
        """Reset the connection in place of an answer that is to be lost."""
        if not link.is_losing or answer[:1] in ASYNCHRONOUS:
            return False
        if self._before_loss is not None:
            self._before_loss()
        self.answers_lost += 1
        self._drop(link)
        return True

    def _pass_message(self, link: Link, message: bytes, *, is_clients: bool) -> None:
        if is_clients:
            self._note_request(link, message)
            link.server.sendall(message)
        else:
            self._note_answer(link, message)
            link.client.sendall(message)
        link.has_server_sent_last = not is_clients
        if link.is_open and self._left is not None:
            self._left -= 1
        link.is_open = link.is_open or (not is_clients and message[:1] == READY)

    def _note_request(self, link: Link, message: bytes) -> None:
        kind = message[:1]
        link.unanswered += kind in {SYNC, QUERY}
        self.round_trips += link.has_server_sent_last
        if kind == PARSE:
            self.statements.append(message[5:].split(b"\0")[1].decode())
        if self._struck_text is not None and self._struck_text in message:
            self._struck_text, link.is_marked = None, self._strikes_its_end
            self._left = None if link.is_marked else 1
        if self._lost_text is not None and self._lost_text in message:
            link.is_losing, self._lost_text = True, None
        elif self._to_lose and not link.is_losing:
            link.is_losing = True
            self._to_lose -= 1

    def _note_answer(self, link: Link, message: bytes) -> None:
        is_ready = message[:1] == READY
        link.unanswered -= is_ready and link.is_open
        if is_ready and link.is_marked and message[5:] == IDLE:
            link.is_marked, self._left = False, 1
        if self._asks_for_subjects and is_ready and message[5:] == IDLE and not link.unanswered:
            self.subjects.append(_subject(link))

    def _strike(self, link: Link) -> bool:
        """Return True if the connection has ended."""
        self._left = None
        if self._first:
            self._first()
        if self._how is Strike.KILL:
            os.kill(self._victims.get(timeout=LIMIT_SECONDS), signal.SIGKILL)
        if self._how in {Strike.CUT, Strike.KILL}:
            _await_end(link.server)
        if self._how is not Strike.NONE:
            self._close(link)
        self._has_struck.set()
        return self._how is not Strike.NONE

    def _drop(self, link: Link) -> None:
        """Reset the client's connection."""
        with suppress(OSError):
            link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._close(link)

    def _close(self, link: Link) -> None:
        for side in (link.client, link.server):
            self._links.pop(side, None)
            side.close()


def dsn_through(dsn: str, port: int) -> str:
    """Return the DSN with the address of a proxy on this port."""
    return url(dsn, host="127.0.0.1", port=str(port), **UNENCRYPTED)


def connect_upstream(dsn: str, source: str | None = None) -> socket.socket:
    """Connect to the server of the DSN, by TCP from an address of this host, or over its Unix socket.

    A TCP connection notices a silent network as the client's own would.
    """
    parts = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    host, port = parts.get("host", "localhost"), parts.get("port", "5432")
    if not host.startswith("/"):
        return _connect_tcp(host, int(port), source)
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        server.close()
        raise
    return server


def _connect_tcp(host: str, port: int, source: str | None) -> socket.socket:
    server = socket.create_connection((host, port), CONNECT_SECONDS, (source, 0) if source else None)
    server.settimeout(None)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in TCP_OPTIONS.items():
        server.setsockopt(socket.IPPROTO_TCP, option, value)
    return server


def _await_end(server: socket.socket) -> None:
    """Let the server read everything and then the end. After it has closed its side, its backend holds no lock any more."""
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)
        while server.recv(CHUNK_BYTES):
            pass


def _subject(link: Link) -> bytes:
    """Query the subject in the client's own session, between two of its transactions."""
    link.server.sendall(SUBJECT[:1] + UNTYPED_HEADER.pack(len(SUBJECT) + 3) + SUBJECT[1:])
    answer, stream = b"", Stream()
    while True:
        for message in stream.messages(link.server.recv(CHUNK_BYTES)):
            if message[:1] == ROW:
                answer = message[11:]  # after type, size, number of columns, size of the first
            if message[:1] == READY:
                return answer


@contextmanager
def proxy_before(dsn: str, *, asks_for_subjects: bool = False) -> Iterator[PgProxy]:
    """Run a proxy in a thread."""
    proxy = PgProxy(dsn, asks_for_subjects=asks_for_subjects)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()


@dataclass(frozen=True, slots=True)
class ProxyProcess:
    """A proxy in a process of its own. `dsn` leads through it, with the user of the DSN that it was started with."""

    port: int
    process: subprocess.Popen[str]

    def send(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()


@contextmanager
def start_proxy(dsn: str, wrapper: tuple[str, ...] = ()) -> Iterator[ProxyProcess]:
    """Start a proxy process. It ends with the block, or with this process, because its standard input ends then.

    Clients connect to it on this host. With a `wrapper` it connects to the server from the wrapper's host.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        command = [*wrapper, sys.executable, "-m", "testkit.pg_proxy", dsn, str(listener.fileno())]
        fds = [listener.fileno()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=PROJECT_ROOT, text=True, process_group=0, pass_fds=fds)
    try:
        yield ProxyProcess(port, process)
    finally:
        process.kill()
        process.communicate(timeout=STOP_SECONDS)


if __name__ == "__main__":
    PgProxy(sys.argv[1], listener=socket.socket(fileno=int(sys.argv[2]))).serve(commands=sys.stdin.fileno())
