"""Asks an instance over its control socket: for its status, or for what an operator orders."""

from pathlib import Path
from typing import Any

import httpx

TIMEOUT_SECONDS = 3.0
ORDER_TIMEOUT_SECONDS = 10.0  # above what the monitor waits for the supervisor

Document = dict[str, Any]


def status(socket: Path) -> Document | None:
    """The status document; None where nobody answers."""
    answer = _answer(socket, "GET", "/status", None, TIMEOUT_SECONDS)
    return answer[1] if answer is not None and answer[0] == httpx.codes.OK else None


def order(socket: Path, route: str, body: Document) -> tuple[int, Document] | None:
    """HTTP status and document of the answer; None where nobody answers."""
    return _answer(socket, "POST", route, body, ORDER_TIMEOUT_SECONDS)


def _answer(socket: Path, method: str, route: str, body: Document | None, timeout_seconds: float) -> tuple[int, Document] | None:
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), timeout=timeout_seconds) as client:
            response = client.request(method, f"http://instance{route}", json=body)
            return response.status_code, response.json()
    except (httpx.HTTPError, ValueError):
        return None
