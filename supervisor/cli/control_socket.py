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


def send(socket: Path, route: str, command: Document) -> Document:
    """The result of a command. Without an answer, the outcome is `not_sent` or `unknown`."""
    try:
        document = _document(_request(socket, "POST", route, command, COMMAND_TIMEOUT_SECONDS))
    except (httpx.ConnectError, httpx.ConnectTimeout):
        return {"outcome": "not_sent"}
    except httpx.HTTPError:
        return {"outcome": "unknown"}
    return document or {"outcome": "unknown"}


def _status(socket: Path) -> Document | None:
    try:
        response = _request(socket, "GET", "/status", None, STATUS_TIMEOUT_SECONDS)
    except httpx.HTTPError:
        return None
    return _document(response) if response.status_code == httpx.codes.OK else None


def _document(response: httpx.Response) -> Document | None:
    try:
        document = response.json()
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _request(socket: Path, method: str, route: str, body: Document | None, timeout_seconds: float) -> httpx.Response:
    """Neither certificates nor a proxy are needed on this host. A missing file of certificates must not end the command."""
    transport = httpx.HTTPTransport(uds=str(socket), verify=False, trust_env=False)
    with httpx.Client(transport=transport, timeout=timeout_seconds, trust_env=False) as client:
        return client.request(method, f"http://instance{route}", json=body)
