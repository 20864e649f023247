"""Replies of a server that refuses, lies or limits, as Ollama and the object store word them."""

import json
from collections.abc import Mapping

from testkit.outages.http_request import HttpRequest
from testkit.outages.matrix import Way

_STATUS = {
    Way.STATUS_401: 401,
    Way.STATUS_403: 403,
    Way.STATUS_404: 404,
    Way.STATUS_500: 500,
    Way.STATUS_503: 503,
    Way.STATUS_429: 429,
    Way.RETRY_AFTER: 429,
}
_WORDS = {
    401: "Unauthorized",
    403: "new row violates row-level security policy",
    404: "model not found, try pulling it first",
    429: "too many requests",
    500: "model runner has unexpectedly stopped",
    503: "server busy, please try again. maximum pending requests exceeded",
}
RETRY_AFTER_SECONDS = 1
PAGE = b"<!DOCTYPE html><html><body>Please log in to the network.</body></html>"
BEGINNING = b'{"model":"chain","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"Zu"},"done":false}\n'


def reply_of(way: Way, request: HttpRequest) -> bytes:
    """The bytes of a reply after which the connection ends."""
    if way in _STATUS:
        return _error(_STATUS[way], request, {"Retry-After": str(RETRY_AFTER_SECONDS)} if way is Way.RETRY_AFTER else {})
    match way:
        case Way.GARBAGE:
            return _reply(200, b'{"model":"chain","created_at":"2026-1', {"Content-Type": "application/json"})
        case Way.CUT:
            return _head(200, {"Content-Type": "application/octet-stream", "Content-Length": "5000"}) + BEGINNING
        case Way.PAGE:
            return _reply(200, PAGE, {"Content-Type": "text/html"})
        case Way.REDIRECT:
            return _reply(302, b"", {"Location": "/login"})
    raise ValueError(f"{way} is no reply")


def without_model(reply: bytes, model: str) -> bytes:
    """A list of models without this one."""
    _, _, body = reply.partition(b"\r\n\r\n")
    document = json.loads(body)
    document["models"] = [each for each in document["models"] if each["name"] != model]
    return _reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _error(status: int, request: HttpRequest, headers: Mapping[str, str]) -> bytes:
    words = "Bucket not found" if status == 404 and "/storage/" in request.path else _WORDS[status]
    return _reply(status, json.dumps({"error": words}).encode(), {"Content-Type": "application/json", **headers})


def _reply(status: int, body: bytes, headers: Mapping[str, str]) -> bytes:
    return _head(status, {"Content-Length": str(len(body)), **headers}) + body


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in headers.items()), "Connection: close", "", ""]
    return "\r\n".join(lines).encode()
