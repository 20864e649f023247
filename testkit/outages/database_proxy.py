"""The message proxy of a lane's database, which obstructs chosen statements for a while."""

import queue
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from testkit.outages.matrix import Request, Way
from testkit.pg_proxy import PARSE, Link, PgProxy

ACTION_SECONDS: Final = 10.0
STATEMENTS: Final = {
    Request.LEASE: b"set status = 'leased'",
    Request.READ: b"attempt_nr, analysis_status, internal_metadata",
    Request.CHECKPOINT: b"'cached_raw_metadata'",
    Request.PERMIT: b"with renewed as",
    Request.SETTLE: b"learning_worker_update_completed(",
    Request.POLL: b"as is_waiting,",
    Request.LISTEN: b"listen ",
    Request.RECLAIM: b"), judged as (",
    Request.DATABASE: b"",
}
"""A part of the text of each statement, which no other statement has. A whole database that is silent is each of them."""


class DatabaseProxy(PgProxy):
    """`met` counts the requests that met a fault since it began. All changes are made by the proxy's own thread."""

    met = 0

    def __init__(self, dsn: str, listener: socket.socket) -> None:
        super().__init__(dsn, listener=listener)
        self._woken, self._wake = socket.socketpair()
        self._actions: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._fault: tuple[bytes, Way] | None = None
        self._is_refusing = False
        self._texts: dict[Link, dict[bytes, bytes]] = {}
        self._held: dict[Link, list[tuple[bytes, bool]]] = {}

    def begin(self, request: Request, way: Way) -> None:
        self._perform(lambda: self._begin(STATEMENTS[request], way))
        if request is Request.LISTEN:
            self._perform(self._drop_all)  # a session listens once, at its begin

    def end(self) -> None:
        self._perform(self._end)

    def cut(self) -> None:
        """Reset all connections."""
        self._perform(self._drop_all)

    # In the proxy's thread

    def _begin(self, part: bytes, way: Way) -> None:
        self.met, self._fault = 0, (part, way)
        if way is Way.REFUSED:
            self._is_refusing = True
            self._listener.shutdown(socket.SHUT_RDWR)
            self._drop_all()

    def _end(self) -> None:
        self._fault = None
        if self._is_refusing:
            self._listener.listen()
            self._is_refusing = False
        held, self._held = self._held, {}
        for link, messages in held.items():
            self._release(link, messages)

    def _release(self, link: Link, messages: list[tuple[bytes, bool]]) -> None:
        """Forward what was held, unless the client has ended meanwhile."""
        try:
            is_ended = link.client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            is_ended = False
        except OSError:
            is_ended = True
        try:
            if is_ended:
                return self._drop(link)
            for message, is_clients in messages:
                super()._pass_message(link, message, is_clients=is_clients)
        except OSError:
            self._close(link)
        return None

    def _drop_all(self) -> None:
        self.met += len(set(self._links.values()))
        for link in set(self._links.values()):
            self._drop(link)

    def _readable(self, controls: list[socket.socket | int]) -> list[socket.socket | int]:
        quiet = {side for link in self._held for side in (link.client, link.server)}
        listeners = [] if self._is_refusing else [self._listener]
        readable: list[socket.socket | int] = select.select(
            [*controls, self._woken, *listeners, *(self._links.keys() - quiet)], [], []
        )[0]
        if self._woken in readable:
            self._woken.recv(64)
            while not self._actions.empty():
                action, is_done = self._actions.get()
                action()
                is_done.set()
            return [self._stopping] if self._stopping in readable else []
        return readable

    def _pass_message(self, link: Link, message: bytes, *, is_clients: bool) -> None:
        if link in self._held:
            return self._held[link].append((message, is_clients))
        if self._fault and link.is_open and self._concerns(link, message, self._fault[0], is_clients=is_clients):
            self.met += 1
            match self._fault[1]:
                case Way.RESET:
                    self._drop(link)
                    raise ConnectionResetError
                case Way.SILENT:
                    self._held[link] = [(message, is_clients)]
                    return None
                case Way.LOST:
                    link.is_losing = True
        elif is_clients:
            self._keep_text(link, message)
        return super()._pass_message(link, message, is_clients=is_clients)

    def _concerns(self, link: Link, message: bytes, part: bytes, *, is_clients: bool) -> bool:
        if not part:
            return True
        if not is_clients:
            return False
        self._keep_text(link, message)
        match message[:1]:
            case b"P" | b"Q":
                return part in message
            case b"B":
                return part in self._texts.get(link, {}).get(message[5:].split(b"\0", 2)[1], b"")
        return False

    def _keep_text(self, link: Link, message: bytes) -> None:
        """Keep the text of a prepared statement, because later requests name it only."""
        if message[:1] == PARSE:
            name, text, _ = message[5:].split(b"\0", 2)
            self._texts.setdefault(link, {})[name] = text

    def _close(self, link: Link) -> None:
        self._texts.pop(link, None)
        self._held.pop(link, None)
        super()._close(link)

    # From other threads

    def _perform(self, action: Callable[[], None]) -> None:
        is_done = threading.Event()
        self._actions.put((action, is_done))
        self._wake.send(b"1")
        if not is_done.wait(ACTION_SECONDS):
            raise TimeoutError("the proxy of the database does not react")


@contextmanager
def database_proxy(dsn: str) -> Iterator[DatabaseProxy]:
    """Run a proxy in a thread. Its port is bound by number, so that the kernel keeps it while the proxy does not listen."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    proxy = DatabaseProxy(dsn, socket.create_server(address))
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(ACTION_SECONDS)
