"""A trial of `check`: bind STATUS_ADDR as the monitor will."""

import errno
import os
import socket
from collections.abc import Collection, Iterator

from supervisor.findings import Finding, Level

_TAKEN = "is in use by another program, so /metrics would be missing: set another port, or port 0 for a free one"
_REMEDIES = {
    errno.EADDRINUSE: _TAKEN,
    errno.EACCES: "may not be used by the user of the service: set a port above 1023",
    errno.EADDRNOTAVAIL: "does not exist on this host: set 127.0.0.1 and a port",
}


def status_address(address: str, served: Collection[str]) -> Iterator[Finding]:
    """Runs in the child. `served` are the addresses of the instances that run."""
    subject, port = f"STATUS_ADDR {address}", address.rpartition(":")[2]
    if port != "0" and port in {each.rpartition(":")[2] for each in served}:
        yield Finding(Level.OK, f"{subject}, served by the running instance")
        return
    error_number = _bind(address)
    remedy = _REMEDIES.get(error_number, f"cannot be used ({os.strerror(error_number)}): set another address")
    yield Finding(Level.FAILED, subject, remedy) if error_number else Finding(Level.OK, subject)


def _bind(address: str) -> int:
    """The number of the error, or 0."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host.strip("[]"), int(port)))
            listener.listen()
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0
