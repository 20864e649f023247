"""A client that sends a request and reads the answer later, or disconnects."""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from testkit.ollama_simulator.process import SimulatorProcess
from testkit.waiting import LIMIT_SECONDS


class PendingCall:
    """A sent request. `close` disconnects without reading the answer."""

    def __init__(self, url: str, path: str, body: Mapping[str, object]) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=LIMIT_SECONDS)
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        self._response: HTTPResponse | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket, which is readable when data has arrived."""
        return self._connection.sock

    def first_line(self) -> dict[str, Any]:
        self._response = self._connection.getresponse()
        line: dict[str, Any] = json.loads(self._response.readline())
        return line

    def last_line(self) -> dict[str, Any]:
        """Read to the end. Call `first_line` before."""
        assert self._response is not None
        line: dict[str, Any] = json.loads(self._response.read().splitlines()[-1])
        return line

    def answer(self) -> dict[str, Any]:
        """Read an answer that is not streamed."""
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer

    def close(self) -> None:
        """Close both objects that hold the socket."""
        if self._response is not None:
            self._response.close()
        self._connection.close()


@contextmanager
def pending_chat(simulator: SimulatorProcess, model: str, **more: object) -> Iterator[PendingCall]:
    messages = [{"role": "user", "content": "Hallo"}]
    call = PendingCall(simulator.url, "/api/chat", {"model": model, "messages": messages, "stream": False, **more})
    try:
        yield call
    finally:
        call.close()
