"""HTTP whose every wait ends with the conversation's deadline: connecting, sending, and each single read of the answer."""

import functools
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from worker.ollama.deadline import Deadline
from worker.vendor_internals import set_connection_pool

CONNECT_TIMEOUT_SECONDS = 5.0
WRITE_BYTES = 16_384  # handed over at once: a send of more may go in several parts, each with a wait of its own


@functools.cache
def trusted_authorities() -> ssl.SSLContext:
    """Read once for all clients: they take 4 MB each time, and forks share what was read before."""
    return httpx.create_ssl_context(trust_env=False)


class DeadlineHolder:
    """What the conversation under way still allows. Its deadline is set before each, and moves with each token."""

    def __init__(self) -> None:
        self.deadline = Deadline.starting(time.monotonic(), 0.0, 0.0)

    def left_seconds(self) -> float:
        return self.deadline.left_seconds(time.monotonic())


class BoundedTransport(httpx.HTTPTransport):
    """One connection at a time. httpx offers no place for a network backend but its pool, so the pool is made anew.

    httpx's own read timeout starts again with every byte and is read once per answer: it bounds neither an answer that trickles
    nor the rest of one that has begun.
    """

    def __init__(self, patience: DeadlineHolder) -> None:
        context = trusted_authorities()
        super().__init__(verify=context, trust_env=False)
        pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=httpx.Limits().keepalive_expiry,
            network_backend=_Backend(patience.left_seconds),
        )
        set_connection_pool(self, pool)


def bounded_client(base_url: str, patience: DeadlineHolder) -> httpx.Client:
    """A client of one Ollama server, whose waits end with `patience` alone."""
    return httpx.Client(
        base_url=base_url,
        transport=BoundedTransport(patience),
        timeout=None,  # noqa: S113  the transport's deadline is the only one
        trust_env=False,
        headers={"Accept-Encoding": "identity"},  # what unpacks itself is not bounded by what arrives
    )


def bounded(pieces: Iterable[bytes], max_bytes: int) -> bytes:
    """All of a body that is not longer than it may be; else its beginning, which is no JSON."""
    body = b""
    for piece in pieces:
        body += piece
        if len(body) > max_bytes:
            return body[:max_bytes]
    return body


class _Backend(httpcore.NetworkBackend):
    def __init__(self, left_seconds: Callable[[], float]) -> None:
        self._inner, self._left_seconds = httpcore.SyncBackend(), left_seconds

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  the deadline decides
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        seconds = min(_some(self._left_seconds(), httpcore.ConnectTimeout), CONNECT_TIMEOUT_SECONDS)
        stream = self._inner.connect_tcp(host, port, seconds, local_address, socket_options)
        return _Stream(stream, self._left_seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, left_seconds: Callable[[], float]) -> None:
        self._inner, self._left_seconds = inner, left_seconds

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._inner.read(max_bytes, _some(self._left_seconds(), httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), WRITE_BYTES):
            seconds = _some(self._left_seconds(), httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + WRITE_BYTES], seconds)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> "_Stream":  # noqa: ARG002
        seconds = _some(self._left_seconds(), httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, seconds), self._left_seconds)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _some(left_seconds: float, late: type[httpcore.TimeoutException]) -> float:
    """A socket would take a timeout of 0 for not waiting at all, and go on where something has arrived already."""
    if left_seconds <= 0:
        raise late
    return left_seconds
