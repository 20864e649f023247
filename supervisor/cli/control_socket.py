"""The HTTP client of an instance's control socket."""

import errno
from enum import Enum
from pathlib import Path
from typing import Any

import httpx

from supervisor.adapters.runtime_directory import RuntimeDirectoryForbidden

STATUS_TIMEOUT_SECONDS = 3.0
COMMAND_TIMEOUT_SECONDS = 10.0  # longer than the monitor waits for the supervisor
_NO_LISTENER = {errno.ECONNREFUSED, errno.ENOENT}
_FORBIDDEN = {errno.EACCES, errno.EPERM}

Document = dict[str, Any]


class Silence(Enum):
    """Reason why a socket gave no answer."""

    NO_LISTENER = "no process listens"
    NO_CONNECTION = "a process listens and takes no connection"
    NO_ANSWER = "a process has taken the request and did not answer"


def send(socket: Path, route: str, command: Document) -> Document:
    """The result of a command. Without an answer, the outcome is `not_sent` or `unknown`. Raises RuntimeDirectoryForbidden."""
    answer = _request(socket, "POST", route, command, COMMAND_TIMEOUT_SECONDS)
    if isinstance(answer, Silence):
        return {"outcome": "unknown" if answer is Silence.NO_ANSWER else "not_sent"}
    return answer


def read_status(socket: Path) -> Document | Silence:
    """The status document of the instance. Raises RuntimeDirectoryForbidden."""
    return _request(socket, "GET", "/status", None, STATUS_TIMEOUT_SECONDS)


def _request(socket: Path, method: str, route: str, body: Document | None, timeout_seconds: float) -> Document | Silence:
    """Neither certificates nor a proxy are needed on this host. A missing file of certificates must not end the command."""
    transport = httpx.HTTPTransport(uds=str(socket), verify=False, trust_env=False)
    try:
        with httpx.Client(transport=transport, timeout=timeout_seconds, trust_env=False) as client:
            document = client.request(method, f"http://instance{route}", json=body).json()
    except httpx.HTTPError as error:
        return _silence(error, socket)
    except ValueError:  # an answer that is not JSON
        return Silence.NO_ANSWER
    return document if isinstance(document, dict) else Silence.NO_ANSWER


def _silence(error: httpx.HTTPError, socket: Path) -> Silence:
    number = _errno(error)
    if number in _FORBIDDEN:
        raise RuntimeDirectoryForbidden(socket.parent) from error
    if number in _NO_LISTENER:
        return Silence.NO_LISTENER
    return Silence.NO_CONNECTION if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else Silence.NO_ANSWER


def _errno(error: BaseException | None) -> int | None:
    """The number of the system's error that caused this one, None if there is none."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error.errno if error is not None else None
