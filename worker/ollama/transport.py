"""HTTP whose every wait ends with a deadline: the lookup of the name, connecting, sending, and each single read of the answer."""

import functools
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from worker.ipc.descriptors import opening, unshared
from worker.names import LOOKUP_SECONDS, NameLookupFailed, resolve
from worker.ollama.deadline import Deadline
from worker.vendor_internals import set_connection_pool

CONNECT_TIMEOUT_SECONDS = 5.0  # for one address
ARRIVED_SECONDS = 0.001  # for data that has arrived: with a timeout of 0 a socket reports another error than a timeout
WRITE_BYTES = 16_384  # per send: a larger one may go in several parts, each with a wait of its own


@functools.cache
def trusted_authorities() -> ssl.SSLContext:
    """CA certificates, loaded once for all clients: each load takes 4 MB, and a forked process shares the loaded ones."""
    return httpx.create_ssl_context(trust_env=False)


class Unresolved(httpcore.ConnectError):
    """The host's name has no address, or its lookup did not end in time. httpx raises its own ConnectError from this one."""


class DeadlineHolder:
    """The deadline of the request in progress. It is set before each request and moves with each token."""

    def __init__(self) -> None:
        self.deadline = Deadline.starting(time.monotonic(), 0.0, 0.0)

    def left_seconds(self) -> float:
        return self.deadline.left_seconds(time.monotonic())


@dataclass(slots=True)
class _Exchange:
    """The request in progress, as its connection sees it."""

    has_connected: bool = False  # a connection was opened for it
    has_received: bool = False  # a byte of the reply has come

    @property
    def is_unanswered_on_old_connection(self) -> bool:
        return not self.has_connected and not self.has_received


class BoundedTransport(httpx.HTTPTransport):
    """One connection at a time, with the deadline as the only timeout.

    A GET is repeated once if the server closed a kept connection before any byte of the reply: the server may close an idle
    connection at the moment at which the request is sent. A chat is not repeated, because its own prompt may have ended the
    server, and a repetition would hide that. Ollama itself never closes an idle connection, so a chat loses little by this.

    httpx takes a network backend only through its connection pool, so the pool is replaced. httpx's own read timeout starts
    again with every byte and is read once per answer. It bounds neither a trickling answer nor the rest of a started one.
    """

    def __init__(self, holder: DeadlineHolder) -> None:
        context, self._exchange = trusted_authorities(), _Exchange()
        super().__init__(verify=context, trust_env=False)
        pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=1,
            keepalive_expiry=httpx.Limits().keepalive_expiry,
            network_backend=_Backend(holder.left_seconds, self._exchange),
        )
        set_connection_pool(self, pool)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._exchange.has_connected = self._exchange.has_received = False
        try:
            return super().handle_request(request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if request.method != "GET" or not self._exchange.is_unanswered_on_old_connection:
                raise
        return super().handle_request(request)


def bounded_client(base_url: str, holder: DeadlineHolder) -> httpx.Client:
    """A client of one Ollama server. Its waits end with the holder's deadline."""
    return httpx.Client(
        base_url=base_url,
        transport=BoundedTransport(holder),
        timeout=None,  # noqa: S113  the transport's deadline is the only one
        trust_env=False,
        headers={"Accept-Encoding": "identity"},  # a compressed body could unpack to any size
    )


def bounded(pieces: Iterable[bytes], max_bytes: int) -> bytes:
    """The body, cut after `max_bytes`: a cut body is no valid JSON."""
    body = b""
    for piece in pieces:
        body += piece
        if len(body) > max_bytes:
            return body[:max_bytes]
    return body


def is_unresolved(error: httpx.HTTPError) -> bool:
    """Report whether the request failed because its host's name has no address."""
    return isinstance(error.__cause__, Unresolved)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, left_seconds: Callable[[], float], exchange: _Exchange) -> None:
        self._inner, self._left_seconds, self._exchange = httpcore.SyncBackend(), left_seconds, exchange

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  the deadline replaces it
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self._exchange.has_connected = True
        addresses = self._addresses(host)
        failure: Exception = httpcore.ConnectError()
        for tried, address in enumerate(addresses):
            try:
                seconds = min(self._left() / (len(addresses) - tried), CONNECT_TIMEOUT_SECONDS)
                with opening():
                    stream = self._inner.connect_tcp(address, port, seconds, local_address, socket_options)
                    return _Stream(stream, self._left_seconds, self._exchange)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def _left(self) -> float:
        return _positive(self._left_seconds(), httpcore.ConnectTimeout)

    def _addresses(self, host: str) -> tuple[str, ...]:
        """The addresses of the host. The socket's own lookup has no time-out."""
        try:
            return resolve(host, min(self._left(), LOOKUP_SECONDS))
        except NameLookupFailed as failure:
            raise Unresolved(type(failure).__name__) from None


class _Stream(httpcore.NetworkStream):
    """A connection. After a deadline it is read once more, without a wait.

    Data that is there then has arrived in time, or nearly so, and this process was late: the machine was busy, or suspended. A
    server that trickles gets no second such read.
    """

    def __init__(self, inner: httpcore.NetworkStream, left_seconds: Callable[[], float], exchange: _Exchange) -> None:
        self._inner, self._left_seconds, self._exchange = inner, left_seconds, exchange
        self._has_read_late = False
        unshared(inner.get_extra_info("socket"))

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        received = self._inner.read(max_bytes, self._read_seconds())
        self._exchange.has_received = self._exchange.has_received or bool(received)
        return received

    def _read_seconds(self) -> float:
        left_seconds = self._left_seconds()
        if left_seconds > 0:
            self._has_read_late = False
            return left_seconds
        if self._has_read_late:
            raise httpcore.ReadTimeout
        self._has_read_late = True
        return ARRIVED_SECONDS

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        for start in range(0, len(buffer), WRITE_BYTES):
            seconds = _positive(self._left_seconds(), httpcore.WriteTimeout)
            self._inner.write(buffer[start : start + WRITE_BYTES], seconds)

    def close(self) -> None:
        self._inner.close()

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> "_Stream":  # noqa: ARG002
        seconds = _positive(self._left_seconds(), httpcore.ConnectTimeout)
        with opening():
            return _Stream(self._inner.start_tls(ssl_context, server_hostname, seconds), self._left_seconds, self._exchange)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _positive(left_seconds: float, expired: type[httpcore.TimeoutException]) -> float:
    """Raise if no time is left: a socket takes a timeout of 0 as non-blocking and would return data that has arrived."""
    if left_seconds <= 0:
        raise expired
    return left_seconds
