"""The HTTP client of an instance's control socket."""

from pathlib import Path
from typing import Any

import httpx

from supervisor.adapters.instance import live_sockets

STATUS_TIMEOUT_SECONDS = 3.0
COMMAND_TIMEOUT_SECONDS = 10.0  # longer than the monitor waits for the supervisor

Document = dict[str, Any]


def status_by_socket(directory: Path) -> dict[Path, Document]:
    """The status document of every instance that answers in the directory."""
    documents = {socket: _status(socket) for socket in live_sockets(directory)}
    return {socket: document for socket, document in documents.items() if document is not None}


def send(socket: Path, route: str, command: Document) -> Document | None:
    """The result of a command, None without an answer."""
    response = _request(socket, "POST", route, command, COMMAND_TIMEOUT_SECONDS)
    return _document(response) if response is not None else None


def _status(socket: Path) -> Document | None:
    response = _request(socket, "GET", "/status", None, STATUS_TIMEOUT_SECONDS)
    return _document(response) if response is not None and response.status_code == httpx.codes.OK else None


def _document(response: httpx.Response) -> Document | None:
    try:
        document: Document = response.json()
    except ValueError:
        return None
    return document


def _request(socket: Path, method: str, route: str, body: Document | None, timeout_seconds: float) -> httpx.Response | None:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=timeout_seconds) as client:
            return client.request(method, f"http://instance{route}", json=body)
    except httpx.HTTPError:
        return None
