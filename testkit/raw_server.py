"""A server on loopback that sends exactly the bytes that a test determines, per connection."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from testkit.waiting import LIMIT_SECONDS

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def line(**fields: object) -> bytes:
    """Encode one line of a stream as one chunk."""
    return chunk(json.dumps(fields).encode() + b"\n")


def chunk(content: bytes) -> bytes:
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def content_line(content: str) -> bytes:
    return line(message={"content": content}, done=False)


def done(reason: str = "stop", **counters: int) -> bytes:
    return line(message={"content": ""}, done=True, done_reason=reason, **counters)


def status(code: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class Peer:
    """The server's side of one connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(LIMIT_SECONDS)
        self._socket = connection

    def request(self, *, skips_descriptions: bool = True) -> bytes:
        """Read a whole request. Empty if the client has disconnected, also in the middle of a request.

        A model's description, which a client reads once before its first chat, is sent as an empty one and not returned.
        """
        received = self._request()
        while skips_descriptions and received.startswith(b"POST /api/show "):
            self.send(status(200, b"{}"))
            received = self._request()
        return received

    def _request(self) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received:
            part = self._socket.recv(65_536)
            if not part:
                return b""
            received += part
        head, _, body = received.partition(b"\r\n\r\n")
        fields = dict(field.lower().split(b": ", 1) for field in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", b"0")):
            part = self._socket.recv(65_536)
            if not part:
                return b""
            body += part
        return head + b"\r\n\r\n" + body

    def send(self, *parts: bytes) -> None:
        """Send bytes. A disconnected client is not an error."""
        with suppress(OSError):
            self._socket.sendall(b"".join(parts))

    def send_until_it_leaves(self, part: bytes, pause_seconds: float) -> None:
        """Send the part repeatedly, with pauses, until the client disconnects."""
        self._socket.settimeout(pause_seconds)
        with suppress(OSError):
            while True:
                self._socket.sendall(part)
                with suppress(TimeoutError):
                    if not self._socket.recv(1):
                        return

    def pause(self, seconds: float) -> None:
        """Wait, but at most until the client sends data or disconnects."""
        self._socket.settimeout(seconds)
        with suppress(OSError):
            self._socket.recv(1)
        self._socket.settimeout(LIMIT_SECONDS)

    def wait_for_its_end(self) -> None:
        with suppress(OSError):
            while self._socket.recv(65_536):
                pass


@contextmanager
def raw_server(*scripts: Callable[[Peer], None]) -> Iterator[str]:
    """Run a server and yield its URL. Each script serves one connection, further connections are refused.

    A reset ends its connection alone.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_SECONDS)
        peers: list[socket.socket] = []
        thread = threading.Thread(target=_serve, args=(listener, scripts, peers), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection that no longer comes
        for peer in peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RD)  # ends the wait for a request of a client that keeps its connection
    thread.join(LIMIT_SECONDS)


def _serve(listener: socket.socket, scripts: tuple[Callable[[Peer], None], ...], peers: list[socket.socket]) -> None:
    with suppress(OSError):
        for script in scripts:
            connection, _ = listener.accept()
            peers.append(connection)
            with connection, suppress(OSError):
                script(Peer(connection))


@contextmanager
def silent_address(host: str, port: int) -> Iterator[None]:
    """Fill the queue of connections of an address: the kernel drops every further connection without a reply."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield
