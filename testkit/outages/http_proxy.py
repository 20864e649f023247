"""A proxy before a server that lets chosen requests fail. Each connection carries one request."""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from testkit.outages.http_replies import reply_of, without_model
from testkit.outages.http_request import CHUNK_BYTES, HttpRequest, model_of
from testkit.outages.matrix import Request, Way

RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST instead of FIN
CONNECT_SECONDS = 5.0
LISTS = frozenset({Request.TAGS, Request.PS})


@dataclass(frozen=True, slots=True)
class HttpFault:
    """`request` fails in this way."""

    request: Request
    way: Way


@dataclass(slots=True)
class HttpProxy:
    """`met` counts the requests that met a fault since it began, `cut` those in flight that its beginning ended."""

    upstream_url: str
    listener: socket.socket
    met: int = 0
    cut: int = 0
    _fault: HttpFault | None = None
    _ended: threading.Event = field(default_factory=threading.Event)  # of the fault
    _is_stopped: bool = False
    _open: set[socket.socket] = field(default_factory=set)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # Faults

    def begin(self, request: Request, way: Way) -> None:
        """Let requests fail from now on. A whole server that fails also fails the requests in flight."""
        self.met, self.cut, self._ended, self._fault = 0, 0, threading.Event(), HttpFault(request, way)
        is_whole = request in {Request.MODEL_SERVER, Request.STORE}
        if way is Way.REFUSED:
            self.listener.shutdown(socket.SHUT_RDWR)  # a bound socket that does not listen refuses
        if is_whole and way in {Way.REFUSED, Way.RESET}:
            self.cut = self._end_all()

    def end(self) -> None:
        """Answer again. Requests that met silence get no answer, because their network was another one."""
        fault, self._fault = self._fault, None
        if fault and fault.way is Way.REFUSED:
            self.listener.listen()
        self._ended.set()

    def stop(self) -> None:
        self._is_stopped = True
        self._ended.set()
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self._end_all()

    def _end_all(self) -> int:
        """End the connections, and return their number."""
        with self._mutex:
            for client in self._open:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            return len(self._open)

    # Traffic

    def serve(self) -> None:
        """Accept until `stop`. While the server refuses, wait for the end of the fault."""
        while not self._is_stopped:
            try:
                client, _ = self.listener.accept()
            except OSError:
                self._ended.wait(0.1)
                continue
            threading.Thread(target=self._serve_one, args=(client,), daemon=True).start()

    def _serve_one(self, client: socket.socket) -> None:
        with self._mutex:
            self._open.add(client)
        try:
            if request := HttpRequest.read(client):
                self._answer(client, request)
        except OSError:
            pass
        finally:
            with self._mutex:
                self._open.discard(client)
            client.close()

    def _answer(self, client: socket.socket, request: HttpRequest) -> None:
        fault, ended = self._fault, self._ended
        if fault and fault.way is Way.STATUS_404 and (model := model_of(fault.request)):
            return self._answer_without(model, client, request, fault)
        if not fault or not request.concerns(fault.request):
            return self._forward(client, request)
        self.met += 1
        match fault.way:
            case Way.RESET | Way.REFUSED:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            case Way.SILENT:
                ended.wait()
            case _:
                client.sendall(reply_of(fault.way, request))
        return None

    def _answer_without(self, model: str, client: socket.socket, request: HttpRequest, fault: HttpFault) -> None:
        """A server on which the model is not installed: no list has it, and no request finds it."""
        if request.names(fault.request):
            self.met += 1
            client.sendall(reply_of(fault.way, request))
        elif any(request.concerns(each) for each in LISTS):
            with self._connected() as server:
                server.sendall(request.as_last)
                client.sendall(without_model(_all(server), model))
        else:
            self._forward(client, request)

    def _forward(self, client: socket.socket, request: HttpRequest) -> None:
        """Forward the reply as it comes, and the client's end to the server."""
        with self._connected() as server:
            server.sendall(request.as_last)
            while True:
                readable, _, _ = select.select([server, client], [], [])
                if client in readable:
                    return
                chunk = server.recv(CHUNK_BYTES)
                if not chunk:
                    return
                client.sendall(chunk)

    def _connected(self) -> socket.socket:
        parts = urlsplit(self.upstream_url)
        server = socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_SECONDS)
        server.settimeout(None)
        return server


@contextmanager
def http_proxy(upstream_url: str) -> Iterator[HttpProxy]:
    """Run a proxy in a thread. Its port is bound by number, so that the kernel keeps it while the proxy does not listen."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    with socket.create_server(address) as listener:
        proxy = HttpProxy(upstream_url, listener)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.stop()
            thread.join()


def _all(server: socket.socket) -> bytes:
    received = b""
    while part := server.recv(CHUNK_BYTES):
        received += part
    return received
