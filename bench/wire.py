"""A proxy between a worker and PostgreSQL that counts flights: how often the client speaks after the server has spoken."""

import socket
import threading
from types import TracebackType
from typing import Self

_READ_BYTES = 65_536


class CountingProxy:
    """Listens on a free loopback port and forwards to the server's."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._is_server_last = True
        self.port: int = self._listener.getsockname()[1]
        self.flights = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, is_client: bool) -> None:
        try:
            while data := source.recv(_READ_BYTES):
                self._count(is_client)
                target.sendall(data)
        except OSError:
            return
        finally:
            target.close()

    def _count(self, is_client: bool) -> None:
        with self._lock:
            if is_client and self._is_server_last:
                self.flights += 1
            self._is_server_last = not is_client
