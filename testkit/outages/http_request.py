"""A request to the model server or to the object store, and its names in the matrix."""

import json
import socket
from dataclasses import dataclass
from typing import Any, Self

from testkit.outages.matrix import Request
from testkit.site import FEEDBACK_MODEL, VISION_MODEL

CHUNK_BYTES = 65_536
LIMIT_SECONDS = 10.0  # for the rest of a request that has begun
_BY_PATH = {"/api/tags": Request.TAGS, "/api/ps": Request.PS, "/api/show": Request.SHOW}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`head` ends with its empty line."""

    head: bytes
    body: bytes

    @classmethod
    def read(cls, client: socket.socket) -> Self | None:
        """Read one request, None if the client ends before it."""
        received = b""
        while b"\r\n\r\n" not in received:
            part = client.recv(CHUNK_BYTES)
            if not part:
                return None
            received += part
        client.settimeout(LIMIT_SECONDS)
        head, _, body = received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        while len(body) < int(fields.get(b"content-length", b"0")):
            body += client.recv(CHUNK_BYTES)
        client.settimeout(None)
        return cls(head + b"\r\n\r\n", body)

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def as_last(self) -> bytes:
        """Its bytes, with a request to end the connection after the reply."""
        lines = [line for line in self.head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        return b"\r\n".join([*lines[:-2], b"Connection: close", b"", b""]) + self.body

    def concerns(self, request: Request) -> bool:
        """Return True if this is such a request. A call to a model is also one that only shows whether the model answers."""
        if request in {Request.MODEL_SERVER, Request.STORE}:
            return True
        if self.path in _BY_PATH:
            return request is _BY_PATH[self.path]
        return request is self._call()

    def names(self, request: Request) -> bool:
        """Return True if it names the model of that step, to call it, load it or describe it."""
        return self._document().get("model") == model_of(request)

    def _call(self) -> Request | None:
        document = self._document()
        if document.get("keep_alive") == 0:
            return Request.UNLOAD
        if not document.get("prompt") and not document.get("messages"):
            return Request.PRELOAD
        return next((step for step in (Request.VISION, Request.FEEDBACK) if document.get("model") == model_of(step)), None)

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.body)
        except ValueError:
            return {}
        return document if isinstance(document, dict) else {}


def model_of(request: Request) -> str | None:
    return {Request.VISION: VISION_MODEL, Request.FEEDBACK: FEEDBACK_MODEL}.get(request)
